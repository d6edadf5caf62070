package fence

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

// Kept returns the deadlines of a held lease: what the store confirmed and what
// the members' word allows, whichever ends later; of a lease that is adrift, whose
// key is not under the session that the store confirms, the members' word alone.
func Kept(store, word Deadlines, adrift bool) Deadlines {
	if adrift {
		return word
	}
	return Furthest(store, word)
}

// Promised is until when a member keeps a promise of that length that it is asked
// for at now: it is not shortened, since whoever relies on it has subtracted the
// difference of the clocks' rates already, and counted from before it asked.
func Promised(now boot.Instant, length time.Duration) boot.Instant { return now.Add(length) }
