package syncrep

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// model is a primary a, standbys b and c, and the store's sync key, small enough
// to visit every state. Commits are counted; each is one position.
type model struct {
	mode  bool // synchronous_mode is on
	key   cluster.SyncState
	names string // the one name in force, empty for none

	written int             // commits written by the primary
	acked   int             // commits acknowledged to clients
	flushed map[string]int  // what each standby has
	up      map[string]bool // streaming

	// What the caller remembers, as rule lead does: a mark taken when the names
	// had been in force for a while.
	mark   int
	marked bool
	// PostgreSQL tells its processes of new names one after the other: until then
	// a commit may still not wait.
	settled bool

	// open: the key has the version that the last write demanded, or which the agent
	// found when it began. late is what such a write may make of it yet.
	open bool
	late *cluster.SyncState

	// voted is a standby of the key that has stopped its WAL receiver, to be elected
	// at what it has; the primary's lease is over, so the store takes no key of it
	// any more. The other standby may stream on: it has not heard.
	voted string
}

const commits = 2 // one that is under way when a step is taken, and one after it

func (m model) id() string {
	late := ""
	if m.late != nil {
		late = fmt.Sprint("late", m.late.Leader, m.late.Standbys)
	}
	return fmt.Sprint(m.open, late, m.mode, m.key.Leader, m.key.Standbys, m.names, m.written, m.acked, m.flushed, m.up, m.mark, m.marked, m.settled, m.voted)
}

func (m model) clone() model {
	n := m
	n.flushed, n.up = map[string]int{}, map[string]bool{}
	for _, s := range []string{"b", "c"} {
		n.flushed[s], n.up[s] = m.flushed[s], m.up[s]
	}
	return n
}

// state is what the planner sees. A standby is "sync" to PostgreSQL when it is
// named and streams.
func (m model) state() State {
	s := State{Me: "a", Mode: cluster.SyncOff, Sync: m.key, Open: m.open && m.key.Active()}
	if m.mode {
		s.Mode = cluster.SyncOn
	}
	if m.names != "" {
		s.InForce = []string{m.names}
	}
	if m.marked {
		s.Mark = wal.LSN(m.mark + 1) // zero means none
	}
	for _, n := range []string{"b", "c"} {
		if m.up[n] {
			st := "async"
			if n == m.names {
				st = "sync"
			}
			s.Streaming = append(s.Streaming, Standby{Name: n, Priority: 1, SyncState: st, Flush: wal.LSN(m.flushed[n] + 1)})
		}
	}
	return s
}

// apply carries a step out: the key by compare-and-set, or the names.
func (m model) apply(s Step) model {
	n := m.clone()
	switch s.Kind {
	case WriteKey:
		n.key, n.open, n.late = s.Sync, false, nil
	case SetNames:
		n.names = ""
		if len(s.Names) > 0 {
			n.names = s.Names[0]
		}
		n.marked, n.settled = false, false
	}
	return n
}

// next lists every state that can follow: the world's doings and the planner's
// step. A crash between two steps is the planner's step not being taken.
func (m model) next() (out []model) {
	add := func(f func(*model)) {
		n := m.clone()
		f(&n)
		out = append(out, n)
	}
	if m.written < commits {
		add(func(n *model) { n.written++ })
	}
	for _, s := range []string{"b", "c"} {
		if m.up[s] && m.flushed[s] < m.written {
			add(func(n *model) { n.flushed[s] = n.written })
			add(func(n *model) { n.flushed[s]++ })
		}
		if s == m.voted {
			continue // until there is a leader
		}
		add(func(n *model) { n.up[s] = !n.up[s] })
		if m.voted == "" && m.key.HasStandby(s) {
			add(func(n *model) { n.voted, n.up[s] = s, false })
		}
	}
	// The primary acknowledges what it needs not wait for, or no longer.
	if m.acked < m.written && (m.names == "" || !m.settled || m.up[m.names] && m.flushed[m.names] > m.acked) {
		add(func(n *model) { n.acked++ })
	}
	if !m.settled {
		add(func(n *model) { n.settled = true })
	}
	if m.names != "" && m.settled && !m.marked {
		add(func(n *model) { n.mark, n.marked = n.written, true })
	}
	add(func(n *model) { n.mode = !n.mode })
	add(func(n *model) { n.marked, n.open = false, true }) // the agent is replaced and remembers nothing
	if m.late != nil {                                     // the store had the request after all, and the key has not changed since
		add(func(n *model) { n.key, n.open, n.late = *n.late, false, nil })
		add(func(n *model) { n.late = nil })
	}
	if s := Next(m.state()); s.Kind == WriteKey && m.voted == "" {
		// No answer: the request may be lost, or under way.
		add(func(n *model) { n.open, n.late = true, &s.Sync })
		add(func(n *model) { n.open = true })
	}
	if s := Next(m.state()); s.Kind == SetNames || s.Kind == WriteKey && m.voted == "" {
		out = append(out, m.apply(s))
	}
	return out
}

func (m model) broken() string {
	for _, s := range m.key.Standbys {
		if m.flushed[s] < m.acked {
			return fmt.Sprintf("%s is in the key and has %d of %d acknowledged commits", s, m.flushed[s], m.acked)
		}
	}
	return ""
}

func begin() model {
	return model{mode: true, flushed: map[string]int{}, up: map[string]bool{"b": true, "c": true}}
}

// TestEveryInterruption visits every state that commits, standbys that come and
// go, replaced agents, a person who turns the mode on and off, writes that arrive
// late, and a planner interrupted anywhere can lead to, also after a standby has voted while another,
// which has not heard that nobody leads, streams on. Whoever is in the key has every acknowledged
// commit, always; and from everywhere, once the world holds still, the planner
// comes to one synchronous standby that is up, or to none when the mode is off.
func TestEveryInterruption(t *testing.T) {
	seen, voted := map[string]bool{}, 0
	todo := []model{begin()}
	for len(todo) > 0 {
		m := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[m.id()] {
			continue
		}
		seen[m.id()] = true
		if why := m.broken(); why != "" {
			t.Fatalf("%s: %s", why, m.id())
		}
		if m.voted == "" {
			converges(t, m)
		} else {
			voted++
		}
		todo = append(todo, m.next()...)
	}
	if voted == 0 {
		t.Error("nobody ever voted")
	}
	t.Logf("%d states, %d of them after a vote", len(seen), voted)
}

// converges lets the world hold still: standbys catch up, waiting commits are
// acknowledged, the mark is taken, the planner goes on.
func converges(t *testing.T, m model) {
	t.Helper()
	from := m.id()
	for range 12 {
		m = m.clone()
		for _, s := range []string{"b", "c"} {
			if m.up[s] {
				m.flushed[s] = m.written
			}
		}
		m.settled = true
		if !m.marked && m.names != "" {
			m.mark, m.marked = m.written, true
		}
		s := Next(m.state())
		if s.Kind == None {
			break
		}
		m = m.apply(s)
		if why := m.broken(); why != "" {
			t.Fatalf("on the way from %s: %s", from, why)
		}
	}
	var want []string
	for _, s := range []string{"b", "c"} {
		if m.up[s] {
			want = append(want, s)
		}
	}
	switch got := m.key.Standbys; {
	case Next(m.state()).Kind != None:
		t.Fatalf("from %s it does not come to rest: %s", from, m.id())
	case !m.mode && (m.key.Active() || m.names != ""):
		t.Fatalf("from %s: turned off and still %s", from, m.id())
	case m.mode && len(want) == 0 && (len(got) > 0 || m.names != "" || m.key.Leader != "a"):
		t.Fatalf("from %s: nobody is up and the key says %v, the names %q", from, got, m.names)
	case m.mode && len(want) > 0 && (len(got) != 1 || !slices.Contains(want, got[0]) || m.names != got[0]):
		t.Fatalf("from %s: %v are up, the key says %v, the names %q", from, want, got, m.names)
	}
}

// TestWriteKeyIsConditional: each write of the key names what it replaces.
func TestWriteKeyIsConditional(t *testing.T) {
	for _, mode := range []cluster.SyncMode{cluster.SyncOn, cluster.SyncOff, cluster.SyncQuorum, ""} {
		s := Next(State{Me: "a", Mode: mode, Sync: cluster.SyncState{Leader: "b", Standbys: []string{"a"}, Version: "7"}})
		if s.Kind != WriteKey || s.Sync.Version != "7" || s.Why == "" {
			t.Errorf("%q: %+v", mode, s)
		}
	}
}

// TestPick says who is chosen and why.
func TestPick(t *testing.T) {
	for _, c := range []struct {
		name string
		sync []string
		in   []Standby
		want string
	}{
		{"nobody", nil, nil, ""},
		{"priority 0 is never", nil, []Standby{{Name: "b"}}, ""},
		{"priority", nil, []Standby{{Name: "b", Priority: 1}, {Name: "c", Priority: 2}}, "c"},
		{"nofailover comes last", nil, []Standby{{Name: "b", Priority: 9, NoFailover: true}, {Name: "c", Priority: 1}}, "c"},
		{"but before none", nil, []Standby{{Name: "b", Priority: 1, NoFailover: true}}, "b"},
		{"who is in the key stays", []string{"c"}, []Standby{{Name: "b", Priority: 1, SyncState: "sync", Flush: 9}, {Name: "c", Priority: 1, SyncState: "async"}}, "c"},
		{"who is synchronous stays", nil, []Standby{{Name: "b", Priority: 1, SyncState: "potential", Flush: 9}, {Name: "c", Priority: 1, SyncState: "sync"}}, "c"},
		{"who is further", nil, []Standby{{Name: "b", Priority: 1, SyncState: "async", Flush: 8}, {Name: "c", Priority: 1, SyncState: "async", Flush: 9}}, "c"},
		{"the name, last of all", nil, []Standby{{Name: "b", Priority: 1}, {Name: "c", Priority: 1}}, "b"},
	} {
		got := strings.Join(pick(State{Sync: cluster.SyncState{Standbys: c.sync}, Streaming: c.in}), ",")
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestNamesCompareWithoutCase: PostgreSQL compares application names so.
func TestNamesCompareWithoutCase(t *testing.T) {
	s := State{Me: "A", Mode: cluster.SyncOn, Sync: cluster.SyncState{Leader: "a", Standbys: []string{"B"}}, InForce: []string{"b"},
		Streaming: []Standby{{Name: "b", Priority: 1, SyncState: "sync"}}}
	if step := Next(s); step.Kind != None {
		t.Errorf("%+v", step)
	}
}

// TestInputsStay: the planner is pure.
func TestInputsStay(t *testing.T) {
	s := State{Me: "a", Mode: cluster.SyncOn, Sync: cluster.SyncState{Leader: "a", Standbys: []string{"b", "z"}}, InForce: []string{"b", "z"},
		Streaming: []Standby{{Name: "c", Priority: 1}, {Name: "b", Priority: 2}}}
	before := fmt.Sprintf("%+v", s)
	first := Next(s)
	if again := Next(s); fmt.Sprint(first) != fmt.Sprint(again) || fmt.Sprintf("%+v", s) != before {
		t.Error("Next changed its input, or its mind")
	}
}
