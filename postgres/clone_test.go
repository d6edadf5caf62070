package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A tablespace and a log directory outside the data directory keep their paths
// when the server is cloned again, and the replaced server keeps its own.
func TestCloneAgainWithDirectoriesOutside(t *testing.T) {
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
	for range 2 {
		must(t, b.Clone(ctx, a.source(), nil))
		must(t, b.StartStandby(ctx, a.upstream(), true))
		l.caughtUp(ctx, b, a)
		if got := b.sql(t, ctx, "SELECT i FROM t"); got != "7" {
			t.Fatalf("row %q", got)
		}
		if to, _ := os.Readlink(b.walDir()); to != logDir {
			t.Errorf("pg_wal leads to %q", to)
		}
		if got := b.sql(t, ctx, "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'ts'"); got != mapped {
			t.Errorf("the tablespace is at %q", got)
		}
		_, err := b.Stop(ctx, StopFast, StopOptions{})
		must(t, err)
	}
	if to, err := os.Readlink(filepath.Join(b.replacedDir(), "pg_wal")); err != nil || !exists(filepath.Join(to, "archive_status")) {
		t.Errorf("the replaced server's log is not where its link says: %q %v", to, err)
	}
}

// A failed clone leaves what was there untouched.
func TestFailedCloneChangesNothing(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	_, err := a.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	before := a.Observe(ctx)
	if err := a.Clone(ctx, Source{Name: "nobody", Host: "127.0.0.1", Port: "1"}, nil); err == nil {
		t.Fatal("a clone from nobody succeeded")
	}
	after := a.Observe(ctx)
	if after.Position != before.Position || after.Dir != DirPresent || exists(a.replacedDir()) || exists(a.newDir()) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	must(t, a.StartPrimary(ctx, 0))
}

// A standby that received more than the new primary, and crashed, is rewound.
func TestRewindOfCrashedStandby(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b, c := l.replica(ctx, "b", a), l.replica(ctx, "c", a)
	a.sql(t, ctx, "CREATE TABLE t (i int)")
	l.caughtUp(ctx, c, a)
	_, err := c.StopReceiver(ctx)
	must(t, err)
	a.sql(t, ctx, "INSERT INTO t VALUES (1)")
	l.caughtUp(ctx, b, a)
	a.crash(t, ctx)
	b.crash(t, ctx)
	_, err = c.Promote(ctx, 2)
	must(t, err)
	must(t, b.Rewind(ctx, c.source(), nil))
	must(t, b.StartStandby(ctx, c.upstream(), true))
	l.caughtUp(ctx, b, c)
	must(t, b.RewindDone())
	if got := b.sql(t, ctx, "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows that the new primary never had", got)
	}
	checkLost(t, b, 1)
}

// A number that the archive knows is refused before anything is promoted.
func TestPromoteAsksTheArchive(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	archive := filepath.Join(l.dir, "archive")
	must(t, os.Mkdir(archive, 0o755))
	must(t, os.WriteFile(filepath.Join(archive, "00000002.history"), []byte("1\t0/1\tx\n"), 0o644))
	a := l.primary(ctx, "a")
	b := l.server("b")
	cfg := testConfig(l.dir)
	cfg.Recovery = []Param{{Name: "restore_command", Value: "cp " + archive + "/%f %p"}}
	must(t, b.Clone(ctx, a.source(), nil))
	must(t, b.StartStandby(ctx, a.upstream(), true))
	l.caughtUp(ctx, b, a)
	b.SetConfig(cfg)
	if _, err := b.Promote(ctx, 2); !errors.Is(err, ErrTimelineTaken) {
		t.Fatalf("error %v", err)
	}
	if f := b.Observe(ctx); f.Role != RoleStandby {
		t.Fatalf("promoted all the same: %+v", f)
	}
}
