package postgres

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/messages"
)

const day = 24 * time.Hour

// serve tells that the server that runs has served for so much longer.
func serve(t *testing.T, ctx context.Context, s *Server, d time.Duration) Removed {
	t.Helper()
	r, err := s.TendReplaced(ctx, Service{PID: s.Observe(ctx).PID, For: d}, day)
	must(t, err)
	return r
}

// spareOf reads what is counted, none where the kept copy stays for a person.
func spareOf(s *Server) (served time.Duration, ok bool) {
	c, ok := s.readSpare()
	return c.Served, ok
}

func mkfile(t *testing.T, path string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	return path
}

// A replaced directory goes when its replacement has served for a day in all, with
// what it had outside, and with nothing else.
func TestReplacedDirectoryIsRemoved(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	space, mapped, logDir := filepath.Join(l.dir, "space-a"), filepath.Join(l.dir, "space-b"), filepath.Join(l.dir, "wal-b")
	must(t, a.user.MkdirAll(space, 0o700))
	a.sql(t, ctx, "CREATE TABLESPACE ts LOCATION '"+space+"'")
	a.sql(t, ctx, "CREATE TABLE t (i int) TABLESPACE ts; INSERT INTO t VALUES (7)")
	b := l.server("b")
	cfg := testConfig(l.dir)
	cfg.BaseBackup = []Option{{Name: "no-sync"}, {Name: "tablespace-mapping", Value: space + "=" + mapped}, {Name: "waldir", Value: logDir}}
	b.SetConfig(cfg)
	must(t, b.Clone(ctx, a.source(), nil))
	must(t, b.Clone(ctx, a.source(), nil))
	must(t, b.StartStandby(ctx, a.upstream(), true))
	l.caughtUp(ctx, b, a)
	lost := mkfile(t, filepath.Join(b.lostDir(), "only-copy"))
	kept := []string{b.replacedDir(), filepath.Join(mapped, keptInside), filepath.Join(logDir, keptInside)}

	serve(t, ctx, b, 23*time.Hour)
	if r, err := b.TendReplaced(ctx, Service{PID: 1, For: day}, day); err != nil || r.Path != "" {
		t.Fatalf("another postmaster's time counts: %+v %v", r, err)
	}
	restarted, err := New(b.opt) // the agent is another one
	must(t, err)
	defer restarted.Close()
	if r := serve(t, ctx, restarted, 59*time.Minute); r.Path != "" {
		t.Fatalf("removed before its time: %+v", r)
	}
	if k := b.Observe(ctx).Kept; len(k) != 2 || k[0] != (KeptCopy{Path: b.replacedDir(), Spare: true, Served: 23*time.Hour + 59*time.Minute}) || k[1] != (KeptCopy{Path: b.lostDir()}) {
		t.Errorf("kept: %+v", k)
	}
	for _, dir := range kept {
		if !exists(dir) {
			t.Fatalf("%s is gone", dir)
		}
	}
	r := serve(t, ctx, b, time.Minute)
	if r.Path != b.replacedDir() || r.Bytes < 20<<20 || r.Served != day || r.Rest {
		t.Errorf("removed %+v", r)
	}
	for _, dir := range append(kept, b.condemned()...) {
		if exists(dir) {
			t.Errorf("%s is still there", dir)
		}
	}
	if _, ok := spareOf(b); ok || !exists(lost) {
		t.Error("a count is left, or the lost log is gone")
	}
	if got := b.sql(t, ctx, "SELECT i FROM t"); got != "7" {
		t.Errorf("row %q", got)
	}
	if r := serve(t, ctx, b, 2*day); r.Path != "" {
		t.Errorf("removed again: %+v", r)
	}
}

// A directory that may hold the only copy of something stays for a person.
func TestWhichReplacedDirectoryMayGo(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a, b, _ := diverged(t, l, ctx)
	must(t, a.MarkStandby())
	clone := func(src Source) (spare bool) {
		t.Helper()
		id := b.Identity(2)
		src.Timelines.Claims = []cluster.TimelineClaim{{Timeline: 2, Identity: id}}
		if a.Observe(ctx).Position.Timeline == 2 {
			must(t, a.SetIdentity(2, id)) // as the agent does after a copy
		}
		must(t, a.Clone(ctx, src, nil))
		_, spare = spareOf(a)
		return spare
	}
	unreadable := a.opt.BinName
	a.opt.BinName = map[string]string{"pg_waldump": "../../../../../bin/false"}
	if clone(b.source()) {
		t.Error("the lost records are not all saved, and the directory may go")
	}
	a.opt.BinName = unreadable
	if !clone(b.source()) {
		t.Error("a copy of the source itself must stay")
	}
	branch := b.source()
	branch.Diverged = true
	if clone(branch) {
		t.Error("a directory of another branch of the same number may go")
	}
	must(t, a.StartStandby(ctx, b.upstream(), true))
	l.caughtUp(ctx, a, b)
	if r := serve(t, ctx, a, 2*day); r.Path != "" || !exists(a.replacedDir()) {
		t.Errorf("removed all the same: %+v", r)
	}
}

// Two branches of one number that part at one point look like one in their files:
// only if the cluster's is registered, and is ours, may the directory go.
func TestOtherBranchOfOneNumberStays(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b, c := l.replica(ctx, "b", a), l.server("c")
	for _, s := range []*Server{a, b} {
		_, err := s.Stop(ctx, StopFast, StopOptions{})
		must(t, err)
	}
	must(t, c.user.MkdirAll(filepath.Dir(c.opt.DataDir), 0o755))
	must(t, exec.Command("cp", "-a", b.opt.DataDir, c.opt.DataDir).Run())
	var promoted []Promotion
	for _, s := range []*Server{b, c} {
		must(t, s.StartStandby(ctx, a.upstream(), true))
		p, err := s.Promote(ctx, 2)
		must(t, err)
		promoted = append(promoted, p)
	}
	pb, pc := promoted[0], promoted[1]
	if pb.Identity.Switch != pc.Identity.Switch || pb.Identity == pc.Identity {
		t.Fatalf("two branches: %+v and %+v", pb.Identity, pc.Identity)
	}
	_, err := b.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	must(t, b.MarkStandby())
	for b.Observe(ctx).Position.LSN > c.Observe(ctx).Flushed {
		c.sql(t, ctx, "SELECT pg_switch_wal(); SELECT pg_logical_emit_message(false, '', 'x')")
	}
	for _, known := range []cluster.TimelineIdentity{{}, {Switch: pb.Identity.Switch}, pb.Identity, pc.Identity} {
		src := c.source()
		if known.Known() {
			src.Timelines.Claims = []cluster.TimelineClaim{{Timeline: 2, Identity: known}}
		}
		must(t, b.Clone(ctx, src, nil))
		if _, spare := spareOf(b); spare != (known == pc.Identity) {
			t.Errorf("with %+v registered it may go: %t", known, spare)
		}
		must(t, b.SetIdentity(2, pc.Identity)) // as the agent does with what is registered
	}
}

// What diverged and was saved whole may go.
func TestDivergedAndSavedMayGo(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a, b, _ := diverged(t, l, ctx)
	must(t, a.MarkStandby())
	must(t, a.Clone(ctx, b.source(), nil))
	if _, ok := spareOf(a); !ok {
		t.Error("it must stay although all of it is elsewhere")
	}
}

// idle is a server's handle with a directory that no server ever ran in.
func idle(t *testing.T) *Server {
	t.Helper()
	s := newLab(t).server("b")
	mkfile(t, s.dataPath("PG_VERSION"))
	return s
}

// What the turns call waits for no write of the count, nor for any other look at what
// is kept: a disk that hangs there stops no turn.
func TestCountHoldsUpNoAction(t *testing.T) {
	s := idle(t)
	must(t, syscall.Mkfifo(s.sparePath(), 0o600)) // who opens it hangs
	ended := make(chan error, 1)
	go func() {
		_, err := s.TendReplaced(t.Context(), Service{}, day)
		ended <- err
	}()
	var hang *os.File
	must(t, poll(testCtx(t), 5*time.Millisecond, "the count to hang", func() (bool, error) {
		var err error
		hang, err = os.OpenFile(s.sparePath(), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil, nil // nobody reads it yet
	}))
	if s.task.TryLock() {
		s.task.Unlock()
	} else {
		t.Error("an action would wait for it")
	}
	must(t, hang.Close())
	must(t, <-ended)
}

// aside lets a directory be replaced.
func aside(t *testing.T, s *Server, c spareCopy) fate {
	t.Helper()
	f, err := s.setAside(c)
	must(t, err)
	return f
}

// spaced gives a directory a tablespace that is kept outside, with one file.
func spaced(t *testing.T, dir, space string) {
	t.Helper()
	mkfile(t, filepath.Join(space, "rows"))
	must(t, os.MkdirAll(filepath.Join(dir, "pg_tblspc"), 0o700))
	must(t, os.Symlink(space, filepath.Join(dir, "pg_tblspc", "16384")))
}

// A kept copy that may be the only one of something is not pushed out by the next,
// nor are its tablespaces; one whose contents are all elsewhere is.
func TestOnlyCopyIsNotPushedOut(t *testing.T) {
	for _, spare := range []bool{false, true} {
		for _, state := range []DirState{DirPresent, DirRewinding, DirMissing} {
			t.Run(fmt.Sprintf("%s, spare %t", state, spare), func(t *testing.T) {
				s := idle(t)
				space := filepath.Join(filepath.Dir(s.opt.DataDir), "space")
				kept := filepath.Join(space, keptInside)
				mkfile(t, filepath.Join(s.replacedDir(), "PG_VERSION"))
				spaced(t, s.replacedDir(), kept)
				if spare {
					must(t, s.writeSpare(spareCopy{Path: s.replacedDir(), SystemID: "1"}))
				}
				out := outside{{path: space}}
				mkfile(t, filepath.Join(out[0].fresh(), "copied"))
				mkfile(t, filepath.Join(space, "replaced now"))
				must(t, os.Mkdir(s.dataPath("pg_tblspc"), 0o700))
				must(t, os.Symlink(space, s.dataPath("pg_tblspc", "16384")))
				switch state {
				case DirRewinding:
					must(t, s.writeRewindMark(RewindMarker{Stage: stageCopying}))
				case DirMissing:
					must(t, os.RemoveAll(s.opt.DataDir))
				}
				f := aside(t, s, spareCopy{SystemID: "2"})
				must(t, os.MkdirAll(s.dataPath("pg_tblspc"), 0o700))
				must(t, os.Symlink(out[0].fresh(), s.dataPath("pg_tblspc", "16384")))
				must(t, s.settleOutside(out, f))

				find := func(name string) (dirs []string) {
					for _, k := range s.keptCopies() {
						if exists(filepath.Join(k.Path, "pg_tblspc", "16384", name)) {
							dirs = append(dirs, k.Path)
						}
					}
					return dirs
				}
				if had := find("rows"); len(had) != 1 && (!spare || state != DirPresent) {
					t.Errorf("the older copy with its tablespace is not listed: %+v", s.keptCopies())
				} else if spare && state == DirPresent && (len(had) != 0 || len(s.keptCopies()) != 1) {
					t.Errorf("one that was not needed is still there: %+v", s.keptCopies())
				}
				if had := find("replaced now"); state == DirPresent && !slices.Equal(had, []string{s.replacedDir()}) {
					t.Errorf("what was replaced now is in %q", had)
				}
				if !exists(s.dataPath("pg_tblspc", "16384", "copied")) || exists(filepath.Join(space, unfinishedInside)) {
					t.Error("the copy has no tablespace, or something unfinished is left")
				}
				if state == DirMissing && len(alsoNamed(kept)) != 1 {
					t.Error("what lay in the tablespace without a data directory is gone")
				}
			})
		}
	}
}

// The count is of the copy that is kept, never of one before it.
func TestCountBeginsWithEachReplacement(t *testing.T) {
	s := idle(t)
	aside(t, s, spareCopy{SystemID: "1"})
	old := spareCopy{Path: s.replacedDir(), SystemID: "1", Served: 23 * time.Hour}
	must(t, s.writeSpare(old))
	aside(t, s, spareCopy{SystemID: "1"}) // there is nothing to replace
	if c, ok := s.readSpare(); !ok || c.Served != 0 || c.Path != old.Path {
		t.Errorf("the copy of before: %+v %v", c, ok)
	}
	must(t, s.writeSpare(old))
	mkfile(t, s.dataPath("PG_VERSION"))
	aside(t, s, spareCopy{SystemID: "2"})
	if c, ok := s.readSpare(); !ok || c.Served != 0 || c.SystemID != "2" {
		t.Errorf("the next one: %+v %v", c, ok)
	}
	must(t, s.writeSpare(old))
	mkfile(t, s.dataPath("PG_VERSION"))
	aside(t, s, spareCopy{})
	if c, ok := s.readSpare(); ok {
		t.Errorf("one that must stay may go: %+v", c)
	}
	for _, rubbish := range []string{"", "{", "[]", `{"path":"/etc","system_id":"1"}`, `{"path":"` + s.replacedDir() + `","system_id":"1","served_ns":-1}`} {
		must(t, os.WriteFile(s.sparePath(), []byte(rubbish), 0o600))
		if c, ok := s.readSpare(); ok {
			t.Errorf("%q is read as %+v", rubbish, c)
		}
	}
}

// A log on a file system of its own comes along when its data directory is renamed.
// Nothing of it is removed before a person unmounts it.
func TestRemovalLeavesAMountAlone(t *testing.T) {
	s := idle(t)
	condemned := s.opt.DataDir + ".removing"
	rest, log := mkfile(t, filepath.Join(condemned, "PG_VERSION")), filepath.Join(condemned, "pg_wal")
	must(t, os.Mkdir(log, 0o755))
	if err := syscall.Mount("tmpfs", log, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(log, syscall.MNT_DETACH) })
	segment := mkfile(t, filepath.Join(log, "000000010000000000000001"))
	_, err := s.TendReplaced(t.Context(), Service{}, day)
	if err == nil {
		t.Fatal("a mount point was removed")
	}
	messages.Check(t, "replaced-mount", err.Error())
	if !exists(rest) || !exists(segment) {
		t.Error("a part of it is gone")
	}
	must(t, syscall.Unmount(log, 0))
	r, err := s.TendReplaced(t.Context(), Service{}, day)
	must(t, err)
	if r.Path != condemned || exists(condemned) {
		t.Errorf("removed %+v after it was unmounted", r)
	}
}

// A removal that was interrupted, at any step, is gone on with, and never takes what
// was kept since in the same places.
func TestInterruptedRemoval(t *testing.T) {
	for step, name := range []string{"renamed", "a part outside renamed", "a link renamed", "removing"} {
		t.Run(name, func(t *testing.T) {
			s := idle(t)
			space := filepath.Join(filepath.Dir(s.opt.DataDir), "space")
			kept, removing := filepath.Join(space, keptInside), filepath.Join(space, removingInside)
			mkfile(t, filepath.Join(kept, "old"))
			mkfile(t, filepath.Join(s.replacedDir(), "base", "1"))
			must(t, os.Mkdir(filepath.Join(s.replacedDir(), "pg_tblspc"), 0o700))
			must(t, os.Symlink(kept, filepath.Join(s.replacedDir(), "pg_tblspc", "16384")))
			condemned := s.opt.DataDir + ".removing"
			must(t, os.Rename(s.replacedDir(), condemned))
			if step >= 1 {
				must(t, os.Rename(kept, removing))
			}
			if step >= 2 {
				must(t, relink(condemned, kept, removing))
			}
			if step >= 3 {
				must(t, os.RemoveAll(filepath.Join(condemned, "base")))
			}
			// Another replacement comes first.
			aside(t, s, spareCopy{SystemID: "1"})
			mkfile(t, filepath.Join(kept, "new"))
			r, err := s.TendReplaced(t.Context(), Service{}, day)
			must(t, err)
			if r.Path != condemned || !r.Rest || r.Bytes == 0 {
				t.Errorf("%+v", r)
			}
			if exists(condemned) || exists(removing) {
				t.Error("something is left")
			}
			if !exists(filepath.Join(kept, "new")) || !exists(filepath.Join(s.replacedDir(), "PG_VERSION")) {
				t.Error("what is kept now is gone")
			}
		})
	}
}
