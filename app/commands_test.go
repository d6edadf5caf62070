package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWrongUsageSaysWhereHelpIs: and the exit code is 2.
func TestWrongUsageSaysWhereHelpIs(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"foo"}, `no such command "foo"`},
		{[]string{"lst"}, "list"}, // the nearest one
		{[]string{"agent", "a", "b"}, "accepts at most 1 arg"},
		{[]string{"agent"}, "requires a configuration, and there is none: matriarch agent FILE"},
		{[]string{"proxy"}, "requires a configuration, and there is none: matriarch proxy FILE"},
		{[]string{"agent"}, "Try 'matriarch agent --help'"},
		{[]string{"up", "more"}, "Try 'matriarch up --help'"},
		{[]string{"up", "-n", "x"}, `invalid argument "x" for "-n, --members" flag: it is not a number`},
		{[]string{"up", "-n", "99999999999999999999"}, "flag: the number is too large"},
	} {
		var out, errOut bytes.Buffer
		code := Main(t.Context(), append([]string{"/usr/bin/matriarch"}, c.args...), nil, strings.NewReader(""), &out, &errOut)
		if text := errOut.String(); code != 2 || !strings.Contains(text, c.want) || !strings.Contains(text, "--help' for help.") {
			t.Errorf("%q: exit %d, %s%s", c.args, code, out.String(), text)
		}
	}
}

// TestUnusableFiles: the error names the file and what to do.
func TestUnusableFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "missing.yml"), "no such file or directory; give the path"},
		{dir, "the directory has no *.yml or *.yaml file"},
		{write("program", "\x7fELF\x00\x01"), "program:1:5: this is no text in UTF-8"},
		{write("empty", ""), "scope: is required"},
		{write("text", "hello"), "must be a mapping"},
	} {
		var out, errOut bytes.Buffer
		code := Main(t.Context(), []string{"matriarch", "agent", c.path}, nil, strings.NewReader(""), &out, &errOut)
		if text := errOut.String(); code != 1 || !strings.Contains(text, c.want) {
			t.Errorf("%s: exit %d, %s%s", c.path, code, out.String(), text)
		}
	}
}

// TestStoreWithoutCommand: a person at a terminal is shown what there is; the
// agent gives the configuration of a vote through a pipe.
func TestStoreWithoutCommand(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	defer func(f *os.File) { os.Stdin = f }(os.Stdin)
	os.Stdin = null
	var out, errOut bytes.Buffer
	code := Main(t.Context(), []string{"matriarch", "store"}, nil, strings.NewReader(""), &out, &errOut)
	if code != 0 || !strings.Contains(out.String(), "recover") || errOut.Len() > 0 {
		t.Errorf("exit %d, %s%s", code, out.String(), errOut.String())
	}
}

// TestFileThatIsGone: a reload does not go on with the environment alone.
func TestFileThatIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "member.yml")
	env := []string{"PATRONI_NAME=n1", "PATRONI_SCOPE=demo"}
	if err := os.WriteFile(path, []byte("restapi: {authentication: {username: a, password: b}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := reader(path, env)
	if f, _, err := read(); err != nil || f.RestAPI.Username != "a" {
		t.Fatalf("%v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if f, _, err := read(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, %v", f, err)
	}
	// Who never had a file has the environment.
	if _, _, err := reader(path, env)(); err != nil {
		t.Error(err)
	}
}
