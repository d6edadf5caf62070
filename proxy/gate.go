package proxy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/route"
)

// noDeadline marks the gate to a replica: its own server refuses writes.
const noDeadline = boot.Instant(math.MaxInt64)

// errShut is why nothing passes a gate any more.
var errShut = errors.New("the permission to use this backend has ended")

// gate is the permission to exchange bytes with one backend. It is open until
// its deadline, which the leader's word moves, and shut once and for all by the
// table; context.Cause(ctx) then says why.
type gate struct {
	backend  route.Backend
	primary  bool // only that permission ends by itself
	clock    clock.Clock
	deadline atomic.Int64 // boot.Instant; zero when shut
	sessions atomic.Int64
	opaque   atomic.Int64 // sessions whose cancel key is unknown to us
	forwards atomic.Int64 // sessions whose bytes are being copied

	ctx  context.Context // ends when the gate is shut
	shut context.CancelCauseFunc
}

func newGate(b route.Backend, c clock.Clock, until boot.Instant) *gate {
	g := &gate{backend: b, primary: until != noDeadline, clock: c}
	g.ctx, g.shut = context.WithCancelCause(context.Background())
	g.deadline.Store(int64(until))
	return g
}

// open reports whether bytes may pass now.
func (g *gate) open() bool {
	_, ok := g.pass()
	return ok
}

// pass is open, and tells the time that it looked at: zero for a replica. It
// stands before every write.
func (g *gate) pass() (boot.Instant, bool) {
	d := boot.Instant(g.deadline.Load())
	if d == noDeadline {
		return 0, true
	}
	now := g.clock.Now()
	return now, now < d
}

// bound is called before a backend's connection is closed: what was given to the
// system and is not acknowledged would be sent again for minutes, with nobody left to
// end that when the time of the gate is over. Then the system gives it up, too; past
// that time it is thrown away with a reset at once.
func (g *gate) bound(fd int) {
	now, open := g.pass()
	switch {
	case !open || g.ctx.Err() != nil:
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	case g.primary:
		left := boot.Instant(g.deadline.Load()).Sub(now)
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(max(left.Milliseconds(), 1)))
	}
}

// close shuts the gate; only the first reason counts.
func (g *gate) close(format string, args ...any) {
	g.deadline.Store(0)
	g.shut(fmt.Errorf(format, args...))
}
