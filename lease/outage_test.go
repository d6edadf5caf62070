package lease_test

import (
	"context"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
	"github.com/matriarch-ha/matriarch/dcs/etcd"
	"github.com/matriarch-ha/matriarch/dcs/zookeeper"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/lease"
)

// A store that is down for longer than the lease and started again counts each
// session from its start. A member whose server is down by then ends its own former
// session as soon as the store answers; one that has not said so leaves it alone.
func TestFormerSessionAfterAnOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("lets real leases run out")
	}
	for name, start := range map[string]func(t *testing.T) (st dcs.Store, down func(), up func()){
		"etcd": func(t *testing.T) (dcs.Store, func(), func()) {
			e := dcstest.StartEtcdCluster(t, 1)
			st, err := etcd.Open(t.Context(), etcd.Config{Endpoints: e.Endpoints, Prefix: "/outage"}, clock.Real{})
			if err != nil {
				t.Fatal(err)
			}
			return st, func() { e.Servers[0].Kill() }, func() { e.Restart(t, 0) }
		},
		"ZooKeeper": func(t *testing.T) (dcs.Store, func(), func()) {
			e := dcstest.StartZooKeeperEnsemble(t, 1)
			st, err := zookeeper.Open(t.Context(), zookeeper.Config{Hosts: e.Hosts, Prefix: "/outage", TickTime: dcstest.ZooKeeperTick}, clock.Real{})
			if err != nil {
				t.Fatal(err)
			}
			return st, func() { e.Servers[0].Kill() }, func() { e.Restart(t, 0) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st, down, up := start(t)
			t.Cleanup(func() { _ = st.Close() })
			outage(t, st, down, up, false)
			outage(t, st, down, up, true)
		})
	}
}

// outage takes the store away for longer than the lease. stopped: the server is
// known to be down after that.
func outage(t *testing.T, st dcs.Store, down, up func(), stopped bool) {
	t.Helper()
	const ttl = 8 * time.Second
	k := lease.New(lease.Options{Store: st, Clock: clock.Real{}, Budget: fence.DefaultBudget(), Member: "n1",
		Interval: func() time.Duration { return time.Second }, TTL: func() time.Duration { return ttl }})
	ran := make(chan struct{})
	go func() { defer close(ran); _ = k.Run(t.Context()) }()
	defer func() {
		_ = k.Close(context.Background(), true)
		<-ran
	}()
	for {
		if _, err := k.Take(t.Context()); err == nil {
			break
		}
		await(t, k)
	}
	down()
	for k.State().Held {
		await(t, k)
	}
	if stopped {
		k.Stopped()
	}
	up()
	began := time.Now()
	for held(t, st) && time.Since(began) < 2*ttl {
		time.Sleep(50 * time.Millisecond)
	}
	took := time.Since(began)
	t.Logf("stopped %t: the leader key of the former session was gone %s after the store was back (ttl %s)", stopped, took.Round(10*time.Millisecond), ttl)
	if stopped && took > ttl/3 || !stopped && took < ttl/3 {
		t.Errorf("stopped %t: the leader key stood for %s", stopped, took)
	}
}

func await(t *testing.T, k *lease.Keeper) {
	t.Helper()
	select {
	case <-k.Changed():
	case <-time.After(100 * time.Millisecond): // a deadline needs no event
	}
}

// held reports whether the leader key is there; a store that does not answer has it.
func held(t *testing.T, st dcs.Store) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	snap, err := st.Load(ctx)
	if err != nil {
		return true
	}
	for _, kv := range snap.Keys {
		if kv.Key == "leader" {
			return true
		}
	}
	return false
}
