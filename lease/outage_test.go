package lease_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
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
// known to be down after that. What counts is who ended the former session, not how
// long that took: the member, while the leader key was there, or the store at its time.
func outage(t *testing.T, st dcs.Store, down, up func(), stopped bool) {
	t.Helper()
	const ttl = 8 * time.Second
	// A machine that stands still for a whole ttl lets the session run out first.
	for attempt := 1; ; attempt++ {
		calls := lostUnder(t, st, down, up, ttl, stopped)
		switch {
		case !stopped && len(calls) > 0:
			t.Fatalf("a session whose server may write was told to end: %v", calls)
		case !stopped, slices.Contains(calls, endedIt):
			t.Logf("stopped %t, attempt %d: %v", stopped, attempt, calls)
			return
		case attempt == 3:
			t.Fatalf("the former session ran out, and was ended by nobody: %v", calls)
		}
		t.Logf("attempt %d: the former session ran out first: %v", attempt, calls)
	}
}

// lostUnder has a lease lost in an outage and waits until its key is gone. It returns
// what came of each call to end its session.
func lostUnder(t *testing.T, st dcs.Store, down, up func(), ttl time.Duration, stopped bool) []string {
	t.Helper()
	w := &witnessed{Store: st, t: t, calls: map[string][]string{}}
	k := lease.New(lease.Options{Store: w, Clock: clock.Real{}, Budget: fence.DefaultBudget(), Member: "n1",
		Interval: func() time.Duration { return time.Second }, TTL: func() time.Duration { return ttl }})
	ran := make(chan struct{})
	go func() { defer close(ran); _ = k.Run(t.Context()) }()
	for {
		if _, err := k.Take(t.Context()); err == nil {
			break
		}
		await(t, k)
	}
	session := k.State().Session
	down()
	for k.State().Held {
		await(t, k)
	}
	if stopped {
		k.Stopped()
	}
	up()
	for leader(t, st) != absent {
		await(t, k)
	}
	// The key goes before the call that ends the session has returned. Closed without
	// an end of its own, the keeper has done all that it did of itself.
	if err := k.Close(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	<-ran
	return w.of(session)
}

// witnessed is a store in which the end of each session is looked at.
type witnessed struct {
	dcs.Store
	t *testing.T

	mu    sync.Mutex
	calls map[string][]string // by session
}

func (w *witnessed) Open(ctx context.Context, ttl time.Duration) (dcs.Session, error) {
	s, err := w.Store.Open(ctx, ttl)
	if err != nil {
		return nil, err
	}
	return &witnessedSession{s, w}, nil
}

func (w *witnessed) of(session string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls[session])
}

type witnessedSession struct {
	dcs.Session
	w *witnessed
}

// endedIt: the leader key was there, the session was told to end, and the key was gone.
const endedIt = "ended it"

func (s *witnessedSession) End(ctx context.Context) error {
	before := leader(s.w.t, s.w.Store)
	for before == unknown && ctx.Err() == nil {
		before = leader(s.w.t, s.w.Store)
	}
	err := s.Session.End(ctx)
	what := fmt.Sprintf("leader key %s, end: %v", before, err)
	if after := leader(s.w.t, s.w.Store); err == nil && before == present && after == absent {
		what = endedIt
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.calls[s.ID()] = append(s.w.calls[s.ID()], what)
	return err
}

func await(t *testing.T, k *lease.Keeper) {
	t.Helper()
	select {
	case <-k.Changed():
	case <-time.After(100 * time.Millisecond): // a deadline needs no event
	}
}

// What is known of the leader key.
const (
	present = "present"
	absent  = "absent"
	unknown = "unknown" // the store does not answer
)

func leader(t *testing.T, st dcs.Store) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
	defer cancel()
	snap, err := st.Load(ctx)
	if err != nil {
		return unknown
	}
	for _, kv := range snap.Keys {
		if kv.Key == "leader" {
			return present
		}
	}
	return absent
}
