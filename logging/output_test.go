package logging

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// names lists a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func line(o *output, text string) { o.write([]byte(text + "\n")) }

func TestRotation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "anew")
	var stderr buffer
	o := newOutput(&stderr, parsed(t, "log: {dir: "+dir+", file_num: 2, file_size: 100, mode: 0640}"))
	for i := range 40 {
		line(o, fmt.Sprintf("record %02d", i)) // ten to a file
	}
	o.close()
	if got, want := names(t, dir), "patroni.log patroni.log.1 patroni.log.2"; got != want {
		t.Errorf("files %s, want %s", got, want)
	}
	for i, first := range []string{"record 30", "record 20", "record 10"} {
		name := filepath.Join(dir, FileName)
		if i > 0 {
			name += fmt.Sprintf(".%d", i)
		}
		text := read(t, name)
		if len(text) != 100 || !strings.HasPrefix(text, first) {
			t.Errorf("%s: %q", name, text)
		}
		if st, _ := os.Stat(name); st.Mode().Perm() != 0o640 {
			t.Errorf("%s has mode %o", name, st.Mode().Perm())
		}
	}
	if stderr.String() != "" {
		t.Error(stderr.String())
	}
}

func TestNoRotationWithoutFilesToKeep(t *testing.T) {
	dir := t.TempDir()
	o := newOutput(&buffer{}, parsed(t, "log: {dir: "+dir+", file_num: 0, file_size: 20}"))
	for range 10 {
		line(o, "0123456789")
	}
	o.close()
	if got := names(t, dir); got != FileName || len(read(t, filepath.Join(dir, FileName))) != 110 {
		t.Errorf("files %s", got)
	}
}

func TestAFileThatIsMovedOrRemoved(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "log")
	var stderr buffer
	o := newOutput(&stderr, parsed(t, "log: {dir: "+dir+"}"))
	line(o, "one")
	if err := os.Rename(filepath.Join(dir, FileName), filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	line(o, "two")
	if got := read(t, filepath.Join(dir, FileName)); got != "two\n" {
		t.Errorf("after the file was moved: %q", got)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	line(o, "three")
	o.close()
	if got := read(t, filepath.Join(dir, FileName)); got != "three\n" || stderr.String() != "" {
		t.Errorf("after the directory was removed: %q, %s", got, stderr.String())
	}
}

func TestADirectoryThatCannotBeUsed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr buffer
	l := Open(&stderr, parsed(t, "log: {dir: "+dir+"}"))
	log := l.Logger()
	log.Info("one")
	log.Info("two")
	finish(t, l)
	text := stderr.String()
	if strings.Count(text, "the log file cannot be written") != 1 || strings.Count(text, "\n") != 3 || !strings.Contains(text, "not a directory") {
		t.Errorf("%s", text)
	}
}

// TestAFullDisk fills a small file system, and empties it again.
func TestAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	var stderr buffer
	o := newOutput(&stderr, parsed(t, "log: {dir: "+dir+"}"))
	line(o, "the first record")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 32<<10), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	long := strings.Repeat("x", 5000)
	line(o, long)
	line(o, long)
	text := stderr.String()
	if strings.Count(text, "the log file cannot be written") != 1 || strings.Count(text, long) != 2 || !strings.Contains(text, "no space left") {
		t.Errorf("with a full disk: %s", text)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	line(o, "the last record")
	o.close()
	got := strings.Split(read(t, filepath.Join(dir, FileName)), "\n")
	if len(got) != 4 || got[0] != "the first record" || got[1] != "the last record" || !strings.Contains(got[2], "can be written again") {
		t.Errorf("the file holds %q", got)
	}
	if !strings.Contains(stderr.String(), "can be written again") {
		t.Error("standard error does not say that the file is written again")
	}
}

func TestRotationThatFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, FileName+".1", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	var stderr buffer
	l := Open(&stderr, parsed(t, "log: {dir: "+dir+", file_num: 1, file_size: 100}"))
	log := l.Logger()
	for i := range 20 {
		log.Info("a record of some length", "i", i)
	}
	finish(t, l)
	if n := strings.Count(read(t, filepath.Join(dir, FileName)), "\n"); n != 20 {
		t.Errorf("%d records of 20", n)
	}
	if strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), "cannot be rotated") {
		t.Errorf("%s", stderr.String())
	}
}
