package postgres

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/postmaster"
)

// foreignStart starts a server as a distribution's service would: with what its
// directory says, and nothing else.
func foreignStart(t *testing.T, ctx context.Context, s *Server) {
	t.Helper()
	path, err := s.binary("postgres")
	must(t, err)
	cmd := s.user.Command(ctx, nil, path, "-D", s.opt.DataDir, "--config-file="+s.mainConf())
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		_ = cmd.Wait()
	})
	awaitSQL(t, ctx, s)
}

func awaitSQL(t *testing.T, ctx context.Context, s *Server) {
	t.Helper()
	must(t, poll(ctx, 20*time.Millisecond, "the server to answer", func() (bool, error) {
		c, err := s.session(ctx)
		if err != nil {
			return false, nil
		}
		defer c.Close()
		_, err = c.Value(ctx, "SELECT 1")
		return err == nil, nil
	}))
}

// mustRefuseWrites looks by the server's own answer.
func mustRefuseWrites(t *testing.T, ctx context.Context, s *Server) {
	t.Helper()
	c, err := s.session(ctx)
	must(t, err)
	defer c.Close()
	if err := c.Exec(ctx, "CREATE TABLE behind_our_back (i int)"); err == nil || !strings.Contains(err.Error(), "25006") {
		t.Fatalf("a write to the server that was started behind our back: %v", err)
	}
}

// TestForeignStartAfterPowerLoss: whoever starts a primary's directory after a
// loss of power gets a read-only server, that follows nobody, and loses nothing.
func TestForeignStartAfterPowerLoss(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	s := l.primary(ctx, "a")
	s.sql(t, ctx, "CREATE TABLE t (i int); INSERT INTO t VALUES (1)")
	must(t, s.SettleSignal(ctx, s.Observe(ctx), false))
	s.sql(t, ctx, "INSERT INTO t VALUES (2)") // it does not mind
	if f := s.Observe(ctx); f.Role != RolePrimary || f.SignalFile {
		t.Fatalf("the primary is seen as %s, signal file %t", f.Role, f.SignalFile)
	}
	s.crash(t, ctx)
	foreignStart(t, ctx, s)
	mustRefuseWrites(t, ctx, s)
	if got := s.sql(t, ctx, "SELECT count(*) FROM t"); got != "2" {
		t.Errorf("%s rows, want 2", got)
	}
}

// TestSignalOfPromoted: a server that was promoted is marked as one that was
// started for writing, without its former upstream.
func TestSignalOfPromoted(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	b := l.replica(ctx, "b", a)
	_, err := b.Promote(ctx, 2)
	must(t, err)
	must(t, b.SettleSignal(ctx, b.Observe(ctx), false))
	text, err := os.ReadFile(b.mainConf())
	must(t, err)
	if strings.Contains(string(text), "primary_conninfo") {
		t.Error("a primary's files name an upstream, which a foreign start would follow")
	}
	b.crash(t, ctx)
	foreignStart(t, ctx, b)
	mustRefuseWrites(t, ctx, b)
}

// TestBackendCrashBesideSignal: when a backend crashes, the server ends, and its
// agent starts it for writing. In a pause, when no agent does, it starts anew by
// itself.
func TestBackendCrashBesideSignal(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	s := l.primary(ctx, "a")
	must(t, s.SettleSignal(ctx, s.Observe(ctx), false))
	must(t, s.SettleSignal(ctx, s.Observe(ctx), true))
	killBackend(t, ctx, s)
	s.sql(t, ctx, "CREATE TABLE t (i int)")

	must(t, poll(ctx, 10*time.Millisecond, "the server to be seen again", func() (bool, error) { return s.Observe(ctx).SQLError == "", nil }))
	must(t, s.SettleSignal(ctx, s.Observe(ctx), false))
	if s.standbyMarked() || !exists(s.standbySignal()) {
		t.Fatal("standby.signal does not stand beside the primary")
	}
	p := s.process()
	must(t, syscall.Kill(checkpointer(s), syscall.SIGKILL))
	must(t, p.Wait(ctx))
	must(t, s.StartPrimary(ctx, 0))
	s.sql(t, ctx, "INSERT INTO t VALUES (1)")
}

// killBackend kills one backend and waits until the server has started anew.
func killBackend(t *testing.T, ctx context.Context, s *Server) {
	t.Helper()
	c, err := s.session(ctx)
	must(t, err)
	defer c.Close()
	former := checkpointer(s)
	must(t, syscall.Kill(c.BackendPID(), syscall.SIGKILL))
	must(t, poll(ctx, 5*time.Millisecond, "the server to start anew", func() (bool, error) {
		now := checkpointer(s)
		return now != 0 && now != former, nil
	}))
	awaitSQL(t, ctx, s)
}

func checkpointer(s *Server) int {
	for _, c := range postmaster.Children(s.process().PID) {
		if strings.Contains(c.Title, "checkpointer") {
			return c.PID
		}
	}
	return 0
}

// TestSignalAtAStop: what is stopped is marked as a standby's again, and starts
// for writing only by StartPrimary.
func TestSignalAtAStop(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	s := l.primary(ctx, "a")
	must(t, s.SettleSignal(ctx, s.Observe(ctx), false))
	_, err := s.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	if !s.standbyMarked() {
		t.Fatal("the stopped server is not marked as a standby")
	}
	must(t, s.StartPrimary(ctx, 0))
	if f := s.Observe(ctx); f.Role != RolePrimary || f.SignalFile || exists(s.standbySignal()) {
		t.Fatalf("started for writing it is %s, signal file %t", f.Role, f.SignalFile)
	}
	must(t, s.SettleSignal(ctx, s.Observe(ctx), false))
	must(t, s.SettleSignal(ctx, s.Observe(ctx), true)) // paused
	if exists(s.standbySignal()) {
		t.Error("in a pause the file stands beside the primary")
	}
}
