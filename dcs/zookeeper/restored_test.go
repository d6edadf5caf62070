package zookeeper

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
)

// await repeats a call until it succeeds: servers were started anew.
func await[T any](t *testing.T, call func() (T, error)) T {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		v, err := call()
		if err == nil {
			return v
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func load(t *testing.T, st *Store) dcs.Snapshot {
	t.Helper()
	return await(t, func() (dcs.Snapshot, error) { return st.Load(t.Context()) })
}

func set(t *testing.T, st *Store, key, value string) {
	t.Helper()
	await(t, func() (any, error) { return st.Put(t.Context(), key, value, dcs.Always()) })
}

// TestRestoredEnsembleIsNoticed: an ensemble that went back to a backup is told
// from what it was before, also after somebody has written to it, when its newest
// transaction is ahead of all that was known; one that was replaced is told
// from it while it is empty, and when it is filled again.
func TestRestoredEnsembleIsNoticed(t *testing.T) {
	e := dcstest.StartZooKeeperEnsemble(t, 3)
	st := connect(t, "/t/restored", e.Hosts...)
	defer st.Close()
	for _, key := range []string{"config", "history", "status"} {
		set(t, st, key, "old")
	}
	backup := e.Backup(t)
	old := load(t, st).Mark()
	set(t, st, "history", "new")
	n, err := st.Open(t.Context(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Put(t.Context(), "leader", "n1", dcs.Absent()); err != nil {
		t.Fatal(err)
	}
	known := load(t, st).Mark()
	if s := load(t, st); known.Lost(s) || old.Lost(s) {
		t.Errorf("the ensemble is not the one that it was: %+v", s)
	}

	e.Restore(t, backup)
	if s := load(t, st); !known.Lost(s) || s.StoreID != known.StoreID || old.Lost(s) {
		t.Errorf("restored: noticed %t, %+v, known %+v", known.Lost(s), s, known)
	}
	set(t, st, "status", "of another member")
	if s := load(t, st); !known.Lost(s) || s.Revision <= known.Revision {
		t.Errorf("restored and written to: noticed %t, %+v, known %+v: the revision must be ahead, or nothing is tried here", known.Lost(s), s, known)
	}

	e.Replace(t)
	if s := load(t, st); !known.Lost(s) || s.StoreID != "" {
		t.Errorf("replaced: noticed %t, %+v", known.Lost(s), s)
	}
	set(t, st, "config", "new")
	if s := load(t, st); !known.Lost(s) || s.StoreID == known.StoreID {
		t.Errorf("replaced and filled: noticed %t, %+v", known.Lost(s), s)
	}
}

// TestElectionIsNoNewStore: nor does an ensemble that elects another leader, or
// whose servers are all restarted, look like another one.
func TestElectionIsNoNewStore(t *testing.T) {
	e := dcstest.StartZooKeeperEnsemble(t, 3)
	st := connect(t, "/t/election", e.Hosts...)
	defer st.Close()
	set(t, st, "config", "{}")
	known := load(t, st).Mark()
	for i := range e.Servers {
		e.Restart(t, i)
		if s := load(t, st); known.Lost(s) {
			t.Errorf("after a restart of server %d: %+v, known %+v", i, s, known)
		}
		set(t, st, "status", "{}")
		s := load(t, st)
		if known.Lost(s) {
			t.Errorf("after a restart of server %d and a write: %+v, known %+v", i, s, known)
		}
		known = s.Mark()
	}
}

// TestLaggingFollowerIsNoNewStore: a follower that has not heard of the newest
// transactions gives no answer that looks like a store that went back, neither on
// a connection that stands nor to a process that begins with it.
func TestLaggingFollowerIsNoNewStore(t *testing.T) {
	e := dcstest.StartZooKeeperSplittable(t, 3)
	f := follower(t, e)
	others := append(append([]string(nil), e.Hosts[:f]...), e.Hosts[f+1:]...)
	st, writer := connect(t, "/lag", e.Hosts[f]), connect(t, "/lag", others...)
	defer st.Close()
	defer writer.Close()
	set(t, writer, "config", "old")
	load(t, st)
	l, err := st.client.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	catchUp := e.Lag(f)
	defer catchUp()
	set(t, writer, "config", "new")
	known := load(t, writer).Mark()
	stale, err := collect(t.Context(), l, "/lag", nil)
	if err != nil || !known.Lost(stale) {
		t.Fatalf("a bare reading at the follower is not stale, so there is nothing to be told apart: %+v, known %+v: %v", stale, known, err)
	}
	begins := connect(t, "/lag", append([]string{e.Hosts[f]}, others...)...)
	defer begins.Close()
	if s := load(t, begins); known.Lost(s) {
		t.Errorf("a process that begins with the follower reads %+v, known %+v", s, known)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if s, err := st.Load(ctx); !errors.Is(err, dcs.ErrUnavailable) {
		t.Errorf("load at the follower: %+v %v, want unavailable", s, err)
	}
	catchUp()
	if s := load(t, st); known.Lost(s) {
		t.Errorf("when it has caught up: %+v, known %+v", s, known)
	}
}
