package etcd

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/dcstest"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

func openAt(ctx context.Context, prefix string, addrs []string) (dcs.Store, error) {
	return Open(ctx, Config{Endpoints: addrs, Prefix: prefix}, clock.Real{})
}

func TestMain(m *testing.M) { dcstest.Main(m, openAt) }

func TestProcesses(t *testing.T) {
	dcstest.Processes(t, time.Minute, dcstest.StartEtcd(t), openAt)
}

// TestResumedInAnotherStore: a handle fits neither another store nor the same
// one gone back, and both are told from a session that ended by nobody's fault.
func TestResumedInAnotherStore(t *testing.T) {
	c := dcstest.StartEtcdCluster(t, 1)
	st := open(t, "/moved", c.Endpoints...)
	defer st.Close()
	n, err := st.Open(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Put(t.Context(), "leader", "n1", dcs.Absent()); err != nil {
		t.Fatal(err)
	}
	backup := c.Backup(t)
	if _, err := st.Put(t.Context(), "status", "{}", dcs.Always()); err != nil {
		t.Fatal(err)
	}
	for name, endpoints := range map[string][]string{"another store": dcstest.StartEtcd(t), "restored from a backup": c.Restore(t, backup).Endpoints} {
		other := open(t, "/moved", endpoints...)
		defer other.Close()
		if _, err := other.Resume(t.Context(), n.Handle()); !errors.Is(err, dcs.ErrSessionGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := n.Renew(t.Context()); err != nil {
		t.Errorf("in the store itself: %v", err)
	}
	again := open(t, "/moved", c.Endpoints...)
	defer again.Close()
	if _, err := again.Resume(t.Context(), n.Handle()); err != nil {
		t.Errorf("in the store itself: %v", err)
	}
}

// FuzzHandle: no handle makes a panic, and where it is read it is written back.
func FuzzHandle(f *testing.F) {
	f.Add("cdf818194e3a8c32.2.7")
	f.Add("over")
	f.Add("1.1.ffffffffffffffff")
	f.Fuzz(func(t *testing.T, binding string) {
		m, err := parseBinding(binding)
		if err != nil {
			if !errors.Is(err, dcs.ErrRefused) {
				t.Errorf("%q: %v", binding, err)
			}
			return
		}
		if again, err := parseBinding(m.binding()); err != nil || again != m || m.cluster == 0 || m.term == 0 || m.revision <= 0 {
			t.Errorf("%q gave %+v, and again %+v %v", binding, m, again, err)
		}
	})
}
