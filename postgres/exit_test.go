package postgres

import (
	"syscall"
	"testing"
	"time"
)

// awaitEnd returns the next end of a postmaster that is told.
func awaitEnd(t *testing.T, s *Server) Event {
	t.Helper()
	for limit := time.After(time.Minute); ; {
		select {
		case e := <-s.Events():
			if !e.Bootstrap {
				return e
			}
		case <-limit:
			t.Fatal("no end of a postmaster was told")
		}
	}
}

// TestEndsAreToldWithTheirKind: asked or not, by signal or not, and of one that
// was not our child, that its kind is not known.
func TestEndsAreToldWithTheirKind(t *testing.T) {
	l, ctx := newLab(t), testCtx(t)
	a := l.primary(ctx, "a")
	pid := a.Observe(ctx).PID
	_, err := a.Stop(ctx, StopFast, StopOptions{})
	must(t, err)
	if e := awaitEnd(t, a); e.PID != pid || !e.Asked || !e.Known || e.Code != 0 || e.Signal != "" {
		t.Errorf("stopped: %+v", e)
	}
	must(t, a.StartPrimary(ctx, 0))
	pid = a.Observe(ctx).PID
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	if e := awaitEnd(t, a); e.PID != pid || e.Asked || !e.Known || e.Signal != "SIGKILL" || e.String() != "was ended by SIGKILL" {
		t.Errorf("killed: %+v", e)
	}
	must(t, a.StartPrimary(ctx, 0))
	other, err := New(a.opt)
	must(t, err)
	defer other.Close()
	pid = other.Observe(ctx).PID
	must(t, syscall.Kill(pid, syscall.SIGINT)) // somebody else's pg_ctl stop
	if e := awaitEnd(t, a); e.PID != pid || e.Asked || !e.Known || e.Code != 0 || e.String() != "ended in order" {
		t.Errorf("stopped by somebody: %+v", e)
	}
	if e := awaitEnd(t, other); e.PID != pid || e.Asked || e.Known {
		t.Errorf("adopted: %+v", e)
	}
	a.Observe(ctx)
	select {
	case e := <-a.Events():
		t.Errorf("one end too many: %+v", e)
	default:
	}
}
