package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// OwnDisk gives the member a file system of its own for its data and state, before
// anything of it was started: HangDisk must not stop the rest of this machine.
func (m *Member) OwnDisk() {
	m.c.t.Helper()
	at := filepath.Join(m.Dir(), "pg")
	image := m.Dir() + ".img"
	st, err := os.Stat(at)
	if err != nil {
		m.c.t.Fatal(err)
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		m.c.t.Fatal(err)
	}
	if err := os.Truncate(image, 512<<20); err != nil {
		m.c.t.Fatal(err)
	}
	run := func(argv ...string) {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			m.c.t.Skipf("no file system of its own can be made here: %v: %s", err, out)
		}
	}
	run("mkfs.ext4", "-q", "-F", image)
	run("mount", "-o", "loop", image, at)
	m.c.t.Cleanup(func() {
		m.FreeDisk()
		_ = exec.Command("umount", "-l", at).Run()
		_ = os.Remove(image)
	})
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		if err := os.Chown(at, int(sys.Uid), int(sys.Gid)); err != nil {
			m.c.t.Fatal(err)
		}
	}
	_ = os.Remove(filepath.Join(at, "lost+found"))
}

// HangDisk makes every write to the member's disk wait, in the kernel, where no
// signal ends it. What was read before can still be read.
func (m *Member) HangDisk() {
	m.c.t.Helper()
	if out, err := exec.Command("fsfreeze", "--freeze", filepath.Join(m.Dir(), "pg")).CombinedOutput(); err != nil {
		m.c.t.Fatalf("fsfreeze: %v: %s", err, out)
	}
}

// FreeDisk lets the writes go on.
func (m *Member) FreeDisk() {
	_ = exec.Command("fsfreeze", "--unfreeze", filepath.Join(m.Dir(), "pg")).Run()
}
