package route

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// Known is a position, and when the entrypoint first knew of one as far as that or
// further.
type Known struct {
	Position wal.LSN      `json:"position"`
	At       boot.Instant `json:"at"`
}

// History is how the furthest known position went on, both rising. It tells by one
// clock, the entrypoint's own, for how long a replica has not replayed what was
// known: no two clocks are compared, and a cluster that writes nothing has no lag.
// It has a bounded length: what is older is told less exactly, and rather as more.
type History []Known

// maxHistory bounds a history, of which the newest keptExact are kept as they are.
const (
	maxHistory = 128
	keptExact  = 64
)

// Add notes the furthest position that is known now. One that is less than before is
// of a new leader, and what lies beyond it is nobody's aim any more.
func (h History) Add(furthest wal.LSN, now boot.Instant) History {
	h = slices.DeleteFunc(h, func(k Known) bool { return k.Position > furthest })
	if len(h) > 0 && h[len(h)-1].Position == furthest {
		return h
	}
	if len(h) == maxHistory {
		h = h.thinned()
	}
	return append(h, Known{furthest, now})
}

// thinned makes one of each two older entries; the first stays, for it tells where
// our knowledge begins.
func (h History) thinned() History {
	out, rest := slices.Clone(h[:1]), h[1:]
	for len(rest) > keptExact {
		out = append(out, Known{rest[1].Position, rest[0].At})
		rest = rest[2:]
	}
	return append(out, rest...)
}

// Lag is for how long the replica that gave a word has not replayed what was known.
// For what was written before we knew anything the age of the last transaction that
// it replayed has to do, by its own clock and that of the primary.
func (h History) Lag(w Word, now boot.Instant) time.Duration {
	i := slices.IndexFunc(h, func(k Known) bool { return k.Position > w.Replayed })
	if i < 0 {
		return 0
	}
	lag := now.Sub(h[i].At)
	if i == 0 && w.ReplayedAge > 0 {
		lag = max(lag, w.ReplayedAge+now.Sub(w.Asked))
	}
	return lag
}

// Furthest is the furthest position that a view and words tell of. The leader's own
// is as old as its last publication; what a replica has received may be newer. Words
// of an older timeline than the newest do not count: such a member may have what the
// cluster has left.
func Furthest(v cluster.View, words []Word) wal.LSN {
	var newest wal.Timeline
	for _, w := range words {
		newest = max(newest, w.Timeline)
	}
	out := v.Status.Optime
	for _, w := range words {
		if w.Timeline == 0 || w.Timeline == newest {
			out = max(out, w.Received, w.Replayed)
		}
	}
	return out
}
