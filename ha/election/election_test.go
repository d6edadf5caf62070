package election

import (
	"fmt"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// tree is a small family of timelines, told by its records: each branch is the
// list of branches that every byte of it belongs to. It is the dumb second
// implementation: two positions lie on one line exactly when the shorter one's
// bytes are the beginning of the longer one's.
type tree struct {
	branches []branch
}

type branch struct {
	id       int // tells branches of one number apart
	timeline wal.Timeline
	parent   int     // index, -1 for the first
	from     wal.LSN // where it left the parent
}

// bytes lists who wrote each byte up to end on branch b.
func (t tree) bytes(b int, end wal.LSN) string {
	br := t.branches[b]
	var prefix string
	if br.parent >= 0 {
		prefix = t.bytes(br.parent, br.from)
	}
	return prefix + strings.Repeat(string(rune('A'+br.id)), int(end)-len(prefix))
}

func (t tree) history(b int) (h wal.History) {
	for br := t.branches[b]; br.parent >= 0; br = t.branches[br.parent] {
		h = append(wal.History{{Timeline: t.branches[br.parent].timeline, LSN: br.from}}, h...)
	}
	return h
}

func (t tree) identity(b int) cluster.TimelineIdentity {
	if t.branches[b].parent < 0 {
		return cluster.TimelineIdentity{}
	}
	return cluster.TimelineIdentity{Switch: t.branches[b].from, CRC: uint32(t.branches[b].id)}
}

func (t tree) standing(name string, b int, end wal.LSN) Standing {
	// A server's position is on the branch that wrote its last byte: at the very
	// point of a switch it still is on the parent.
	for t.branches[b].parent >= 0 && end <= t.branches[b].from {
		b = t.branches[b].parent
	}
	return Standing{Name: name, Position: wal.Position{Timeline: t.branches[b].timeline, LSN: end}, Identity: t.identity(b), History: t.history(b)}
}

// worlds: every tree of one to four branches, each leaving an earlier one at
// byte 2 or 4, where no two of a number live on one line.
func worlds() (out []tree) {
	root := branch{id: 0, timeline: 1, parent: -1}
	var grow func(t tree)
	grow = func(t tree) {
		out = append(out, t)
		if len(t.branches) == 4 {
			return
		}
		for p, parent := range t.branches {
			for _, at := range []wal.LSN{2, 4} {
				if at <= parent.from {
					continue
				}
				for tl := parent.timeline + 1; tl <= 4; tl++ {
					next := branch{id: len(t.branches), timeline: tl, parent: p, from: at}
					grow(tree{append(append([]branch(nil), t.branches...), next)})
				}
			}
		}
	}
	grow(tree{[]branch{root}})
	return out
}

// ground is what the cluster published of a line whose timelines were claimed.
func (t tree) ground(b int) Ground {
	g := Ground{History: cluster.History{Present: true}, MaxLag: 1 << 20}
	for _, s := range t.history(b) {
		g.History.Lines = append(g.History.Lines, cluster.HistoryLine{Timeline: s.Timeline, LSN: s.LSN})
	}
	for at := b; t.branches[at].parent >= 0; at = t.branches[at].parent {
		g.Timelines.Claims = append([]cluster.TimelineClaim{{Timeline: t.branches[at].timeline, Identity: t.identity(at)}}, g.Timelines.Claims...)
	}
	return g
}

// TestDivergedAgainstBytes compares DivergedFrom with the bytes themselves, in
// every small world: for each line that the cluster may have published and each
// server that may knock.
func TestDivergedAgainstBytes(t *testing.T) {
	checked := 0
	for _, w := range worlds() {
		for lead := range w.branches {
			g := w.ground(lead)
			line := w.bytes(lead, 6)
			for b := range w.branches {
				for end := w.branches[b].from + 1; end <= 6; end++ {
					s := w.standing("m", b, end)
					want := !strings.HasPrefix(line, w.bytes(b, end))
					if _, through := s.History.SwitchOf(w.branches[lead].timeline); through && s.Position.Timeline > w.branches[lead].timeline {
						// It continues the published line (TestContinuesThePublishedLine), or that of a twin of its
						// number, which nobody claimed: the one case that a server's own files cannot tell.
						continue
					}
					checked++
					if got := DivergedFrom(s, g); (got != "") != want {
						t.Fatalf("tree %+v, cluster on branch %d, server on branch %d at %s: diverged is %t, but the rules say %q",
							w.branches, lead, b, end, want, got)
					}
				}
			}
		}
	}
	t.Logf("%d positions", checked)
}

// TestContinuesThePublishedLine: a leader promoted and was lost before it could
// publish the switch. Its followers are the cluster's newest.
func TestContinuesThePublishedLine(t *testing.T) {
	w := tree{[]branch{{timeline: 1, parent: -1}, {id: 1, timeline: 2, parent: 0, from: 4}}}
	s := w.standing("m", 1, 6)
	g := w.ground(0)
	if why := DivergedFrom(s, g); why != "" {
		t.Error(why)
	}
	g.Timelines.Claims = []cluster.TimelineClaim{{Timeline: 2, Winner: "x"}}
	if why := DivergedFrom(s, g); why != "" {
		t.Error("claimed and not yet identified:", why)
	}
	g.Timelines.Claims[0].Identity = cluster.TimelineIdentity{Switch: 4, CRC: 99}
	if DivergedFrom(s, g) == "" {
		t.Error("the number was claimed for another branch")
	}
	// It left the cluster's line before the cluster's own last switch.
	g = w.ground(0)
	g.History.Lines = []cluster.HistoryLine{{Timeline: 1, LSN: 2}}
	s.Position.Timeline = 3
	if DivergedFrom(s, g) == "" {
		t.Error("it left timeline 1 at 4 and the cluster at 2")
	}
}

// TestElectedIsNeverBehind enumerates clusters of three: whoever may lead and is
// ahead of all others that may, is not behind any of them, and there is exactly
// one of it: two members with the same knowledge never both think themselves
// best, and somebody always does.
func TestElectedIsNeverBehind(t *testing.T) {
	w := tree{[]branch{{timeline: 1, parent: -1}, {id: 1, timeline: 2, parent: 0, from: 4}, {id: 2, timeline: 3, parent: 0, from: 2}}}
	zero, two := 0, 2
	priorities := []*int{nil, &zero, &two}
	var places []Standing
	for b, br := range w.branches {
		for end := br.from + 1; end <= 6; end++ {
			for _, p := range priorities {
				s := w.standing("", b, end)
				s.Tags.FailoverPriority = p
				places = append(places, s)
			}
		}
	}
	g := w.ground(1)
	for _, sync := range []cluster.SyncState{{}, {Leader: "z", Standbys: []string{"A", "b"}}} {
		g.Sync = sync
		for _, limit := range []uint64{1, 100} {
			g.MaxLag, g.Optime = limit, 5
			for i := range places {
				for j := range places {
					for k := 0; k < len(places); k += 5 {
						ms := []Standing{places[i], places[j], places[k]}
						ms[0].Name, ms[1].Name, ms[2].Name = "a", "b", "c"
						elect(t, ms, g)
					}
				}
			}
		}
	}
}

func elect(t *testing.T, ms []Standing, g Ground) {
	t.Helper()
	var best []Standing
	eligible := 0
	for _, m := range ms {
		if WhyNot(m, g) != "" {
			continue
		}
		eligible++
		wins := true
		for _, o := range ms {
			if o.Name != m.Name && WhyNot(o, g) == "" && Ahead(o, m) {
				wins = false
			}
		}
		if wins {
			best = append(best, m)
		}
	}
	if len(best) > 1 || len(best) == 0 && eligible > 0 {
		t.Fatalf("%d of %d think themselves best: %+v", len(best), eligible, best)
	}
	if eligible == 0 {
		return
	}
	for _, o := range ms {
		if WhyNot(o, g) == "" && o.Position.LSN > best[0].Position.LSN {
			t.Fatalf("%s at %s is elected, %s has %s", best[0].Name, best[0].Position, o.Name, o.Position)
		}
	}
	switch m := best[0]; {
	case !m.Tags.MayLead(), !g.Sync.Active() && g.Optime.Sub(m.Position.LSN) > g.MaxLag, g.Sync.Active() && !g.Sync.Holds(m.Name):
		t.Fatalf("%+v is elected", m)
	}
}

// TestAheadIsAnOrder: strict, total, transitive.
func TestAheadIsAnOrder(t *testing.T) {
	one, two := 1, 2
	var all []Standing
	for _, name := range []string{"a", "b"} {
		for _, p := range []*int{nil, &one, &two} {
			for _, pos := range []wal.Position{{}, {Timeline: 1, LSN: 9}, {Timeline: 2, LSN: 3}, {Timeline: 2, LSN: 4}} {
				all = append(all, Standing{Name: name, Position: pos, Tags: cluster.Tags{FailoverPriority: p}})
			}
		}
	}
	for _, x := range all {
		for _, y := range all {
			if Ahead(x, y) && Ahead(y, x) {
				t.Fatalf("both ahead: %+v %+v", x, y)
			}
			if x.Name != y.Name && !Ahead(x, y) && !Ahead(y, x) {
				t.Fatalf("neither ahead: %+v %+v", x, y)
			}
			for _, z := range all {
				if Ahead(x, y) && Ahead(y, z) && !Ahead(x, z) && x.Name != z.Name {
					t.Fatalf("not transitive: %+v %+v %+v", x, y, z)
				}
			}
		}
	}
}

// TestWhyNot names each reason once.
func TestWhyNot(t *testing.T) {
	w := tree{[]branch{{timeline: 1, parent: -1}, {id: 1, timeline: 2, parent: 0, from: 4}}}
	for name, c := range map[string]struct {
		edit func(*Standing, *Ground)
		want string
	}{
		"fine":         {func(s *Standing, g *Ground) {}, ""},
		"nofailover":   {func(s *Standing, g *Ground) { s.Tags.NoFailover = true }, "nofailover"},
		"unknown":      {func(s *Standing, g *Ground) { s.Position.LSN = 0 }, "not known"},
		"old timeline": {func(s *Standing, g *Ground) { s.Position.Timeline, s.Position.LSN, g.CheckTimeline = 1, 4, true }, "timeline 1"},
		"old, allowed": {func(s *Standing, g *Ground) { s.Position.Timeline, s.Position.LSN, s.History = 1, 4, nil }, ""},
		"diverged":     {func(s *Standing, g *Ground) { s.Position.Timeline, s.Position.LSN, s.History = 1, 5, nil }, "left at"},
		"past a branch whose history is not published": {func(s *Standing, g *Ground) {
			g.History = cluster.History{}
			s.Position.Timeline, s.Position.LSN, s.History = 1, 5, nil
		}, "the cluster's timeline 2 began at 0/4"},
		"where that branch began": {func(s *Standing, g *Ground) {
			g.History = cluster.History{}
			s.Position.Timeline, s.Position.LSN, s.History = 1, 4, nil
		}, ""},
		"past an older branch than the newest": {func(s *Standing, g *Ground) {
			g.History = cluster.History{}
			g.Timelines.Claims = append(g.Timelines.Claims, cluster.TimelineClaim{Timeline: 3, Identity: cluster.TimelineIdentity{Switch: 5}})
			s.Position.Timeline, s.Position.LSN, s.History = 1, 5, nil
		}, ""},
		"not sync":     {func(s *Standing, g *Ground) { g.Sync = cluster.SyncState{Leader: "x", Standbys: []string{"y"}} }, "synchronous"},
		"sync leader":  {func(s *Standing, g *Ground) { g.Sync = cluster.SyncState{Leader: "M"} }, ""},
		"handover":     {func(s *Standing, g *Ground) { g.Handover = cluster.Handover{Leader: "x", LSN: 7} }, "stopped cleanly"},
		"has handover": {func(s *Standing, g *Ground) { g.Handover = cluster.Handover{Leader: "x", LSN: 6} }, ""},
		"lag":          {func(s *Standing, g *Ground) { g.Optime, g.MaxLag = 9, 2 }, "3 bytes behind"},
		"lag of who has all that was acknowledged": {func(s *Standing, g *Ground) {
			g.Optime, g.MaxLag, g.Sync = 9, 2, cluster.SyncState{Leader: "z", Standbys: []string{s.Name}}
		}, ""},
		"lag of the leader whose data went back": {func(s *Standing, g *Ground) {
			g.Optime, g.MaxLag, g.Sync = 9, 2, cluster.SyncState{Leader: s.Name, Standbys: []string{"z"}}
		}, "3 bytes behind"},
		"lag of who was to be promoted": {func(s *Standing, g *Ground) {
			g.Optime, g.MaxLag, g.Sync = 9, 2, cluster.SyncState{Leader: s.Name, Before: &cluster.SyncBefore{Timeline: 1}}
		}, ""},
		"lag of who has the last record": {func(s *Standing, g *Ground) {
			g.Optime, g.MaxLag, g.Proof = 9, 2, cluster.Handover{Leader: "x", LSN: s.Position.LSN, Timeline: s.Position.Timeline}
		}, ""},
		"lag of who has another last record": {func(s *Standing, g *Ground) {
			g.Optime, g.MaxLag, g.Proof = 9, 2, cluster.Handover{Leader: "x", LSN: s.Position.LSN - 1, Timeline: s.Position.Timeline}
		}, "3 bytes behind"},
		"lag allowed": {func(s *Standing, g *Ground) { g.Optime, g.MaxLag = 9, 3 }, ""},
		"old handover": {func(s *Standing, g *Ground) {
			g.Optime, g.MaxLag, g.Handover = 9, 2, cluster.Handover{Leader: "x", LSN: 6}
		}, "3 bytes behind"},
		"another of its number": {func(s *Standing, g *Ground) { s.Identity.CRC = 77 }, "another timeline 2"},
	} {
		s, g := w.standing("m", 1, 6), w.ground(1)
		c.edit(&s, &g)
		got := WhyNot(s, g)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestCurrent: numbers that nobody used are skipped.
func TestCurrent(t *testing.T) {
	h := cluster.History{Present: true, Lines: []cluster.HistoryLine{{Timeline: 1, LSN: 4}}}
	for _, c := range []struct {
		h      cluster.History
		claims []cluster.TimelineClaim
		want   wal.Timeline
	}{
		{cluster.History{}, nil, 0},
		{cluster.History{Present: true}, nil, 1},
		{h, nil, 2},
		{h, []cluster.TimelineClaim{{Timeline: 2, Winner: "x"}}, 2},
		{h, []cluster.TimelineClaim{{Timeline: 2}, {Timeline: 3, Identity: cluster.TimelineIdentity{Switch: 4}}}, 3},
		{h, []cluster.TimelineClaim{{Timeline: 3, Identity: cluster.TimelineIdentity{Switch: 5}}}, 2},
	} {
		if got := Current(c.h, cluster.Timelines{Claims: c.claims}); got != c.want {
			t.Errorf("%s: %d, want %d", fmt.Sprint(c), got, c.want)
		}
	}
}
