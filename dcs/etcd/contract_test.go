package etcd

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

func open(t *testing.T, prefix string, endpoints ...string) *Store {
	t.Helper()
	st, err := Open(t.Context(), Config{Endpoints: endpoints, Prefix: prefix}, clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestContract(t *testing.T) {
	endpoints := dcstest.StartEtcd(t)
	t.Run("Granted", func(t *testing.T) {
		st := open(t, "/granted", endpoints...)
		defer st.Close()
		// Whole seconds, rounded up, and no less than the server's minimum.
		for asked, want := range map[time.Duration]time.Duration{100 * time.Millisecond: time.Second, 2500 * time.Millisecond: 3 * time.Second} {
			n, err := st.Open(t.Context(), asked)
			if err != nil {
				t.Fatal(err)
			}
			if got := n.Opened().Granted; got != want {
				t.Errorf("asked for %v, granted %v, want %v", asked, got, want)
			}
		}
	})
	dcstest.Run(t, dcstest.Harness{
		TTL:  2 * time.Second,
		Open: func(t *testing.T, prefix string) dcs.Store { return open(t, prefix, endpoints...) },
		OpenLinked: func(t *testing.T, prefix string) (dcs.Store, dcstest.Link) {
			relay := dcstest.StartRelay(t, endpoints[0])
			return open(t, prefix, relay.Addr()), relay
		},
	})
}
