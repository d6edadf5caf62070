package agent

import (
	"testing"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
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
