package agent

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/ha"
)

// Of two agents with one name only one publishes: the key would otherwise lead
// clients to the one and to the other in turn.
func TestNamesakeIsNotOverwritten(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.pg.set(standby())
		r.publish()
		r.publish() // sees its own
		if _, err := r.store.Put(t.Context(), layout.KeyMember("a"), layout.EncodeMember(cluster.Member{Name: "a", APIURL: "http://elsewhere:8008/patroni"}), dcs.Always()); err != nil {
			t.Fatal(err)
		}
		puts := r.countPuts()
		f := standby()
		f.Position.Timeline++ // something to tell at once
		r.pg.set(f)
		r.publish()
		if n := puts("members/a"); n != 0 {
			t.Fatalf("wrote %d times over the other's key", n)
		}
		if err := r.store.Delete(t.Context(), layout.KeyMember("a"), dcs.Always()); err != nil {
			t.Fatal(err)
		}
		r.publish()
		if n := puts("members/a"); n != 1 {
			t.Fatalf("the other is gone, and this one wrote %d times", n)
		}
	})
}

// A leader key of this member's name that no session holds is removed after a
// full ttl, and this member leads; one that changed since it was seen stays.
func TestPermanentLeaderKey(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.put("initialize", "4711")
		r.put("leader", "a")
		r.pg.set(standby())
		r.start()
		since := time.Now()
		time.Sleep(20 * time.Second)
		if !r.view().Leader.Held() {
			t.Fatal("removed early")
		}
		r.put("leader", "a")
		r.until("the lease", func() bool { return r.agent.Lease().Held })
		if waited := time.Since(since); waited < 50*time.Second {
			t.Errorf("led after %v: the ttl counts from the last change", waited)
		}
	})
}

func TestPermanentLeaderKeyOfAnotherStays(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.put("initialize", "4711")
		r.put("leader", "b")
		r.pg.set(standby())
		r.start()
		time.Sleep(time.Hour)
		if r.view().Leader.Name != "b" || r.agent.Lease().Held {
			t.Error("it was removed")
		}
	})
}

func TestRemoveLeaderComparesTheVersion(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.startKeeper()
		r.put("leader", "a")
		seen := r.view().Leader.Version
		r.put("leader", "a")
		if ok, _ := r.act(ha.Action{Kind: ha.RemoveLeader, Version: seen}); ok || !r.view().Leader.Held() {
			t.Error("removed although it was written again")
		}
		if ok, _ := r.act(ha.Action{Kind: ha.RemoveLeader, Version: r.view().Leader.Version}); !ok || r.view().Leader.Held() {
			t.Error("not removed")
		}
	})
}
