package ha

import (
	"slices"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// leaderless is n2 in a race that it is about to win, with some others.
func leaderless(others ...cluster.Member) (Observation, Memory) {
	end := wal.Position{Timeline: 1, LSN: 0x5000}
	o := Observation{
		Now: 1000, Self: Self{Name: "n2"}, Settings: cluster.DefaultSettings(),
		Server: Server{Dir: DirPresent, Process: ProcessRunning, Role: ServerStandby, Position: end, ReplayDone: true},
		Lease:  Lease{Session: "s2"}, Store: Store{Known: true, Reachable: true},
	}
	o.Store.View.Members = append([]cluster.Member{{Name: "n2", APIURL: "http://n2"}}, others...)
	return o, Memory{LeaderlessSince: 800, RaceAsked: 900, Promised: true}
}

func answered(name string, lsn wal.LSN) Peer {
	return Peer{Name: name, Asked: 900, AnswerTo: 900, Answered: 950, InRecovery: true, Voting: true, EligibleKnown: true, Eligible: true,
		Position: wal.Position{Timeline: 1, LSN: lsn}}
}

// TestVerdicts: each other member is judged as the race judged it, in words.
func TestVerdicts(t *testing.T) {
	never := 0
	low := 1
	high := 2
	for _, c := range []struct {
		name   string
		member cluster.Member
		peer   Peer
		change func(o *Observation)
		rival  bool
		want   string // in the reasons; empty: none speaks against it
	}{
		{"ahead", cluster.Member{}, answered("n3", 0x5001), nil, true, ""},
		{"behind", cluster.Member{}, answered("n3", 0x4fff), nil, true, "it has 1 bytes less than n2"},
		{"equal, later name", cluster.Member{}, answered("n3", 0x5000), nil, true, "n2 comes first"},
		{"equal, lower priority", cluster.Member{}, answered("n3", 0x5000), func(o *Observation) {
			o.Self.Tags.FailoverPriority = &high
			o.Peers[0].Tags.FailoverPriority = &low
		}, true, "its failover priority is 1, that of n2 2"},
		{"tag", cluster.Member{Tags: cluster.Tags{FailoverPriority: &never}}, answered("n3", 0x5000), nil, false, "its tags say nofailover"},
		{"not synchronous", cluster.Member{}, answered("n3", 0x5000), func(o *Observation) {
			o.Store.View.Sync = cluster.SyncState{Leader: "n1", Standbys: []string{"n2"}}
		}, false, "not a synchronous standby"},
		{"unreachable", cluster.Member{}, Peer{Name: "n3", Asked: 900, Error: "connection refused"}, nil, true, "it did not answer: connection refused"},
		{"silent", cluster.Member{}, Peer{Name: "n3", Asked: 900}, nil, true, "it had not answered"},
		{"by its own word", cluster.Member{}, answered("n3", 0x5001), func(o *Observation) { o.Peers[0].Eligible = false }, true, "by its own word"},
		{"a primary", cluster.Member{}, answered("n3", 0x5001), func(o *Observation) { o.Peers[0].InRecovery = false }, true, "its server is a primary"},
		{"another timeline", cluster.Member{}, answered("n3", 0x6000), func(o *Observation) { o.Server.Position.Timeline = 2 }, true, "it is on timeline 1, and n2 on 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.member.Name, c.member.APIURL = "n3", "http://n3"
			o, m := leaderless(c.member)
			o.Peers = []Peer{c.peer}
			if c.change != nil {
				c.change(&o)
			}
			all := Verdicts(o, m)
			if len(all) != 1 || all[0].Name != "n3" || all[0].Rival != c.rival {
				t.Fatalf("%+v", all)
			}
			why := strings.Join(all[0].Why, "; ")
			if !strings.Contains(why, c.want) || c.want == "" && why != "" {
				t.Errorf("%q, want %q", why, c.want)
			}
		})
	}
}

// TestObstacles: all reasons are listed, and the first is the decision's own.
func TestObstacles(t *testing.T) {
	o, m := leaderless()
	if all := Obstacles(o, m); len(all) > 0 {
		t.Fatalf("nothing stands in the way, and %v is told", all)
	}
	o.Stopping, o.Lease.Session, o.Server.ReplayDone, o.Self.Tags.NoFailover = true, "", false, true
	m.BackoffUntil = boot.Instant(2000)
	want := []string{"its agent is stopping", "it has no session in the store", "it has not replayed all WAL that it has",
		"its last promotion failed", "its tags say nofailover"}
	all := Obstacles(o, m)
	if !slices.Equal(all, want) {
		t.Errorf("%q, want %q", all, want)
	}
	if first := Decide(o, m).Memory.WhyNot; first != all[0] {
		t.Errorf("the decision says %q", first)
	}
	empty := Observation{Self: Self{Name: "n2"}}
	if all := Obstacles(empty, Memory{}); len(all) == 0 || slices.Contains(all, "its WAL position is not known") {
		t.Errorf("without data: %q", all)
	}
}
