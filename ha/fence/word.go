package fence

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

// Promised is until when a member keeps a promise of that length that it is asked
// for at now: it is not shortened, since whoever relies on it has subtracted the
// difference of the clocks' rates already, and counted from before it asked.
func Promised(now boot.Instant, length time.Duration) boot.Instant { return now.Add(length) }
