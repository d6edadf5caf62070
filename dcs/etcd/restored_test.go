package etcd

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
)

// held is a store, reached through a relay, with a session that holds the leader
// key, and a backup of the moment after it was taken.
type held struct {
	etcd    *dcstest.Etcd
	relay   *dcstest.Relay
	store   *Store
	session dcs.Session
	backup  string
}

func hold(t *testing.T) *held {
	t.Helper()
	h := &held{etcd: dcstest.StartEtcdCluster(t, 1)}
	h.etcd.Restart(t, 0) // a restored store begins at a lower raft term than this
	h.relay = dcstest.StartRelay(t, h.etcd.Endpoints[0])
	h.store = open(t, "/restored", h.relay.Addr())
	t.Cleanup(func() { h.store.Close() })
	var err error
	if h.session, err = h.store.Open(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := h.session.Put(t.Context(), "leader", "a", dcs.Absent()); err != nil {
		t.Fatal(err)
	}
	h.backup = h.etcd.Backup(t)
	return h
}

// write makes n writes to a store, with a connection of their own.
func write(t *testing.T, endpoint string, n int) {
	t.Helper()
	st := open(t, "/restored", endpoint)
	defer st.Close()
	for range n {
		if _, err := st.Put(t.Context(), "status", "{}", dcs.Always()); err != nil {
			t.Fatal(err)
		}
	}
}

// settled repeats a call until its outcome is certain: the relay ends connections.
func settled(t *testing.T, call func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		err := call(ctx)
		if ctx.Err() != nil || !errors.Is(err, dcs.ErrUnavailable) && !errors.Is(err, dcs.ErrUnknown) {
			return err
		}
	}
}

// TestCopyConfirmsNothing: a copy of the store, restored from a backup that has
// the lease and the leader key, keeps neither, whatever is asked first.
func TestCopyConfirmsNothing(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, h *held, copy *dcstest.Etcd){
		"at a lower term": func(*testing.T, *held, *dcstest.Etcd) {},
		"at a lower term and a higher revision": func(t *testing.T, h *held, copy *dcstest.Etcd) {
			write(t, copy.Endpoints[0], 5)
		},
		"at a higher term and a lower revision": func(t *testing.T, h *held, copy *dcstest.Etcd) {
			for range 3 {
				copy.Restart(t, 0)
			}
			if _, err := h.store.Put(t.Context(), "status", "{}", dcs.Always()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for what, ask := range map[string]func(context.Context, dcs.Session) error{
				"renew": func(ctx context.Context, n dcs.Session) error { _, err := n.Renew(ctx); return err },
				"take": func(ctx context.Context, n dcs.Session) error {
					_, err := n.Put(ctx, "leader", "a", dcs.Always())
					return err
				},
				"release": func(ctx context.Context, n dcs.Session) error { return n.Delete(ctx, "leader") },
			} {
				t.Run(what, func(t *testing.T) {
					t.Parallel()
					h := hold(t)
					copy := h.etcd.Restore(t, h.backup)
					damage(t, h, copy)
					if _, err := h.session.Renew(t.Context()); err != nil {
						t.Fatalf("at the original: %v", err)
					}
					before, err := h.store.Load(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					h.relay.Redirect(copy.Endpoints[0])
					if err := settled(t, func(ctx context.Context) error { return ask(ctx, h.session) }); !errors.Is(err, dcs.ErrSessionGone) {
						t.Errorf("at the copy: %v", err)
					}
					h.relay.Redirect(h.etcd.Endpoints[0])
					if _, err := h.session.Renew(t.Context()); !errors.Is(err, dcs.ErrSessionGone) {
						t.Errorf("back at the original, after the holder was told that it is over: %v", err)
					}
					h.lives(t, before.StoreID)
				})
			}
		})
	}
}

// lives: after a change of the store the client sees another store, and a new
// session works.
func (h *held) lives(t *testing.T, former string) {
	t.Helper()
	var snap dcs.Snapshot
	if err := settled(t, func(ctx context.Context) (err error) { snap, err = h.store.Load(ctx); return err }); err != nil || snap.StoreID == former {
		t.Errorf("the store is called %q, it was %q: %v", snap.StoreID, former, err)
	}
	var n dcs.Session
	if err := settled(t, func(ctx context.Context) (err error) { n, err = h.store.Open(ctx, time.Hour); return err }); err != nil {
		t.Fatalf("a new session: %v", err)
	}
	if err := settled(t, func(ctx context.Context) error { _, err := n.Renew(ctx); return err }); err != nil {
		t.Errorf("renew the new session: %v", err)
	}
}

// TestRestoredStoreIsServed: a store that was restored in place of the former
// one, with the same cluster id, a lower term and a lower revision, is a new store
// for those who watch it, and not one that is shut out for ever.
func TestRestoredStoreIsServed(t *testing.T) {
	h := hold(t)
	write(t, h.etcd.Endpoints[0], 3)
	updates := h.store.Watch(t.Context())
	first := <-updates
	if first.Err != nil {
		t.Fatal(first.Err)
	}
	copy := h.etcd.Restore(t, h.backup)
	h.etcd.Servers[0].Kill()
	h.relay.Redirect(copy.Endpoints[0])
	limit := time.After(30 * time.Second)
	for restored := false; !restored; {
		select {
		case u := <-updates:
			restored = u.Err == nil && u.Snapshot.StoreID != first.Snapshot.StoreID && u.Snapshot.Revision < first.Snapshot.Revision
		case <-limit:
			t.Fatal("the watch does not show the restored store")
		}
	}
	if _, err := h.session.Renew(t.Context()); !errors.Is(err, dcs.ErrSessionGone) {
		t.Errorf("renew: %v", err)
	}
	h.lives(t, first.Snapshot.StoreID)
}
