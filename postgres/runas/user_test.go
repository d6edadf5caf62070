package runas

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testDir(t *testing.T) (string, User) {
	t.Helper()
	dir, err := os.MkdirTemp("", "mtr-runas-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	_ = os.Chmod(dir, 0o755)
	u, err := For(filepath.Join(dir, "none"))
	if err != nil {
		t.Fatal(err)
	}
	return dir, u
}

func TestProgramsRunAsTheOwner(t *testing.T) {
	dir, u := testDir(t)
	if os.Geteuid() == 0 && (!u.Drop || u.UID == 0) {
		t.Fatalf("root would run the server as %+v", u)
	}
	t.Setenv("PATRONI_SECRET", "x")
	t.Setenv("PGPASSWORD", "x")
	out, err := u.Command(t.Context(), []string{"A=b"}, "/bin/sh", "-c", "id -un; env").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(out), u.Name+"\n") || bytes.Contains(out, []byte("SECRET")) || bytes.Contains(out, []byte("PGPASSWORD")) || !bytes.Contains(out, []byte("A=b")) {
		t.Errorf("output %s", out)
	}
	if err := u.MkdirAll(filepath.Join(dir, "x", "y"), 0o700); err != nil {
		t.Fatal(err)
	}
	again, err := For(filepath.Join(dir, "x", "y"))
	if err != nil || again.UID != u.UID {
		t.Errorf("the owner of what %s made is %+v, %v", u.Name, again, err)
	}
}

func TestWriteFileReplacesWholly(t *testing.T) {
	dir, u := testDir(t)
	path := filepath.Join(dir, "f")
	for _, text := range []string{"long text", "x"} {
		if err := u.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	entries, _ := os.ReadDir(dir)
	st, _ := os.Stat(path)
	if len(entries) != 1 || st.Mode().Perm() != 0o600 {
		t.Errorf("%d files, mode %v", len(entries), st.Mode())
	}
}

// What the server's user links to is not read with root's rights.
func TestReadFileOfTheUser(t *testing.T) {
	dir, u := testDir(t)
	if !u.Drop {
		t.Skip("only root has rights that the user lacks")
	}
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret, public := file("secret", "root's", 0o600), file("public", "all's", 0o644)
	own := file("own", "the user's", 0o600)
	if err := u.Chown(own); err != nil {
		t.Fatal(err)
	}
	for target, ok := range map[string]bool{secret: false, public: true, own: true} {
		link := target + ".link"
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if text, err := u.ReadFile(link); (err == nil) != ok || !ok && len(text) > 0 {
			t.Errorf("%s: %q, %v", target, text, err)
		}
	}
}
