package memory_test

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
	"github.com/matriarch-ha/matriarch/dcs/memory"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// link damages a connection the way the suite asks.
type link struct{ store *memory.Store }

func (l link) Cut() { l.store.Cut(true) }

func (l link) LoseReplies() {
	l.store.SetHook(func(memory.Call) memory.Fault { return memory.FaultLoseReply })
}

func (l link) Mend() {
	l.store.Cut(false)
	l.store.SetHook(nil)
}

func TestContract(t *testing.T) {
	var servers = map[string]*memory.Server{}
	open := func(prefix string) *memory.Store {
		if servers[prefix] == nil {
			servers[prefix] = memory.NewServer(clock.Real{})
		}
		return servers[prefix].Connect()
	}
	var mu = make(chan struct{}, 1)
	locked := func(prefix string) *memory.Store {
		mu <- struct{}{}
		defer func() { <-mu }()
		return open(prefix)
	}
	dcstest.Run(t, dcstest.Harness{
		TTL: 300 * time.Millisecond,
		Open: func(_ *testing.T, prefix string) dcs.Store {
			return dcs.Measured(locked(prefix), func(string, string, time.Duration) {})
		},
		OpenLinked: func(_ *testing.T, prefix string) (dcs.Store, dcstest.Link) {
			st := locked(prefix)
			return st, link{st}
		},
	})
}
