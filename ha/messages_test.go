package ha

import (
	"testing"

	"github.com/matriarch-ha/matriarch/internal/messages"
)

// A diverged server that can neither be rewound nor copied anew says what a
// person can do.
func TestMessagesDiverged(t *testing.T) {
	stuck := func(rewind, can, sameNumber bool) string {
		u := &turn{}
		u.o.Settings.UsePgRewind, u.o.Server.CanRewind = rewind, can
		return u.whyStuck(sameNumber)
	}
	messages.Check(t, "rewind-impossible", stuck(true, false, false))
	messages.Check(t, "rewind-off", stuck(false, true, false))
	messages.Check(t, "rewind-same-number", stuck(true, true, true))
}
