package zookeeper

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// TestSplitEnsemble: the ensemble's leader and one follower are cut off from the
// other three, which elect a new leader, while the old one does not know yet. It
// still keeps sessions and answers syncs. None of that may count as a proof.
func TestSplitEnsemble(t *testing.T) {
	e := dcstest.StartZooKeeperSplittable(t, 5, "syncLimit=1500") // five minutes
	old := slices.IndexFunc(e.Hosts, func(h string) bool { return dcstest.ZooKeeperMode(h) == "leader" })
	if old < 0 {
		t.Fatal("the ensemble has no leader")
	}
	fellow := follower(t, e)
	near := map[string]*cutOff{
		"the deposed leader": through(t, e.Hosts[old]),
		"its follower":       through(t, e.Hosts[fellow]),
	}
	t.Run("proof", func(t *testing.T) { testProof(t, near["its follower"], e.Hosts[old]) })
	for _, c := range near {
		var err error
		if c.last, err = c.session.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	e.Split(old, fellow)
	var others []string
	for i, h := range e.Hosts {
		if i != old && i != fellow {
			others = append(others, h)
		}
	}
	observer := connect(t, "/split", others...)
	defer observer.Close()
	// Meanwhile each session is kept as far as the old leader is concerned: by
	// nothing but syncs.
	for gone := 0; gone < len(near); {
		for where, c := range near {
			if err := c.link(t).sync(t.Context(), "/split"); err != nil {
				t.Fatalf("%s does not answer a sync, so this is not the case to be tested: %v", where, err)
			}
		}
		snap, err := observer.Load(t.Context())
		if err != nil {
			continue // a new leader is being elected
		}
		now := clock.Real{}.Now()
		for where, c := range near {
			if c.gone || slices.ContainsFunc(snap.Keys, func(kv dcs.KV) bool { return kv.Key == c.key }) {
				continue
			}
			c.gone = true
			gone++
			if end := c.last.Sent.Add(c.last.Granted); now < end {
				t.Errorf("the session at %s ended at least %v before its time", where, end.Sub(now))
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	if _, err := observer.Put(t.Context(), "after", "x", dcs.Absent()); err != nil {
		t.Fatal(err)
	}
	// A follower's syncs wait as soon as the old leader has a transaction to wait
	// for, so this comes first for both.
	for where, c := range near {
		if err := c.link(t).sync(t.Context(), "/split"); err != nil {
			t.Errorf("%s does not answer a sync any more: %v", where, err)
		}
		stale, err := collect(t.Context(), c.link(t), "/split", nil)
		if err != nil || !slices.ContainsFunc(stale.Keys, func(kv dcs.KV) bool { return kv.Key == c.key }) {
			t.Errorf("a reading at %s after a sync is not stale, so there is nothing to be told apart: %+v %v", where, stale.Keys, err)
		}
	}
	for where, c := range near {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			testDeposed(t, c)
		})
	}
}

// cutOff is a store with a session, both through one server.
type cutOff struct {
	store   *Store
	session *Session
	key     string
	last    dcs.Confirmation
	gone    bool // for the majority
}

func through(t *testing.T, host string) *cutOff {
	t.Helper()
	st := connect(t, "/split", host)
	t.Cleanup(func() { st.Close() })
	// The end of the short session that the question makes would be a transaction
	// without quorum, which later syncs wait for.
	st.tickChecked = true
	n, err := st.Open(t.Context(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c := &cutOff{store: st, session: n.(*Session), key: "held-by-" + n.ID()}
	if _, err := n.Put(t.Context(), c.key, "x", dcs.Absent()); err != nil {
		t.Fatal(err)
	}
	return c
}

// link returns the session's connection.
func (c *cutOff) link(t *testing.T) *link {
	t.Helper()
	l, err := c.session.client.get(t.Context())
	if err != nil {
		t.Fatalf("the session's server does not serve it any more: %v", err)
	}
	return l
}

// testProof: a proof is a transaction, also of a node that does not exist; it
// changes nothing, and wakes nobody.
func testProof(t *testing.T, c *cutOff, leader string) {
	l := c.link(t)
	_, before, changed, err := l.conn.GetW("/split")
	if err != nil {
		t.Fatal(err)
	}
	_, _, born, err := l.conn.ExistsW("/nowhere")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/split", "/nowhere"} {
		zxid := dcstest.ZooKeeperZxid(leader)
		if err := l.prove(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if now := dcstest.ZooKeeperZxid(leader); now <= zxid {
			t.Errorf("checking %s was no transaction: %x, before %x", path, now, zxid)
		}
	}
	if _, after, err := l.conn.Get("/split"); err != nil || *after != *before {
		t.Errorf("the node was %+v and is %+v: %v", before, after, err)
	}
	// An event comes before the answer to what caused it.
	for _, events := range []<-chan zk.Event{changed, born} {
		select {
		case ev := <-events:
			t.Errorf("a proof woke a watch: %+v", ev)
		default:
		}
	}
}

// testDeposed: the session has ended and another state is in force, but the
// server at hand does not know.
func testDeposed(t *testing.T, c *cutOff) {
	// A new connection is accepted, and touches the session there. That is no
	// proof either.
	l := c.link(t)
	c.session.client.drop(t.Context(), l)
	if again := c.link(t); again == l {
		t.Error("the connection was not replaced")
	}
	if proof, err := c.session.Renew(t.Context()); !errors.Is(err, dcs.ErrUnavailable) {
		t.Errorf("renew: %+v %v, want unavailable", proof, err)
	}
	if snap, err := c.store.Load(t.Context()); !errors.Is(err, dcs.ErrUnavailable) {
		t.Errorf("load: %+v %v, want unavailable", snap, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if u := <-c.store.Watch(ctx); u.Err == nil {
		t.Errorf("a watch begins with the stale %+v", u.Snapshot)
	}
	if n, err := c.store.Open(t.Context(), time.Minute); !errors.Is(err, dcs.ErrUnavailable) {
		t.Errorf("a session was opened without a quorum: %v %v", n, err)
	}
}
