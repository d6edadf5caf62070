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
