package zookeeper

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
)

// TestPermanentIsRemovedNotLeased: a permanent key was looked at, went, and a
// session made the key anew, at the same version number, before the removal: that
// key stays.
func TestPermanentIsRemovedNotLeased(t *testing.T) {
	st := connect(t, "/t/a", dcstest.StartZooKeeper(t)...)
	defer st.Close()
	remove := func() error {
		return st.client.write(t.Context(), func(ctx context.Context, l *link) error {
			o := owned{link: l}
			stat, err := o.stat(ctx, st.path("leader"))
			if err != nil || stat == nil {
				return errors.Join(errors.New("no such key"), err)
			}
			return o.removePermanent(ctx, st.path("leader"), st.acl, stat.Version)
		})
	}
	n, err := st.Open(t.Context(), 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	leased, err := n.Put(t.Context(), "leader", "a", dcs.Absent())
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(); !errors.Is(err, dcs.ErrConflict) {
		t.Errorf("a leased key: %v", err)
	}
	if snap, err := st.Load(t.Context()); err != nil || len(snap.Keys) != 1 || snap.Keys[0].Version != leased || snap.Keys[0].Session != n.ID() {
		t.Errorf("the leased key was touched: %+v %v", snap.Keys, err)
	}
	if err := n.Delete(t.Context(), "leader"); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Put(t.Context(), "leader", "a", dcs.Absent()); err != nil {
		t.Fatal(err)
	}
	if err := remove(); err != nil {
		t.Errorf("a permanent key: %v", err)
	}
	if snap, err := st.Load(t.Context()); err != nil || len(snap.Keys) != 0 {
		t.Errorf("left over: %+v %v", snap.Keys, err)
	}
}
