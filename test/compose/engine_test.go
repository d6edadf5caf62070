package compose

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// root is the tree that is tested, labDir the lab in it.
var (
	root   = filepath.Join("..", "..")
	labDir = filepath.Join(root, "deploy", "compose")
)

// testImages names the images apart from those of whoever uses the lab here.
const testImages = "MATRIARCH_IMAGE=matriarch-test"

// makeImages makes what the compose file begins with where no registry has it,
// then the lab's own images, once for all tests.
var makeImages = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("./base-images.sh", "debian:bookworm-slim", "golang:1.26-bookworm", "zookeeper:3.8", "haproxy:2.6")
	cmd.Dir = labDir
	if out, err := cmd.CombinedOutput(); err != nil {
		return string(out), err
	}
	line := append(append([]string{}, compose...), "--profile", "classic", "build")
	cmd = exec.Command(line[0], line[1:]...)
	cmd.Dir, cmd.Env = labDir, append(os.Environ(), testImages)
	out, err := cmd.CombinedOutput()
	return string(out), err
})

// images fails the test where there is no engine or no image: nothing here can
// be tested without.
func images(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("docker", "version").CombinedOutput(); err != nil {
		t.Fatalf("no Docker engine answers (scripts/deps.sh test installs one and starts it): %v\n%s", err, out)
	}
	if out, err := makeImages(); err != nil {
		t.Fatalf("the images were not made: %v\n%s", err, out)
	}
}

// copyTree copies what belongs to the tree, so that a test may change it.
func copyTree(t *testing.T, to string) {
	t.Helper()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatalf("list the tree: %v", err)
	}
	for _, name := range strings.Split(strings.TrimRight(string(out), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(root, name), filepath.Join(to, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// slow leaves out what takes long and shows little that the rest does not.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("MATRIARCH_SLOW") == "" {
		t.Skip("set MATRIARCH_SLOW=1 (make test-slow) to run this")
	}
}
