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
	dcstest.Run(t, dcstest.Harness{
		TTL:  2 * time.Second,
		Open: func(t *testing.T, prefix string) dcs.Store { return open(t, prefix, endpoints...) },
		OpenLinked: func(t *testing.T, prefix string) (dcs.Store, dcstest.Link) {
			relay := dcstest.StartRelay(t, endpoints[0])
			return open(t, prefix, relay.Addr()), relay
		},
	})
}
