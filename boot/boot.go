// Package boot is the vocabulary of time for everything that guards a lease:
// instants on CLOCK_BOOTTIME, which also advances while a process is stopped,
// frozen or its host suspended, and never jumps when the wall clock is set.
//
// It is pure: it never reads a clock. internal/clock reads the real one; tests
// and the simulator make their own instants.
package boot

import "time"

// Instant is a reading of CLOCK_BOOTTIME in nanoseconds. Instants of two hosts
// cannot be compared. Zero means "never".
type Instant int64

// Add returns the instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub returns how much time passed from o to i.
func (i Instant) Sub(o Instant) time.Duration { return time.Duration(i - o) }

// Before reports whether i is earlier than o.
func (i Instant) Before(o Instant) bool { return i < o }

// IsZero reports whether the instant is "never".
func (i Instant) IsZero() bool { return i == 0 }
