package up

import (
	"context"
	"sync"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
)

// sight is what one member says of itself; ok is false when it does not answer.
type sight struct {
	ok  bool
	doc api.StatusDoc
}

// leads: it may write, by its own word.
func (s sight) leads() bool {
	return s.ok && s.doc.Role == "primary" && s.doc.State == "running" &&
		s.doc.Matriarch != nil && s.doc.Matriarch.LeaseRemainingMs > 0
}

func (s sight) streams() bool {
	return s.ok && s.doc.Role == "replica" && s.doc.ReplState == "streaming"
}

// look asks all members at once.
func look(ctx context.Context, c *client.Client, members []member) []sight {
	out := make([]sight, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			doc, err := c.Status(ctx, m.base())
			// A stranger at the port is not the member.
			out[i] = sight{ok: err == nil && doc.Patroni.Name == m.name, doc: doc}
		})
	}
	wg.Wait()
	return out
}

// leaderOf is the index of the member that leads, -1 for none.
func leaderOf(all []sight) int {
	for i, s := range all {
		if s.leads() {
			return i
		}
	}
	return -1
}

// whole: one leads and all others stream.
func whole(all []sight) bool {
	lead := leaderOf(all)
	for i, s := range all {
		if i != lead && !s.streams() {
			return false
		}
	}
	return lead >= 0
}
