package agent

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/internal/clock"
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

// One that was written over before it ever saw its own key finds out, too: both
// started in the same instant. What it says ends with the other.
func TestNamesakeThatStartedAtOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.agent.opt.Peers = nil
		r.startKeeper()
		r.pg.set(standby())
		r.publish()
		other := cluster.Member{Name: "a", APIURL: "http://elsewhere:8008/patroni"}
		if _, err := r.store.Put(t.Context(), layout.KeyMember("a"), layout.EncodeMember(other), dcs.Always()); err != nil {
			t.Fatal(err)
		}
		puts := r.countPuts()
		for range 3 {
			r.publish()
		}
		if n := puts("members/a"); n != 0 {
			t.Errorf("wrote %d times over the other's key", n)
		}
		if got := r.agent.observe(t.Context()).Self.Namesake; got != other.APIURL {
			t.Errorf("it decides on the namesake %q", got)
		}
	})
	answer := http.StatusOK
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(answer) }))
	defer peer.Close()
	a := New(Options{Name: "a", Peers: peer.Client(), Logger: slog.New(slog.DiscardHandler), Clock: clock.Real{}})
	url := peer.URL + "/patroni"
	a.sibling.url = url
	if a.askSibling(t.Context(), url); a.sibling.address() != url {
		t.Error("it is forgotten although it answers")
	}
	answer = http.StatusServiceUnavailable
	if a.askSibling(t.Context(), url); a.sibling.address() != "" {
		t.Error("it is remembered although it is gone")
	}
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
