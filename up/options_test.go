package up

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNonsenseIsRefused: nothing is made, and the error says what is allowed.
func TestNonsenseIsRefused(t *testing.T) {
	base, err := os.MkdirTemp("", "up-") // PostgreSQL's user must be able to pass: t.TempDir is closed
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "new")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-n", "0"}, "-n 0: a cluster on one machine has 1 to 7 members"},
		{[]string{"-n", "-1"}, "-n -1: a cluster on one machine has 1 to 7 members"},
		{[]string{"-n", "100"}, "-n 100: a cluster on one machine has 1 to 7 members"},
		{[]string{"--base-port", "0"}, "--base-port 0: must be from 1024 to"},
		{[]string{"--base-port", "-5"}, "--base-port -5: must be from 1024 to"},
		{[]string{"--base-port", "65530"}, "--base-port 65530: must be from 1024 to"},
		{[]string{"--scope", ""}, "--scope is empty"},
		{[]string{"--pg-bin", ""}, "--pg-bin is empty"},
		{[]string{"--pg-bin", base}, "--pg-bin " + base + " does not hold PostgreSQL's programs"},
		{[]string{"--dir", ""}, "--dir is empty"},
		{[]string{"--dir", file}, "--dir " + file + " is not a directory"},
		{[]string{"--dir", filepath.Join(file, "below")}, file + " is not a directory"},
		{[]string{"--dir", base}, "is not empty"},
	} {
		cmd := Command(nil)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(append([]string{"--dir", dir}, c.args...))
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("up %q: %v, want %q", c.args, err, c.want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Fatalf("up %q made the directory", c.args)
		}
	}
}

func TestProgramsAreSoughtOneLevelBelow(t *testing.T) {
	home := t.TempDir()
	bin := filepath.Join(home, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range needed {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := findPrograms(home); err == nil || !strings.HasSuffix(err.Error(), "; "+bin+" does") {
		t.Error(err)
	}
	t.Chdir(home)
	if o, err := (Options{PgBin: "bin"}).check(); err != nil || o.PgBin != bin {
		t.Errorf("%q %v, want the absolute %s", o.PgBin, err, bin)
	}
}
