package zookeeper

import (
	"log/slog"
	"strings"
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
	t.Run("Granted", func(t *testing.T) {
		st := connect(t, "/granted", hosts...)
		defer st.Close()
		// The server clamps to at least two ticks and to its configured maximum.
		for asked, want := range map[time.Duration]time.Duration{time.Millisecond: 2 * dcstest.ZooKeeperTick, time.Hour: 2 * time.Minute} {
			n, err := st.Open(t.Context(), asked)
			if err != nil {
				t.Fatal(err)
			}
			if got := n.Opened().Granted; got != want {
				t.Errorf("asked for %v, granted %v, want %v", asked, got, want)
			}
			if c, err := n.Renew(t.Context()); err == nil && c.Granted != want {
				t.Errorf("renewed for %v, want %v", c.Granted, want)
			}
		}
	})
	t.Run("Tick", func(t *testing.T) {
		for tick, warnings := range map[time.Duration]int{dcstest.ZooKeeperTick: 0, dcstest.ZooKeeperTick / 2: 1} {
			var log strings.Builder
			st, err := Open(t.Context(), Config{Hosts: hosts, Prefix: "/tick", TickTime: tick, Logger: slog.New(slog.NewTextHandler(&log, nil))}, clock.Real{})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			for range 2 {
				if _, err := st.Open(t.Context(), time.Second); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Count(log.String(), "set zookeeper.tick_time"); got != warnings {
				t.Errorf("%d warnings where the tick is %v and %v is configured, want %d: %s", got, dcstest.ZooKeeperTick, tick, warnings, log.String())
			}
		}
	})
	dcstest.Run(t, dcstest.Harness{
		TTL:  2 * time.Second,
		Open: func(t *testing.T, prefix string) dcs.Store { return connect(t, prefix, hosts...) },
		OpenLinked: func(t *testing.T, prefix string) (dcs.Store, dcstest.Link) {
			relay := dcstest.StartRelay(t, hosts[0])
			return connect(t, prefix, relay.Addr()), relay
		},
	})
}
