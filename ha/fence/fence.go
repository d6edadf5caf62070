// Package fence is the arithmetic of a lease: from when a renewal was sent and
// what the store granted, until when may this member write?
//
// It is pure and shared by the lease keeper, the guard, and the simulator, so
// that the three can never disagree. It knows no clock: instants come in.
//
// The formula (one, for every store):
//
//	hard = sent + granted − clock rate − store slack − fence budget
//	soft = hard − clean-stop budget
//
// Where the store is silent, the members' promises take its place: sent is then
// from before the first of them was asked, and granted what each of them
// promised, counted on its own clock from when it was asked (Promised), so that
// the promise of every member outlives the deadline.
//
// Until soft the member works; from soft the agent stops PostgreSQL cleanly;
// at hard the guard kills what is left, and has finished before the store can
// give the lease to another.
//
// A watchdog device resets the whole host, so all of this has to be over before
// it does: with one,
//
//	reset = sent + granted − clock rate − store slack − safety margin
//	hard  = reset − grain of the device − fence budget
package fence

import (
	"errors"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

// ErrFenced is a guard's answer to deadlines that came too late.
var ErrFenced = errors.New("the guard has killed the server: the deadline had passed")

// Budget holds the times that are subtracted from a granted lease.
type Budget struct {
	// StoreSlack is how much earlier than sent+granted the store may expire the
	// lease by its own design: zero for etcd, one tick for ZooKeeper.
	StoreSlack time.Duration
	// Fence is the time from the guard's alarm to the proof that no process of
	// the server can commit any more, measured under load.
	Fence time.Duration
	// CleanStop is how long before the hard deadline the agent begins to stop
	// PostgreSQL by itself.
	CleanStop time.Duration
	// Device: a watchdog device resets the host, Margin before the lease ends.
	Device bool
	Margin time.Duration
}

// DefaultBudget is used unless a configuration or a store says otherwise.
func DefaultBudget() Budget {
	return Budget{Fence: time.Second, CleanStop: 2 * time.Second}
}

// rateDivisor bounds how far two clocks' rates may differ: 0.5 %, a generous
// multiple of what crystals and NTP slewing (500 ppm) do.
const rateDivisor = 200

// deviceGrain is what is lost because a device counts in whole seconds.
const deviceGrain = time.Second

// Deadlines are the two instants of one confirmed renewal.
type Deadlines struct {
	Sent boot.Instant `json:"sent"` // when the confirmed renewal was sent
	Soft boot.Instant `json:"soft"` // the agent stops being primary from here on
	Hard boot.Instant `json:"hard"` // the guard kills at this instant
	// Reset is when a watchdog device resets the host; zero where there is none.
	Reset boot.Instant `json:"reset,omitempty"`
}

// Compute applies the formula. granted is what the store granted, never what
// was asked for. A lease too short for the budgets gives deadlines not after
// sent: such a lease never allows to write, which is the safe answer.
func Compute(sent boot.Instant, granted time.Duration, b Budget) Deadlines {
	hard := sent.Add(granted - granted/rateDivisor - b.StoreSlack - b.Fence)
	var reset boot.Instant
	if b.Device {
		hard = hard.Add(-b.Margin - deviceGrain)
		reset = hard.Add(b.Fence + deviceGrain)
	}
	// A short lease must leave some room to work in: the clean stop may take at
	// most a quarter of what is left, the guard takes care of the rest.
	clean := min(b.CleanStop, max(0, hard.Sub(sent)/4))
	return Deadlines{Sent: sent, Soft: hard.Add(-clean), Hard: hard, Reset: reset}
}

// Shorten returns deadlines whose soft one is no later than soft, and whose hard one
// leaves a clean stop its time after that.
func (d Deadlines) Shorten(soft boot.Instant, clean time.Duration) Deadlines {
	if soft < d.Soft {
		d.Soft = soft
		d.Hard = min(d.Hard, soft.Add(clean))
	}
	return d
}

// Live reports whether the lease may still be relied on at now.
func (d Deadlines) Live(now boot.Instant) bool { return !d.Sent.IsZero() && now < d.Soft }

// Later returns the deadlines that reach further; confirmations may arrive out
// of order, and an older one never shortens what a newer one proved.
func (d Deadlines) Later(o Deadlines) Deadlines {
	if o.Sent > d.Sent {
		return o
	}
	return d
}
