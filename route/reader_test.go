package route

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// reading is a healthy cluster: n1 leads, n2 is a synchronous standby in zone a, n3 an
// asynchronous one in zone b.
func reading(p Policy) Query {
	v := view("n1")
	v.Sync = cluster.SyncState{Leader: "n1", Standbys: []string{"n2"}}
	for i, zone := range []string{`"b"`, `"a"`, `"b"`} {
		v.Members[i].Tags.Other = []cluster.Tag{{Name: "zone", Value: zone}}
	}
	return Query{Now: now, View: v, Policy: p, Words: []Word{leading("n1", ago(time.Second), 20*time.Second), streaming("n2", 5000), streaming("n3", 5000)}}
}

func TestPickReader(t *testing.T) {
	busy := func(names ...string) func(*Query) {
		return func(q *Query) {
			for i, n := range names {
				q.Loads = append(q.Loads, Load{Member: n, Sessions: i})
			}
		}
	}
	for _, c := range []struct {
		name   string
		policy Policy
		edit   func(*Query)
		want   string // the member, empty for a refusal
		why    string
	}{
		{"any: the least loaded is the leader", Policy{Access: Any}, busy("n1", "n2", "n3"), "n1", "n1 is the leader with 0"},
		{"any: the least loaded is a replica", Policy{Access: Any}, busy("n3", "n1", "n2"), "n3", "eligible replica"},
		{"any: the leader is spared", Policy{Access: Any}, func(q *Query) { q.Words[0].NoLoadBalance = true }, "n2", ""},
		{"any: the leader is spared, and nobody else is there", Policy{Access: Any}, func(q *Query) { q.Words[0].NoLoadBalance, q.Words = true, q.Words[:1] }, "n1", "noloadbalance"},
		{"any: the leader without a lease", Policy{Access: Any}, func(q *Query) { q.Words[0].Remaining, q.Words = 0, q.Words[:1] }, "", "no live lease"},
		{"any: a leader whose key is gone", Policy{Access: Any}, func(q *Query) {
			q.Members, q.View.Members, q.Words, q.Blind = q.View.Members[:1], q.View.Members[1:], q.Words[:1], true
		}, "n1", ""},
		{"any: a standby leader", Policy{Access: Any}, func(q *Query) {
			q.Words[0].Role, q.Words[0].Remaining, q.Words = cluster.RoleStandbyLeader, 0, q.Words[:1]
		}, "n1", ""},

		{"sync: of the key", Policy{Access: Sync}, busy("n3", "n2"), "n2", "synchronous standby"},
		{"sync: none", Policy{Access: Sync, NoFallback: true}, func(q *Query) { q.View.Sync.Standbys = nil }, "", "n3 is no synchronous standby"},
		{"sync: none, and the leader will do", Policy{Access: Sync}, func(q *Query) { q.View.Sync.Standbys = nil }, "n1", ""},
		{"sync: the key is another leader's", Policy{Access: Sync, NoFallback: true}, func(q *Query) { q.View.Sync.Leader = "n3" }, "", ""},
		{"sync: a quorum makes nobody certain", Policy{Access: Sync, NoFallback: true}, func(q *Query) { q.View.Sync.Quorum = 1 }, "", ""},
		{"sync: its own word means nothing against the key", Policy{Access: Sync, NoFallback: true},
			func(q *Query) { q.View.Sync.Standbys, q.Words[1].Synchronous = nil, true }, "", ""},
		{"sync: the store is lost", Policy{Access: Sync, NoFallback: true}, func(q *Query) { q.Blind, q.Words[2].Synchronous = true, true }, "n3", ""},

		{"member: a replica", Policy{Access: ReadOnly, Member: "n3"}, busy("n2", "n3"), "n3", ""},
		{"member: its tag is for the others", Policy{Access: ReadOnly, Member: "n3"}, func(q *Query) { q.Words[2].NoLoadBalance = true }, "n3", ""},
		{"member: the leader", Policy{Access: Any, Member: "n1"}, nil, "n1", ""},
		{"member: not while it leads", Policy{Access: ReadOnly, Member: "n1", NoFallback: true}, nil, "", "n1 is the leader"},
		{"member: not well", Policy{Access: Any, Member: "n3", NoFallback: true}, func(q *Query) { q.Words[2].State = cluster.StateStopping }, "", "n3 is stopping"},
		{"member: not there", Policy{Access: Any, Member: "n9", NoFallback: true}, nil, "", "n1 is not the member of this port"},
		{"member: not while another leads", Policy{Access: ReadWrite, Member: "n3"}, nil, "", "n1 leads, and this port is for n3"},
		{"member: while it leads", Policy{Access: ReadWrite, Member: "n1"}, nil, "n1", ""},

		{"zone: the loaded one", Policy{Access: ReadOnly, Zone: "b"}, busy("n2", "n3"), "n3", ""},
		{"zone: none of it", Policy{Access: ReadOnly, Zone: "c"}, nil, "n2", ""},
		{"zone: its only one is out", Policy{Access: ReadOnly, Zone: "b"}, func(q *Query) { q.Words[2].State = cluster.StateStopping }, "n2", ""},
		{"zone: of its own word", Policy{Access: ReadOnly, Zone: "c"}, func(q *Query) { q.Words[2].Zone = "c" }, "n3", ""},
		{"zone: the leader's", Policy{Access: Any, Zone: "b"}, busy("n3", "n1"), "n3", ""},

		{"time: behind", Policy{Access: ReadOnly, MaxLagTime: time.Second}, func(q *Query) {
			q.History, q.Words[1].Replayed = History{{4000, ago(time.Minute)}, {4900, ago(1500 * time.Millisecond)}, {5000, ago(0)}}, 4800
		}, "n3", ""},
		{"time: all behind", Policy{Access: ReadOnly, MaxLagTime: time.Second, NoFallback: true}, func(q *Query) {
			q.History = History{{4000, ago(time.Minute)}, {5500, ago(1500 * time.Millisecond)}}
		}, "", "n2 lags 1.5s, limit 1s"},
		{"time: as far as is known", Policy{Access: ReadOnly, MaxLagTime: time.Second}, func(q *Query) {
			q.History = History{{4000, ago(time.Minute)}, {5000, ago(30 * time.Second)}}
		}, "n2", ""},
		{"bytes: a position that the cluster has left is no measure", Policy{Access: ReadOnly, MaxLag: 10}, func(q *Query) {
			q.Words[0].Timeline, q.Words[1].Timeline, q.Words[2].Timeline, q.Words[2].Received = 2, 2, 1, 9000
		}, "n2", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := reading(c.policy)
			if c.edit != nil {
				c.edit(&q)
			}
			got, verdicts := Judge(q)
			if got.OK != (c.want != "") || got.Backend.Member != c.want || !strings.Contains(got.Why, c.why) {
				t.Fatalf("got %+v, want %q because %q", got, c.want, c.why)
			}
			if c.want == "n1" && c.name != "any: a standby leader" && got.Until <= now {
				t.Fatal("the primary without its permission")
			}
			for _, m := range q.View.Members {
				if v := verdicts[m.Name]; v.Why == "" || m.Name == c.want && !v.In || c.want == "" && v.In {
					t.Errorf("%s: %+v", m.Name, v)
				}
			}
		})
	}
}

// The lag that is told is never less than what it is, as far as anything was known, and
// not more than three times as much.
func TestLag(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all, h History
		furthest, replayed, at := wal.LSN(1000), wal.LSN(1000), now
		for n := range rapid.IntRange(1, 400).Draw(t, "words") {
			at = at.Add(time.Duration(rapid.Int64Range(1, int64(2*time.Second)).Draw(t, "pause")))
			furthest += wal.LSN(rapid.Uint64Range(0, 100).Draw(t, "written"))
			replayed = min(furthest, replayed+wal.LSN(rapid.Uint64Range(0, 80).Draw(t, "replayed")))
			all, h = append(all, Known{furthest, at}), h.Add(furthest, at)
			if len(h) > maxHistory {
				t.Fatalf("%d entries", len(h))
			}
			truth := time.Duration(0)
			for _, k := range all {
				if k.Position > replayed {
					truth = at.Sub(k.At)
					break
				}
			}
			got := h.Lag(Word{Asked: at, Replayed: replayed}, at)
			if got < truth || truth == 0 && got > 0 || got > 3*truth {
				t.Fatalf("word %d: lags %s, told %s", n, truth, got)
			}
		}
	})
}

func TestLagBeforeAnythingWasKnown(t *testing.T) {
	h := History(nil).Add(2, now)
	w := Word{Asked: now, Replayed: 1, ReplayedAge: time.Hour}
	if got := h.Lag(w, now.Add(time.Second)); got != time.Hour+time.Second {
		t.Errorf("at first: %s", got)
	}
	h = h.Add(3, now.Add(time.Second))
	w.Replayed = 2
	if got := h.Lag(w, now.Add(3*time.Second)); got != 2*time.Second {
		t.Errorf("when it comes to what was known: %s", got)
	}
	// Another leader, whose history is shorter.
	if h = h.Add(2, now.Add(4*time.Second)); h.Lag(w, now.Add(time.Minute)) != 0 || len(h) != 1 {
		t.Errorf("after a change of leaders: %v", h)
	}
	if got := History(nil).Lag(w, now); got != 0 {
		t.Errorf("of nothing: %s", got)
	}
}

// A member that has all its sessions is used, and gets no more for the time being; the
// leader is no way around that.
func TestLimitOfSessions(t *testing.T) {
	for _, access := range []Access{ReadWrite, ReadOnly, Any} {
		q := reading(Policy{Access: access, MaxConnections: 1})
		q.Loads = []Load{{Member: "n1", AtPort: 1}, {Member: "n2", AtPort: 1}, {Member: "n3", AtPort: 2}}
		if got := Pick(q); got.OK || !got.Full || !strings.Contains(got.Why, "limit 1") {
			t.Errorf("%s: %+v", access, got)
		}
		c, verdicts := Judge(q) // as if there were no limit
		if !c.OK || !verdicts["n2"].In && access != ReadWrite {
			t.Errorf("%s: %+v %+v", access, c, verdicts)
		}
	}
}

func TestFullMemberIsPassedOver(t *testing.T) {
	q := reading(Policy{Access: ReadOnly, Zone: "a", MaxConnections: 2})
	q.Loads = []Load{{Member: "n2", Sessions: 2, AtPort: 2}, {Member: "n3", Sessions: 5, AtPort: 1}}
	if got := Pick(q); got.Backend.Member != "n3" {
		t.Errorf("another zone rather than to wait: %+v", got)
	}
}

// Sessions that come one after another spread by the members' shares; a member that has
// just come back gets its share by and by.
func TestShares(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy Policy
		weight string // of n3
		used   time.Duration
		n3     int // of 120 sessions
	}{
		{"equal", Policy{Access: ReadOnly}, "", 0, 60},
		{"twice the weight", Policy{Access: ReadOnly}, "2", 0, 80},
		{"as a text", Policy{Access: ReadOnly}, `"5"`, 0, 100},
		{"no weight", Policy{Access: ReadOnly}, "0", 0, 60},
		{"too much", Policy{Access: ReadOnly}, "257", 0, 60},
		{"slowly, at half of the time", Policy{Access: ReadOnly, SlowStart: time.Minute}, "", 30 * time.Second, 40},
		{"slowly, at first", Policy{Access: ReadOnly, SlowStart: time.Minute}, "", 0, 5},
		{"slowly, over", Policy{Access: ReadOnly, SlowStart: time.Minute}, "", time.Minute, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := reading(c.policy)
			q.View.Members[2].Tags.Other = []cluster.Tag{{Name: "weight", Value: c.weight}}
			q.Loads = []Load{{Member: "n2", Used: time.Hour}, {Member: "n3", Used: c.used}}
			for range 120 {
				for i := range q.Loads {
					if q.Loads[i].Member == Pick(q).Backend.Member {
						q.Loads[i].Sessions++
						break
					}
				}
			}
			if got := q.Loads[1].Sessions; got < c.n3-1 || got > c.n3+1 {
				t.Errorf("%d sessions, want about %d", got, c.n3)
			}
		})
	}
}

func TestTagText(t *testing.T) {
	for value, want := range map[string]string{`"a"`: "a", `7`: "7", `true`: "true", `null`: "", `[]`: "", `x`: "", ``: ""} {
		if got := TagText(json.RawMessage(value)); got != want {
			t.Errorf("%s: %q", value, got)
		}
	}
}
