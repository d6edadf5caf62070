package fence

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

// Watch is what a guard goes by: its deadlines, whether it has an agent, and
// what it has begun. It knows no process: the guard asks Next what is due and
// does it.
type Watch struct {
	Armed      bool
	Soft, Hard boot.Instant

	// Alone: there is no agent, since Since. Claimed: an agent has taken over, and
	// has not armed yet because it does not know whether it can go on.
	Alone, Claimed bool
	Since          boot.Instant

	// Asked: the server was asked for a fast shutdown, which turns into a kill at
	// KillAt.
	Asked  bool
	KillAt boot.Instant
	// Fencing: an agent that took over cannot go on with the server.
	Fencing bool
}

// Alone says how a guard without an agent behaves.
type Alone struct {
	// Grace is how long the server is left alone for another agent, never past the
	// soft deadline; negative: until then.
	Grace time.Duration
	// CleanStop is how long its shutdown may take then before it is killed; 0:
	// until the hard deadline.
	CleanStop time.Duration
	// Releasable: the guard can have the session ended once the server is gone.
	// Stopping a server before its lease is about to end makes sense only then.
	Releasable bool
}

// Act is what is due.
type Act int

// What a guard does.
const (
	Wait Act = iota // nothing, until the instant given; zero is for ever
	Stop            // ask for a fast shutdown, once (Asking), then Look
	Look            // see whether the shutdown that was asked for is complete
	Kill            // kill every process of the server, now
)

// Next says what is due at now, and until when to wait if nothing else happens.
func (w Watch) Next(now boot.Instant, a Alone) (Act, boot.Instant) {
	switch {
	case !w.Armed:
		return Wait, 0
	case now >= w.Hard || w.Fencing || w.Asked && now >= w.KillAt:
		return Kill, 0
	case w.Asked:
		return Look, w.KillAt
	case !w.Alone && !w.Claimed:
		return Wait, w.Hard
	}
	if until := w.patience(a); now < until {
		return Wait, until
	}
	return Stop, 0
}

// patience is until when a server without an agent goes on working. An agent
// that has taken over and cannot tell yet has the time that the lease has.
func (w Watch) patience(a Alone) boot.Instant {
	if w.Claimed || a.Grace < 0 || !a.Releasable {
		return w.Soft
	}
	return min(w.Since.Add(a.Grace), w.Soft)
}

// Asking notes that a fast shutdown is asked for at now.
func (w *Watch) Asking(now boot.Instant, a Alone) {
	w.Asked, w.KillAt = true, w.Hard
	if a.CleanStop > 0 && a.Releasable {
		w.KillAt = min(now.Add(a.CleanStop), w.Hard)
	}
}

// MayArm reports whether a newer deadline may be taken: not when the server is
// being stopped already, or its deadline has passed.
func (w Watch) MayArm(now boot.Instant) bool {
	return !w.Asked && !w.Fencing && !(w.Armed && now >= w.Hard)
}

// MayClaim reports whether an agent may take over the server as it runs.
func (w Watch) MayClaim(now boot.Instant) bool {
	return w.Armed && w.Alone && !w.Claimed && !w.Asked && !w.Fencing && now < w.Soft
}
