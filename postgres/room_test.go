package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/matriarch-ha/matriarch/internal/messages"
)

// A copy that cannot fit is not made to the end, and nothing that is kept gives way
// to it; with room it is made.
func TestCloneWithoutRoom(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	disk := filepath.Join(l.dir, "b")
	must(t, os.Mkdir(disk, 0o755))
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=12m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	must(t, a.user.Chown(disk))
	b := l.server("b")
	slowly := testConfig(l.dir)
	// The total is told within the first second; this one would be full after six.
	slowly.BaseBackup = append(slowly.BaseBackup, Option{Name: "max-rate", Value: "2M"})
	b.SetConfig(slowly)
	old := filepath.Join(b.replacedDir(), "the-only-copy")
	must(t, os.Mkdir(b.replacedDir(), 0o700))
	must(t, os.WriteFile(old, []byte("x"), 0o600))

	err := b.Clone(ctx, a.source(), nil)
	if err == nil {
		t.Fatal("a copy of more than there is room for was made")
	}
	messages.Check(t, "no-room", err.Error())
	if !strings.Contains(err.Error(), b.newDir()+":") || !strings.Contains(err.Error(), "remove "+b.replacedDir()) {
		t.Errorf("the error names other places: %v", err)
	}
	if !exists(old) || exists(b.newDir()) || exists(b.opt.DataDir) {
		t.Error("a refused copy left something, or took something away")
	}
	must(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=300m"))
	b.SetConfig(testConfig(l.dir))
	must(t, b.Clone(ctx, a.source(), nil))
	if !exists(old) || !exists(b.dataPath("PG_VERSION")) {
		t.Error("the copy is not there, or what was kept is not")
	}
}
