package up

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestADirectoryIsOneCluster(t *testing.T) {
	dir := t.TempDir()
	r, known, err := settle(Options{Dir: dir, BasePort: 15000, Members: 2})
	if err != nil || known || r.Members != 2 || r.Scope != defaultScope {
		t.Fatalf("a new directory: %+v %v %v", r, known, err)
	}
	if err := writeJSON(filepath.Join(dir, recordName), r); err != nil {
		t.Fatal(err)
	}
	for _, same := range []Options{{}, {Members: 2}, {BasePort: 15000, Scope: defaultScope}} {
		same.Dir = dir
		if got, known, err := settle(same); err != nil || !known || got != r {
			t.Errorf("%+v: %+v %v %v", same, got, known, err)
		}
	}
	for flag, other := range map[string]Options{"-n": {Members: 3}, "--base-port": {BasePort: 16000}, "--scope": {Scope: "other"}} {
		other.Dir = dir
		if _, _, err := settle(other); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s differs: %v", flag, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, recordName), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := settle(Options{Dir: dir}); err == nil {
		t.Error("a record without a cluster was accepted")
	}
}

func TestSecretsAreMadeOnceAndPrivate(t *testing.T) {
	dir := t.TempDir()
	a, err := loadSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := loadSecrets(dir)
	if err != nil || a != b || a.Superuser == a.Replication {
		t.Errorf("passwords changed or are alike: %v", err)
	}
	private(t, filepath.Join(dir, "secrets.json"))
}

func private(t *testing.T, path string) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %04o", path, st.Mode().Perm())
	}
}

func TestOnlyOneUpPerDirectory(t *testing.T) {
	dir := t.TempDir()
	first, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); err == nil || !strings.Contains(err.Error(), "another `matriarch up`") {
		t.Errorf("a second lock: %v", err)
	}
	first.Close()
	again, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestOtherPeoplesDirectoriesAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := emptyOrOurs(dir); err != nil {
		t.Error(err)
	}
	os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600)
	if err := emptyOrOurs(dir); err == nil {
		t.Error("a directory with foreign files was taken")
	}
	os.WriteFile(filepath.Join(dir, recordName), nil, 0o600)
	if err := emptyOrOurs(dir); err != nil {
		t.Error(err)
	}
}

func TestClosedDirectoriesAreNamed(t *testing.T) {
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed")
	below := filepath.Join(closed, "below")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	os.Chmod(closed, 0o700)
	stranger := owner{name: "stranger", uid: 54321, gid: 54321, drop: true}
	if err := stranger.reach(below); err == nil || !strings.Contains(err.Error(), closed+" (mode 0700)") {
		t.Errorf("the closed directory is not named: %v", err)
	}
	self := owner{uid: os.Geteuid(), gid: os.Getegid()}
	if err := self.reach(below); err != nil {
		t.Error(err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, bad := range []Options{{Members: -1}, {Members: 8}, {BasePort: 80}, {BasePort: 65530}, {Scope: "a/b"}, {Scope: "-"}} {
		bad.Dir = "/x"
		if _, err := bad.check(); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
	o, err := Options{}.check()
	if err != nil || filepath.Base(o.Dir) != defaultScope || !filepath.IsAbs(o.Dir) || o.Program == "" {
		t.Errorf("defaults: %+v %v", o, err)
	}
}
