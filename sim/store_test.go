package sim

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs/layout"
)

// quietWorld makes a world in which nothing happens by itself.
func quietWorld(t *testing.T, m model) *world {
	t.Helper()
	w := newWorld(1, Options{Plain: true})
	rng := w.model.rng
	w.model = m
	w.model.rng = rng
	return w
}

// TestStoreHoldsTexts: what agents see is what package layout reads in the keys.
func TestStoreHoldsTexts(t *testing.T) {
	w := quietWorld(t, model{})
	s := w.store
	x := s.open(0, 10*time.Second)
	if err := s.takeLeader("ada", x.id, false); err != nil {
		t.Fatal(err)
	}
	two := 2
	if err := s.putMember(cluster.Member{Name: "ada", Role: cluster.RolePrimary, State: cluster.StateRunning, XLog: 7, Timeline: 3,
		Tags: cluster.Tags{FailoverPriority: &two}}, x.id); err != nil {
		t.Fatal(err)
	}
	s.view.Sync = cluster.SyncState{Leader: "ada", Standbys: []string{"cleo", "bea"}, Version: s.next()}
	s.changed()
	var texts int
	for _, kv := range s.keys {
		if kv.Key == layout.KeySync && kv.Value == `{"leader":"ada","quorum":0,"sync_standby":"bea,cleo"}` || kv.Key == layout.KeyLeader && kv.Session == x.id {
			texts++
		}
	}
	if texts != 2 || s.view.Sync.Standbys[0] != "bea" || s.view.Members[0].XLog != 7 {
		t.Errorf("keys %v, view %+v", s.keys, s.view)
	}
	if s.checkKeys(); len(w.check.violations) > 0 {
		t.Error(w.check.violations)
	}
	s.end(x.id)
	if s.view.Leader.Held() || len(s.view.Members) > 0 || len(s.keys) != 1 {
		t.Errorf("the session's keys are there still: %v", s.keys)
	}
	// A view that is not what the keys say is noticed.
	s.view.Failover.Candidate = "bea"
	if s.checkKeys(); len(w.check.violations) != 1 {
		t.Error("a view without a key was not noticed")
	}
}

// TestCoarseStore: it grants less, and ends a session up to a tick early.
func TestCoarseStore(t *testing.T) {
	w := quietWorld(t, model{tick: time.Second, most: 20 * time.Second})
	s := w.store
	w.now = time.Minute
	early, late := false, false
	for range 200 {
		x := s.open(0, 30*time.Second)
		if x.ttl != 20*time.Second {
			t.Fatalf("granted %s", x.ttl)
		}
		before := x.ends
		if s.touch(x); x.ends < before {
			t.Fatal("a confirmation made it end earlier")
		}
		left := x.ends - w.now - time.Duration(float64(x.ttl)/s.rate)
		if left > 0 || left < -time.Second {
			t.Fatalf("ends %s off", left)
		}
		early, late = early || left < -400*time.Millisecond, late || left > -100*time.Millisecond
	}
	if !early || !late {
		t.Error("sessions all end alike")
	}
}

// TestRestore: the keys go back, sessions of then live again, and who held the
// lease is known.
func TestRestore(t *testing.T) {
	w := quietWorld(t, model{})
	s := w.store
	a, b := s.open(0, 10*time.Second), s.open(1, 10*time.Second)
	_ = s.takeLeader("ada", a.id, false)
	if s.backup(1) != nil {
		t.Fatal("a backup from before the founding")
	}
	s.view.Initialize = cluster.Initialize{Present: true, SystemID: "7", Version: s.next()}
	s.changed()
	old := s.backup(1)
	rev, version := s.view.Revision, s.version
	_ = s.releaseLeader(a.id, "ada", false)
	_ = s.takeLeader("bea", b.id, false)
	s.restore(old)
	if s.view.Leader.Name != "ada" || s.view.Revision != rev+1 || s.version != version || s.view.StoreID == "store-1" || s.sessions[a.id] == nil {
		t.Errorf("%+v, version %d", s.view, s.version)
	}
	if !s.formerly(w.members[1]) || s.formerly(w.members[0]) {
		t.Error("bea held the lease")
	}
	if s.checkKeys(); len(w.check.violations) > 0 {
		t.Error(w.check.violations)
	}
}
