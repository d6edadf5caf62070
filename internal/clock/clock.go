// Package clock reads time for the parts that do I/O: CLOCK_BOOTTIME for leases
// and deadlines, wall time for people. One Clock is made by main and passed
// down; nothing else in the project reads a clock for a lease decision, so that
// tests can put a fake in its place.
package clock

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
)

// Clock tells both kinds of time.
type Clock interface {
	// Now reads CLOCK_BOOTTIME.
	Now() boot.Instant
	// Wall reads the wall clock, for messages and stored timestamps only.
	Wall() time.Time
}

// Real is the clock of this host.
type Real struct{}

// Now reads CLOCK_BOOTTIME; the call cannot fail on a supported kernel.
func (Real) Now() boot.Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("clock_gettime(CLOCK_BOOTTIME): " + err.Error())
	}
	return boot.Instant(ts.Nano())
}

// Wall reads the wall clock.
func (Real) Wall() time.Time { return time.Now() }
