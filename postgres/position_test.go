package postgres

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/control"
)

// A control file that was written a moment ago may be written once more within
// the same stamp: what was read of it must not be kept.
func TestControlKeyOfAFileJustWritten(t *testing.T) {
	s := &Server{opt: Options{DataDir: t.TempDir()}}
	file := s.dataPath("global", "pg_control")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("shutting down"), 0o600); err != nil {
		t.Fatal(err)
	}
	same := func(stamp time.Time) bool {
		if err := os.Chtimes(file, stamp, stamp); err != nil {
			t.Fatal(err)
		}
		one, err := s.controlKey()
		if err != nil {
			t.Fatal(err)
		}
		two, err := s.controlKey()
		if err != nil {
			t.Fatal(err)
		}
		return one == two
	}
	if at := time.Now(); same(at) && time.Since(at) < clockTick {
		t.Error("the key of a file just written stays")
	}
	if !same(time.Now().Add(-time.Hour)) {
		t.Error("the key of an old file changes")
	}
}

// Somebody else stops the server, and its archiver hangs: it counts as one that
// writes until a stop of our own has seen its last record, and then as shut down,
// also for an agent that began afterwards.
func TestStopBegunByAnother(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	release := l.hangArchiver(a)
	must(t, restart(ctx, a))
	a.sql(t, ctx, "CREATE TABLE t (i int); SELECT pg_switch_wal()")
	a.Observe(ctx) // its connection is open, as an agent's is
	must(t, a.process().Signal(syscall.SIGINT))
	for {
		if ctl, err := a.control(ctx); err == nil && ctl.State == control.ShutDown {
			break
		}
		must(t, ctx.Err())
		time.Sleep(10 * time.Millisecond)
	}
	if f := a.Observe(ctx); f.Process != ProcStopping || f.Role != RolePrimary || f.ShutDown {
		t.Errorf("%s %s, shut down %v", f.Process, f.Role, f.ShutDown)
	}

	told, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := a.Stop(ctx, StopFast, StopOptions{Checkpoint: true, OnShutdownCheckpoint: func() { close(told) }})
		ended <- err
	}()
	select {
	case <-told:
	case <-ctx.Done():
		t.Fatal("the stop did not notice the last record")
	}
	other, err := New(a.opt)
	must(t, err)
	defer other.Close()
	other.SetConfig(a.config())
	for _, s := range []*Server{a, other} {
		if f := s.Observe(ctx); f.Process != ProcStopping || f.Role != RolePrimary || !f.ShutDown || !f.Position.Known() {
			t.Errorf("%s %s at %s, shut down %v", f.Process, f.Role, f.Position, f.ShutDown)
		}
	}
	release()
	must(t, <-ended)
}
