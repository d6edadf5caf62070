package postgres

import (
	"context"
	"os"
	"testing"

	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/postgres/walfile"
)

// TestFencedPrimaryKeepsItsLog: a primary was killed between a checkpoint's record
// and its note in the control file. Started read-only it replays that record, and
// its restartpoint would remove the log before it, which a rewind may need.
func TestFencedPrimaryKeepsItsLog(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	s := l.primary(ctx, "a") // it keeps 128 MB
	s.sql(t, ctx, "CHECKPOINT")
	control, err := os.ReadFile(s.dataPath("global", "pg_control"))
	must(t, err)
	oldest := s.oldestSegment(t)
	for range 8 {
		s.sql(t, ctx, "CREATE TABLE t (i int); DROP TABLE t")
		s.sql(t, ctx, "SELECT pg_switch_wal()")
	}
	s.sql(t, ctx, "CHECKPOINT")
	s.crash(t, ctx)
	must(t, os.WriteFile(s.dataPath("global", "pg_control"), control, 0o600))
	cfg := testConfig(l.dir)
	cfg.Parameters = conf.Without(cfg.Parameters, "wal_keep_size")
	s.SetConfig(cfg)

	must(t, s.StartStandby(ctx, nil, true))
	s.sql(t, ctx, "CHECKPOINT") // a restartpoint, on a standby
	if got := s.oldestSegment(t); got != oldest {
		t.Fatalf("the log begins with %s, before the read-only start with %s", got, oldest)
	}
	if !s.Observe(ctx).WALHeld {
		t.Fatal("nothing says that the log is kept")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.LetWALGo(gone); err == nil {
		t.Error("nothing can be done with a cancelled context, and it says that it was")
	}
	if !s.Observe(ctx).WALHeld {
		t.Fatal("an attempt that failed counts as done")
	}
	must(t, s.LetWALGo(ctx))
	if f := s.Observe(ctx); f.WALHeld {
		t.Fatal("the log is kept for ever")
	}
	if got := s.sql(t, ctx, "SHOW wal_keep_size"); got != "0" {
		t.Errorf("wal_keep_size is %s afterwards", got)
	}
}

// TestStoppedPrimaryKeepsNoMore: after a clean stop there is no checkpoint that the
// control file does not know, and a server that has to catch up from an archive must
// not fill its disk.
func TestStoppedPrimaryKeepsNoMore(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	s := l.primary(ctx, "a")
	_, err := s.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	must(t, s.StartStandby(ctx, nil, true))
	if s.Observe(ctx).WALHeld {
		t.Error("a server that was stopped cleanly keeps all its log")
	}
}

// oldestSegment is the first file of the log.
func (s *Server) oldestSegment(t *testing.T) string {
	t.Helper()
	all, err := walfile.Segments(s.walDir(), 1<<20)
	must(t, err)
	return all[0].Name
}
