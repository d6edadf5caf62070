package guard

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/ha/fence"
)

// stoppedGuard is a guard that stands still, armed for a second.
func stoppedGuard(t *testing.T) (*site, *Client, fence.Deadlines) {
	t.Helper()
	s := newSite(t)
	c := s.guard(time.Minute, time.Minute)
	d := within(time.Second)
	s.arm(c, d)
	stop(t, c.State().PID)
	return s, c, d
}

// A guard that stood still past its deadline finds a newer one in its socket. The
// agent that sent it has given the lease up at the former one, and a helper may
// end its session: the guard fences.
func TestANewerDeadlineThatIsReadTooLate(t *testing.T) {
	t.Parallel()
	s, c, d := stoppedGuard(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := c.Arm(ctx, long(), []byte(testHandle)); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrNoAck) {
		t.Fatalf("a stopped guard answered: %v", err)
	}
	time.Sleep(d.Hard.Sub(now()) + 10*time.Millisecond)
	deliver(t, c.State().PID, unix.SIGCONT)
	awaitFence(t, c)
	s.mustBeFenced()
}

// A deadline that has come, sent without a handle, ends the server of a lease that
// was lost early at once; the session, which may live on, is left alone.
func TestADeadlineThatHasCome(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	busy(t, s.server)
	c := s.guard(time.Minute, time.Minute)
	s.arm(c, long())
	n := now()
	if err := c.Arm(context.Background(), fence.Deadlines{Sent: n, Soft: n, Hard: n}, nil); !errors.Is(err, ErrFenced) {
		t.Errorf("the guard says %v, want %v", err, ErrFenced)
	}
	s.mustBeFenced()
	// And it serves on, for the next lease.
	s.arm(c, long())
	if err := c.Disarm(context.Background()); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil { // waits for its end, and so for a helper's
		t.Error(err)
	}
	s.mustHaveReleased(0)
}

// A disarm that is read too late is obeyed: the server is no writer.
func TestADisarmThatIsReadTooLate(t *testing.T) {
	t.Parallel()
	s, c, d := stoppedGuard(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_ = c.Disarm(ctx)
	time.Sleep(d.Hard.Sub(now()) + 10*time.Millisecond)
	deliver(t, c.State().PID, unix.SIGCONT)
	if err := c.Disarm(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.connect().Close(context.Background())
	if c.State().Fences != 0 {
		t.Error("fenced")
	}
	s.mustHaveReleased(0)
}
