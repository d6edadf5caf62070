package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/route"
)

// Whoever came first is served first when a session ends; the end of waiting is told
// as what it is, and is no outage.
func TestLimitOfSessions(t *testing.T) {
	p, f := start(t, func(o *Options) { o.MaxConnections, o.HoldTimeout = 1, time.Minute })
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	first := connect(t, p.Addr())
	var waiting []*client
	for n := range 3 {
		c := dialRaw(t, p.Addr())
		c.startup()
		waiting = append(waiting, c)
		eventually(t, "it waits", func() bool { return p.Stats().Held == int64(n+1) })
	}
	connect(t, p.ReplicasAddr()).wantMember("a") // the limit is of each port
	for n, c := range waiting {
		first.c.Close()
		if err := c.ready(); err != nil {
			t.Fatal(n, err)
		}
		c.wantMember("a")
		if held := p.Stats().Held; held != int64(2-n) {
			t.Fatalf("%d wait after %d were served", held, n+1)
		}
		first = c
	}
	s := p.Stats().Ports[0]
	if !s.Serving || s.Falls != 0 || s.Members[0].Sessions.Most != 1 || s.Members[0].Falls != 0 {
		t.Errorf("%+v", s)
	}
	if !p.outages.calm.Load() {
		t.Error("a limit counts as an outage")
	}
}

func TestLimitOfSessionsIsTold(t *testing.T) {
	p, f := start(t, func(o *Options) {
		o.HoldTimeout = 50 * time.Millisecond
		o.Ports = []Port{{Name: "few", Listen: "127.0.0.1:0", Access: route.Any, MaxConnections: 1}}
	})
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	connect(t, p.PortAddr("few")).wantMember("a")
	c := dialRaw(t, p.PortAddr("few"))
	c.startup()
	text := c.wantEnd(stateTooMany)
	for _, part := range []string{"every server of the port few has its 1 sessions", "waited 50ms", "max_connections"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q: no %q", text, part)
		}
	}
}

// A client that had its turn and could not connect keeps its place; one that goes
// away lets the next one try.
func TestQueueKeepsItsOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, tb *table, a *scriptAsker, views chan<- Sight) {
		a.answer = func(string) (route.Word, bool) { return primary(time.Hour), true }
		views <- Sight{View: viewOf("a")}
		synctest.Wait()
		s := newService("p", route.Policy{Access: route.ReadWrite, MaxConnections: 1})
		tb.services = append(tb.services, s)
		var tickets []*ticket
		for range 4 {
			tickets = append(tickets, s.ticket())
		}
		one := tb.take(s, tickets[0])
		if one.gate == nil {
			t.Fatal(one.why)
		}
		for _, tk := range tickets[1:] {
			if g := tb.take(s, tk); g.gate != nil || !g.full || !strings.Contains(g.why, "limit 1") {
				t.Fatalf("%+v", g)
			}
		}
		called := func(n int) {
			t.Helper()
			for i, tk := range tickets {
				select {
				case <-tk.turn:
					if i != n {
						t.Fatalf("%d is called, not %d", i, n)
					}
				default:
					if i == n {
						t.Fatalf("%d is not called", n)
					}
				}
			}
		}
		tb.give(s, one.gate, one.account) // it could not connect
		called(1)
		if g := tb.take(s, tickets[0]); g.gate == nil {
			t.Fatalf("who came first is not first again: %+v", g)
		}
		called(1)
		tb.quit(s, tickets[1])
		called(2)
		if g := tb.take(s, tickets[3]); g.gate != nil {
			t.Fatal("served before its turn")
		}
		tb.give(s, one.gate, one.account)
		called(2)
		if g := tb.take(s, tickets[2]); g.gate == nil {
			t.Fatal(g.why)
		}
		for _, tk := range tickets {
			tb.quit(s, tk)
		}
		if len(s.queue) != 0 {
			t.Errorf("%d are left in the queue", len(s.queue))
		}
	})
}
