package fence

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

// What a lease keeper concludes, apart from how it waits and calls: shared by the
// real one and the simulator's.

// Phase is what a held lease still allows.
type Phase int

// The phases of a held lease.
const (
	Working  Phase = iota // before the soft deadline
	Stopping              // from the soft deadline on: the server is stopped
	Lost                  // from the hard deadline on
)

// Phase returns the phase of a held lease at now.
func (d Deadlines) Phase(now boot.Instant) Phase {
	switch {
	case now >= d.Hard:
		return Lost
	case now >= d.Soft:
		return Stopping
	}
	return Working
}

// Furthest returns the deadlines that end later. Unlike Later it is for two
// authorities (the store, and all other members in failsafe mode), of which each
// may prove a lease alone: the order of sending does not matter.
func Furthest(a, b Deadlines) Deadlines {
	if b.Hard > a.Hard {
		return b
	}
	return a
}

// Interval returns the time between renewals: what is wanted (loop_wait), but at
// least three in the length that was granted.
func Interval(wanted, granted time.Duration) time.Duration {
	return max(min(wanted, granted/3), time.Millisecond)
}

// Attempt returns how long one call to the store may take: a third of the life
// that is left, so that two more attempts fit in.
func Attempt(left, granted, shortest time.Duration) time.Duration {
	return max(min(left/3, granted/3), shortest)
}

// Sight is what a member that holds the leader key has seen of it: the newest
// reading in which it was its own. Zero: none yet.
type Sight struct {
	Store    string
	Revision int64
}

// Reading is what a view of the cluster says about the leader key.
type Reading struct {
	Held   bool // the member believes that it holds the key
	Taking bool // it is about to create or delete it
	Ours   bool // the key is under its session
	Same   bool // and the very key that it created: its version is the same
	// Adrift: the lease is held by the members' word alone. Promised: that lasts,
	// whether or not the key is in the store too. Free: nobody holds the key.
	Adrift, Promised, Free bool

	Store string
	// Revision of the view; only those of one store can be compared.
	Revision int64
}

// Verdict is what follows from a reading.
type Verdict int

// The verdicts.
const (
	Agrees    Verdict = iota
	Unclaimed         // the key is ours and nobody was told: it has to go
	Taken             // the key is certainly not ours any more
	Suspect           // the view may be older than the key: only a fresh reading tells
	Regained          // the key of a lease adrift is ours again
)

// Judge says what follows from a reading, and remembers one that shows the key. A
// view of an earlier holding under the same session proves nothing.
func (s *Sight) Judge(r Reading) Verdict {
	switch {
	case r.Ours && r.Adrift && !r.Taking:
		return Regained
	case r.Adrift && r.Free, r.Adrift && r.Ours:
		return Agrees
	case r.Adrift:
		return Suspect // another's key in a view may be older than the loss of ours
	case r.Ours && r.Held:
		if r.Same {
			*s = Sight{r.Store, max(s.Revision, r.Revision)}
		}
	case r.Ours && !r.Taking:
		return Unclaimed
	case r.Held && s.Revision > 0 && r.Store == s.Store && r.Revision > s.Revision && !(r.Free && r.Promised):
		return Taken
	case r.Held:
		return Suspect
	}
	return Agrees
}
