package agent

import (
	"testing"
	"time"
)

// A store that changes nothing sends nothing. Its view is current all the same
// while the watch stands and renewals are confirmed: health checks that need a
// known store must not fail on a quiet night.
func TestQuietStoreIsKnown(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.start()
		time.Sleep(10 * time.Minute)
		ttl := r.agent.Settings().TTL
		if _, seen := r.agent.Seen(); r.clock.Now().Sub(seen) > ttl {
			t.Errorf("after a quiet while the view counts as %s old; it is current", r.clock.Now().Sub(seen))
		}
		r.store.Cut(true)
		time.Sleep(2 * ttl)
		if _, seen := r.agent.Seen(); r.clock.Now().Sub(seen) < ttl {
			t.Error("the view of a store that is away counts as current")
		}
	})
}
