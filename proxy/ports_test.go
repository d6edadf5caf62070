package proxy

import (
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/route"
)

// further starts a proxy that has these ports besides.
func further(t testing.TB, ports ...Port) (*Proxy, *feed) {
	t.Helper()
	return start(t, func(o *Options) {
		o.AskInterval, o.HoldTimeout, o.Ports = 20*time.Millisecond, 300*time.Millisecond, ports
		for i := range ports {
			ports[i].Listen = "127.0.0.1:0"
		}
	})
}

// why waits until a port has said that of a member.
func why(t testing.TB, p *Proxy, port, member, text string) {
	t.Helper()
	eventually(t, member+" "+text+" at "+port, func() bool {
		for _, ps := range p.Stats().Ports {
			for _, m := range ps.Members {
				if ps.Port == port && m.Member == member && strings.Contains(m.Why, text) {
					return true
				}
			}
		}
		return false
	})
}

// Over all members sessions are balanced; those with the primary end with its lease,
// and nothing is passed to it after that, as at the port that is for it alone.
func TestPortForAny(t *testing.T) {
	p, f := further(t, Port{Name: "all", Access: route.Any})
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	f.send(t, "a", a, b)
	answered(t, p, 1)
	connect(t, p.Addr()).wantMember("a") // counts as a session of a
	first := connect(t, p.PortAddr("all"))
	first.wantMember("b")
	second := connect(t, p.PortAddr("all"))
	second.wantMember("a")
	a.set(func() { a.lease = 0 })
	second.wantEnd(stateTerminated)
	first.wantMember("b")
	connect(t, p.PortAddr("all")).wantMember("b")
	for _, ps := range p.Stats().Ports {
		if ps.Port == "all" && (ps.Accepted != 3 || ps.Terminated != 1 || len(ps.Members) != 2 || ps.Members[0].Served != 1 || ps.Members[1].Served != 2) {
			t.Errorf("%+v", ps)
		}
	}
}

// A process that was stopped past the deadline passes nothing on to the primary here
// either.
func TestPortForAnyKeepsToTheLease(t *testing.T) {
	clk := &shiftClock{}
	p, f := start(t, func(o *Options) {
		o.Clock, o.AskInterval, o.Ports = clk, 10*time.Second, []Port{{Name: "all", Listen: "127.0.0.1:0", Access: route.Any}}
	})
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	c := connect(t, p.PortAddr("all"))
	c.wantMember("a")
	before := a.queries.Load()
	a.set(func() { a.silent = true })
	clk.shift.Store(int64(2 * time.Minute))
	c.query("write")
	if a.queries.Load() != before {
		t.Fatal("a query reached the server after the deadline")
	}
}

func TestPortForOneMember(t *testing.T) {
	p, f := further(t, Port{Name: "b", Access: route.Any, Member: "b", NoFallback: true}, Port{Name: "b-rw", Access: route.ReadWrite, Member: "b"})
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	b.tags = map[string]any{"noloadbalance": true} // kept for whoever asks for it
	f.send(t, "a", a, b)
	answered(t, p, 1)
	connect(t, p.PortAddr("b")).wantMember("b")
	connect(t, p.ReplicasAddr()).wantMember("a")
	c := dialRaw(t, p.PortAddr("b-rw"))
	c.startup()
	if text := c.wantEnd(stateNoPrimary); !strings.Contains(text, "primary b") || !strings.Contains(text, "a leads") {
		t.Error(text)
	}
	// It leads, then it is gone.
	b.set(func() { b.role, b.lease = "primary", long })
	f.send(t, "b", a, b)
	connect(t, p.PortAddr("b")).wantMember("b")
	c = connect(t, p.PortAddr("b-rw"))
	c.wantMember("b")
	b.set(func() { b.lease = 0 })
	c.wantEnd(stateTerminated)
	c = dialRaw(t, p.PortAddr("b"))
	c.startup()
	c.wantEnd(stateNoPrimary)
}

func TestPortForSynchronousStandbys(t *testing.T) {
	p, f := further(t, Port{Name: "sync", Access: route.Sync, NoFallback: true})
	a, b, c := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0), newMember(t, "c", "replica", 0)
	for _, name := range []string{"c", "b"} {
		f.ch <- Sight{View: cluster.View{Leader: cluster.Leader{Name: "a"}, Sync: cluster.SyncState{Leader: "a", Standbys: []string{name}},
			Members: []cluster.Member{a.key(), b.key(), c.key()}}}
		answered(t, p, 2)
		why(t, p, "sync", name, "synchronous standby with")
		connect(t, p.PortAddr("sync")).wantMember(name)
	}
}

func TestPortOfAZone(t *testing.T) {
	p, f := further(t, Port{Name: "east", Access: route.Any, Zone: "east"})
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	b.tags = map[string]any{"zone": "east"}
	f.send(t, "a", a, b)
	answered(t, p, 1)
	for range 3 {
		connect(t, p.PortAddr("east")).wantMember("b")
	}
	b.set(func() { b.tags["noloadbalance"] = true })
	why(t, p, "east", "b", "noloadbalance")
	connect(t, p.PortAddr("east")).wantMember("a")
}

// A replica that is behind for too long is left alone until it has what was known.
func TestLagInTime(t *testing.T) {
	clk := &shiftClock{}
	p, f := start(t, func(o *Options) { o.Clock, o.AskInterval, o.MaxLagTime = clk, 20*time.Millisecond, 30*time.Second })
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	b.behind = 10
	f.send(t, "a", a, b)
	answered(t, p, 1)
	connect(t, p.ReplicasAddr()).wantMember("b")
	clk.shift.Store(int64(31 * time.Second))
	why(t, p, portReadOnly, "b", "lags 31")
	connect(t, p.ReplicasAddr()).wantMember("a")
	b.set(func() { b.behind = 0 })
	why(t, p, portReadOnly, "b", "eligible replica")
	connect(t, p.ReplicasAddr()).wantMember("b")
}

// A member that is to take no more sessions keeps those that it has.
func TestDraining(t *testing.T) {
	p, f := start(t, func(o *Options) { o.AskInterval = 20 * time.Millisecond })
	a, b, c := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0), newMember(t, "c", "replica", 0)
	f.send(t, "a", a, b, c)
	answered(t, p, 2)
	old := connect(t, p.ReplicasAddr())
	old.wantMember("b")
	b.set(func() { b.tags = map[string]any{"noloadbalance": true} })
	why(t, p, portReadOnly, "b", "noloadbalance")
	for range 3 {
		connect(t, p.ReplicasAddr()).wantMember("c")
	}
	b.set(func() { b.tags, b.state = nil, "stopping" })
	why(t, p, portReadOnly, "b", "stopping")
	connect(t, p.ReplicasAddr()).wantMember("c")
	old.wantMember("b")
}

func TestPortsThatAreWrong(t *testing.T) {
	_, err := New(Options{Views: newFeed(), Ports: []Port{{Name: "x", Listen: "h:1", Access: route.Any},
		{Name: "x", Listen: "nowhere", Access: "all"}, {Listen: "h:2", Access: route.Sync}, {Name: "read-only", Listen: "h:3", Access: route.Sync}}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{`ports[1]: listen "nowhere"`, `ports[1]: name "x"`, `ports[1]: access "all"`, `ports[2]: name ""`, `ports[3]: name "read-only"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: no %q", err, part)
		}
	}
}
