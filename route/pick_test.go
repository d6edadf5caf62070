package route

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

const now = boot.Instant(1000 * time.Second)

func ago(d time.Duration) boot.Instant { return now.Add(-d) }

func member(n int) cluster.Member {
	return cluster.Member{Name: fmt.Sprintf("n%d", n), ConnURL: fmt.Sprintf("postgres://10.0.0.%d:5432/postgres", n),
		APIURL: fmt.Sprintf("http://10.0.0.%d:8008/patroni", n)}
}

func view(leader string) cluster.View {
	return cluster.View{Leader: cluster.Leader{Name: leader}, Members: []cluster.Member{member(1), member(2), member(3)}}
}

func leading(name string, asked boot.Instant, left time.Duration) Word {
	return Word{Member: name, Asked: asked, Name: name, Role: cluster.RolePrimary, State: cluster.StateRunning, Leased: true, Remaining: left,
		TTL: 30 * time.Second}
}

func streaming(name string, replayed wal.LSN) Word {
	return Word{Member: name, Asked: ago(time.Second), Name: name, Role: cluster.RoleReplica, State: cluster.StateRunning,
		ReplicationState: "streaming", Received: replayed, Replayed: replayed}
}

func TestPickPrimary(t *testing.T) {
	good := leading("n1", ago(time.Second), 20*time.Second)
	edit := func(f func(*Word)) Word { w := good; f(&w); return w }
	cases := []struct {
		name, leader string
		word         Word
		want         string // part of the reason; "" means served
	}{
		{"good", "n1", good, ""},
		{"no leader", "", good, "nobody holds"},
		{"leader unknown", "n9", good, "no usable address"},
		{"word of another member", "n2", good, "has not answered"},
		{"another answers at the address", "n1", edit(func(w *Word) { w.Name = "n2" }), "answered by n2"},
		{"not promoted yet", "n1", edit(func(w *Word) { w.Role = cluster.RoleReplica }), "is replica"},
		{"no lease", "n1", edit(func(w *Word) { w.Remaining = 0 }), "no live lease"},
		{"no lease, whatever its health check says", "n1", edit(func(w *Word) { w.Remaining, w.Locked = 0, true }), "no live lease"},
		{"lease ended since", "n1", edit(func(w *Word) { w.Remaining = time.Second }), "has ended"},
		{"starting", "n1", edit(func(w *Word) { w.State = cluster.StateStarting }), "starting"},
		{"other program, locked", "n1", edit(func(w *Word) { w.Leased, w.Locked = false, true }), ""},
		{"other program, not locked", "n1", edit(func(w *Word) { w.Leased = false }), "no live lease"},
		{"other program, asked under a smaller ttl", "n1", edit(func(w *Word) {
			w.Leased, w.Locked, w.TTL, w.Asked = false, true, 20*time.Second, ago(8*time.Second)
		}), "has ended"},
		{"other program, asked under a larger ttl", "n1", edit(func(w *Word) {
			w.Leased, w.Locked, w.TTL, w.Asked = false, true, time.Hour, ago(10*time.Second)
		}), "has ended"},
		{"other program, too old", "n1", edit(func(w *Word) { w.Leased, w.Locked, w.Asked = false, true, ago(10*time.Second) }), "has ended"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			q := Query{Now: now, View: view(c.leader), Words: []Word{c.word}, Since: now}
			got := Pick(q)
			if got.OK != (c.want == "") || !strings.Contains(got.Why, c.want) {
				t.Fatalf("got %+v, want a reason with %q", got, c.want)
			}
			if got.OK && (got.Backend != Backend{"n1", "10.0.0.1:5432"} || got.Until <= now) {
				t.Fatalf("got %+v", got)
			}
		})
	}
}

func TestPickReplica(t *testing.T) {
	base := func() Query {
		return Query{Now: now, View: view("n1"), Policy: Policy{Access: ReadOnly, MaxLag: 100},
			Words: []Word{leading("n1", ago(time.Second), 20*time.Second), streaming("n2", 5000), streaming("n3", 5000)}}
	}
	cases := []struct {
		name string
		edit func(*Query)
		want string // member, "" for a refusal
	}{
		{"equal: by name", func(*Query) {}, "n2"},
		{"least sessions", func(q *Query) { q.Loads = []Load{{Member: "n2", Sessions: 2}, {Member: "n3", Sessions: 1}} }, "n3"},
		{"lag", func(q *Query) { q.Words[1].Replayed = 4899 }, "n3"},
		{"lag at the limit", func(q *Query) { q.Words[1].Replayed = 4900 }, "n2"},
		{"lag behind the leader", func(q *Query) { q.View.Status.Optime = 9000 }, "n1"},
		{"no limit", func(q *Query) { q.View.Status.Optime, q.Policy.MaxLag = 9000, 0 }, "n2"},
		{"tag in the word", func(q *Query) { q.Words[1].NoLoadBalance = true }, "n3"},
		{"tag in the key", func(q *Query) { q.View.Members[1].Tags.NoLoadBalance = true }, "n3"},
		{"not streaming", func(q *Query) { q.Words[1].ReplicationState = "in archive recovery" }, "n3"},
		{"not running", func(q *Query) { q.Words[1].State = cluster.StateStarting }, "n3"},
		{"old word", func(q *Query) { q.Words[1].Asked = ago(time.Minute) }, "n3"},
		{"another answers", func(q *Query) { q.Words[1].Name = "n3" }, "n3"},
		{"connection refused", func(q *Query) { q.Loads = []Load{{Member: "n2", Down: true}} }, "n3"},
		{"none: the leader", func(q *Query) { q.Words = q.Words[:1] }, "n1"},
		{"none, no fallback", func(q *Query) { q.Words, q.Policy.NoFallback = q.Words[:1], true }, ""},
		{"none, leader without lease", func(q *Query) { q.Words = q.Words[:1]; q.Words[0].Remaining = 0 }, ""},
		{"standby leader", func(q *Query) {
			q.Words = q.Words[:1]
			q.Words[0].Role, q.Words[0].Remaining = cluster.RoleStandbyLeader, 0
		}, "n1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			q := base()
			c.edit(&q)
			got := Pick(q)
			if got.OK != (c.want != "") || got.Backend.Member != c.want || got.Why == "" {
				t.Fatalf("got %+v, want %q", got, c.want)
			}
		})
	}
}

// A choice that may write is always the holder of the leader key, on the ground
// of its own word of a live lease; any other choice is not a primary.
func TestPickNeverWritesWithoutLease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SampledFrom([]string{"", "n1", "n2", "n3", "n9"})
		q := Query{Now: now, View: view(names.Draw(t, "leader")),
			Policy: Policy{Access: rapid.SampledFrom([]Access{ReadWrite, ReadOnly, Any, Sync}).Draw(t, "access"), NoFallback: rapid.Bool().Draw(t, "nofallback"),
				Member: names.Draw(t, "member"), Zone: rapid.SampledFrom([]string{"", "a"}).Draw(t, "zone")}}
		q.View.Sync = cluster.SyncState{Leader: q.View.Leader.Name, Standbys: []string{"n2"}}
		for i := range rapid.IntRange(0, 3).Draw(t, "words") {
			q.Words = append(q.Words, Word{
				Member: fmt.Sprintf("n%d", i+1), Name: names.Draw(t, "name"),
				Asked:  boot.Instant(rapid.Int64Range(0, int64(now)).Draw(t, "asked")),
				Role:   rapid.SampledFrom([]cluster.Role{"", cluster.RolePrimary, cluster.RoleReplica, cluster.RoleStandbyLeader}).Draw(t, "role"),
				State:  rapid.SampledFrom([]cluster.State{"", cluster.StateRunning, cluster.StateStarting}).Draw(t, "state"),
				Leased: rapid.Bool().Draw(t, "leased"), Locked: rapid.Bool().Draw(t, "locked"),
				TTL:              time.Duration(rapid.Int64Range(0, 90e9).Draw(t, "ttl")),
				Remaining:        time.Duration(rapid.Int64Range(-1e9, 60e9).Draw(t, "left")),
				Zone:             rapid.SampledFrom([]string{"", "a"}).Draw(t, "its zone"),
				ReplicationState: rapid.SampledFrom([]string{"", "streaming"}).Draw(t, "replication"),
			})
		}
		c := Pick(q)
		if c.Why == "" {
			t.Fatal("no reason")
		}
		if !c.OK {
			return
		}
		w, ok := q.word(c.Backend.Member)
		if !ok || w.State != cluster.StateRunning || w.Name != "" && w.Name != w.Member {
			t.Fatalf("chose %+v by %+v", c, w)
		}
		if w.Role != cluster.RolePrimary {
			if q.Policy.Access == ReadWrite || w.Role == cluster.RoleReplica && !q.Policy.serves(c.Backend.Member) {
				t.Fatalf("writes to a %s", w.Role)
			}
			return
		}
		if c.Until <= now || q.View.Leader.Held() && c.Backend.Member != q.View.Leader.Name || w.Authority(30*time.Second) != c.Until {
			t.Fatalf("chose the primary %+v by %+v", c, w)
		}
		limit := min(w.TTL/3, 10*time.Second)
		if w.Leased {
			limit = w.Remaining
		}
		if c.Until.Sub(w.Asked) > limit {
			t.Fatalf("counted %s of %s", c.Until.Sub(w.Asked), limit)
		}
	})
}

func TestTTL(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 30 * time.Second, "{": 30 * time.Second, `{"ttl":20}`: 20 * time.Second, `{"ttl":"45"}`: 45 * time.Second,
		`{"ttl":-1}`: 30 * time.Second, `{"ttl":1e300}`: 30 * time.Second, `{"ttl":null}`: 30 * time.Second, `{"ttl":"NaN"}`: 30 * time.Second,
	} {
		if got := TTL(cluster.View{Config: cluster.Config{JSON: text}}); got != want {
			t.Errorf("TTL(%s) = %s, want %s", text, got, want)
		}
	}
}

func FuzzTTL(f *testing.F) {
	f.Add(`{"ttl":20}`)
	f.Add(`{"ttl":"45"}`)
	f.Fuzz(func(t *testing.T, s string) {
		if d := TTL(cluster.View{Config: cluster.Config{JSON: s}}); d < time.Second {
			t.Fatalf("TTL %s", d)
		}
	})
}
