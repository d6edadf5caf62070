package zookeeper

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

func connect(t *testing.T, prefix string, hosts ...string) *Store {
	t.Helper()
	st, err := Open(t.Context(), Config{Hosts: hosts, Prefix: prefix, TickTime: dcstest.ZooKeeperTick}, clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestContract(t *testing.T) {
	hosts := dcstest.StartZooKeeper(t)
	dcstest.Run(t, dcstest.Harness{
		TTL:  2 * time.Second,
		Open: func(t *testing.T, prefix string) dcs.Store { return connect(t, prefix, hosts...) },
		OpenLinked: func(t *testing.T, prefix string) (dcs.Store, dcstest.Link) {
			relay := dcstest.StartRelay(t, hosts[0])
			return connect(t, prefix, relay.Addr()), relay
		},
	})
}
