package zookeeper

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

func openAt(ctx context.Context, prefix string, addrs []string) (dcs.Store, error) {
	return Open(ctx, Config{Hosts: addrs, Prefix: prefix, TickTime: dcstest.ZooKeeperTick}, clock.Real{})
}

func TestMain(m *testing.M) { dcstest.Main(m, openAt) }

func TestProcesses(t *testing.T) {
	dcstest.Processes(t, time.Minute, dcstest.StartZooKeeper(t), openAt)
}

// TestProcessesOnTwoServers: the session moves from one follower to another.
func TestProcessesOnTwoServers(t *testing.T) {
	dcstest.Processes(t, time.Minute, dcstest.StartZooKeeperEnsemble(t, 3).Hosts, openAt)
}

// TestResumedInAnotherStore: another ensemble knows no such session.
func TestResumedInAnotherStore(t *testing.T) {
	hosts, others := dcstest.StartZooKeeper(t), dcstest.StartZooKeeper(t)
	st, other := connect(t, "/moved", hosts...), connect(t, "/moved", others...)
	defer st.Close()
	defer other.Close()
	n, err := st.Open(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Resume(t.Context(), n.Handle()); !errors.Is(err, dcs.ErrSessionGone) {
		t.Errorf("in another store: %v", err)
	}
	// A server refuses the wrong password as if the session were over, and the
	// session does not notice.
	forged := Identity{ID: n.(*Session).identity.ID, Password: bytes.Repeat([]byte{1}, passwordSize)}
	h := n.Handle()
	h.Secret, h.Store = forged.Password, binding(forged)
	if _, err := st.Resume(t.Context(), h); !errors.Is(err, dcs.ErrSessionGone) {
		t.Errorf("with a forged password: %v", err)
	}
	if _, err := n.Renew(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// FuzzHandle: no handle makes a panic, and one that is read names its session.
func FuzzHandle(f *testing.F) {
	good := Identity{ID: 0x1000a5c4f3b0003, Password: bytes.Repeat([]byte{7}, passwordSize)}
	f.Add(sessionID(good.ID), good.Password, binding(good))
	f.Add("-1", []byte(nil), "zookeeper-")
	f.Fuzz(func(t *testing.T, id string, secret []byte, store string) {
		i, err := parseHandle(dcs.Handle{ID: id, Secret: secret, Granted: time.Second, Store: store})
		if err != nil {
			if !errors.Is(err, dcs.ErrRefused) {
				t.Errorf("%q: %v", id, err)
			}
			return
		}
		if i.ID == 0 || !bytes.Equal(i.Password, secret) || binding(i) != store {
			t.Errorf("%q gave %v", id, i)
		}
	})
}
