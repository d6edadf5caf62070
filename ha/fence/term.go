package fence

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

// Term answers one question: until when may this member write? It is all that
// bounds a held lease, and Until is the answer, for the agent's rules, the REST
// API's word, and by it the entrypoint. The guard is given Proven.
//
// What bounds it, in this order:
//
//   - Two may prove a lease alone, the store and all other members in failsafe mode:
//     the proof that reaches further counts. Of a lease adrift, whose key is not under
//     the session that the store confirms, the members' word alone.
//   - What was proven before a doubt of the clock lasts for a moment only.
//   - The guard kills the server at the deadline that it took last, whatever was
//     proven since, and may have the session ended then.
type Term struct {
	// Store is what the store confirmed last for the session, whether or not a lease
	// is held under it; Word is what the members promised for the lease.
	Store, Word Deadlines
	Adrift      bool
	// Guard is the earliest hard deadline that the guard may act at; 0: nothing was
	// handed to one yet, or nothing is guarded.
	Guard boot.Instant

	doubt doubt
}

// doubt is the newest doubt of the clock: what was sent before since lasts until
// soft, and clean longer for a clean stop.
type doubt struct {
	since, soft boot.Instant
	clean       time.Duration
}

// of are deadlines as far as they can be relied on.
func (o doubt) of(d Deadlines) Deadlines {
	if d.Sent >= o.since {
		return d
	}
	return d.Shorten(o.soft, o.clean)
}

// Doubt says at now that the time in which the lease was counted cannot be relied
// on: what was proven before lasts for patience, and for its clean stop after
// that. For good: that something else is proven later proves none of it.
func (t *Term) Doubt(now boot.Instant, patience, clean time.Duration) {
	t.doubt = doubt{now, now.Add(patience), clean}
	t.Store, t.Word = t.doubt.of(t.Store), t.doubt.of(t.Word)
}

// Confirm takes a confirmation of the store's. They may arrive out of order.
func (t *Term) Confirm(d Deadlines) { t.Store = t.Store.Later(t.doubt.of(d)) }

// Promise takes the word of all other members.
func (t *Term) Promise(d Deadlines) { t.Word = Furthest(t.Word, t.doubt.of(d)) }

// Handing notes that a hard deadline is about to be sent to the guard. It may be
// heard although it is not acknowledged, so an earlier one counts at once, and a
// later one when it is acknowledged (Guard).
func (t *Term) Handing(hard boot.Instant) {
	if t.Guard != 0 {
		t.Guard = min(t.Guard, hard)
	}
}

// End forgets what belongs to the lease, and keeps what belongs to the session.
func (t *Term) End() { t.Word, t.Adrift, t.Guard = Deadlines{}, false, 0 }

// Proven is how far the lease is proven: what the guard is to be given.
func (t Term) Proven() Deadlines {
	if t.Adrift {
		return t.Word
	}
	return Furthest(t.Store, t.Word)
}

// Sent is when the newest proof of the lease was asked for.
func (t Term) Sent() boot.Instant {
	if t.Adrift {
		return t.Word.Sent
	}
	return max(t.Store.Sent, t.Word.Sent)
}

// Until is until when this member may write under the lease.
func (t Term) Until() Deadlines {
	d := t.Proven()
	if t.Guard != 0 && d.Hard > t.Guard {
		d.Soft, d.Hard = t.Guard.Add(d.Soft.Sub(d.Hard)), t.Guard
	}
	return d
}

// ByWord: the members' word lets the lease last longer than the store does.
func (t Term) ByWord() bool { return t.Word.Hard > t.Store.Hard }

// Promised: the members' word alone keeps the lease still.
func (t Term) Promised(now boot.Instant) bool { return !t.Word.Sent.IsZero() && now < t.Word.Hard }
