package sim

import (
	"math/rand/v2"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/route"
)

// entrypoint is what package proxy does around package route: it follows the
// store's view, asks the leader how long its lease lasts, and lets sessions
// through as long as route says. What it decides is all route's.
type entrypoint struct {
	w      *world
	node   int
	rng    *rand.Rand // of its own: clients do not change the course of members
	rate   float64    // of its clock
	origin boot.Instant

	snap    *snapshot
	watch   *watcher
	words   []route.Word // by member
	fails   []bool       // the last question was not answered
	asks    []int        // counts the questions to each member
	open    route.Permission
	target  *member // of open
	session int     // counts permissions: sessions end with theirs
	pace    route.Pace
	timer   int

	stopped  bool
	inbox    []func()
	stutters []func() // wait for a question to be under way
	resumed  time.Duration

	// opened is told that sessions are possible again.
	opened func()
}

func newEntrypoint(w *world, seed uint64) *entrypoint {
	e := &entrypoint{w: w, node: w.cfg.members + 1, rng: rand.New(rand.NewPCG(seed, 5)), snap: w.store.snap,
		pace: route.Pace{Interval: time.Second, Timeout: 2 * time.Second}}
	e.rate = 1 + 0.002*(2*e.rng.Float64()-1)
	e.origin = boot.Instant(time.Second) + boot.Instant(e.upTo(1000*time.Hour))
	n := w.cfg.members
	e.words, e.fails, e.asks = make([]route.Word, n), make([]bool, n), make([]int, n)
	return e
}

func (e *entrypoint) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(e.rng.Int64N(int64(d) + 1))
}

// now is the entrypoint's own boot clock.
func (e *entrypoint) now() boot.Instant {
	return e.origin.Add(time.Duration(float64(e.w.now) * e.rate))
}

// send is network.send with delays of the entrypoint's own drawing.
func (e *entrypoint) send(from, to int, deliver func()) {
	n := e.w.net
	if !n.open(from, to) {
		return
	}
	d := 200*time.Microsecond + e.upTo(2*time.Millisecond) + e.upTo(n.link(from, to).extra)
	e.w.after(d, func() {
		switch {
		case !n.open(from, to):
		case to == e.node:
			e.in(deliver)
		default:
			deliver()
		}
	})
}

// after is world.after for the entrypoint's process.
func (e *entrypoint) after(d time.Duration, fn func()) { e.w.after(d, func() { e.in(fn) }) }

func (e *entrypoint) start() {
	e.watch = e.w.store.watch(e.node, func(x *snapshot) { e.in(func() { e.see(x) }) }, func() { e.w.after(time.Second, e.start) })
	e.watch.changed()
}

// see takes a view.
func (e *entrypoint) see(x *snapshot) {
	before, after := e.snap.view.Leader.Name, x.view.Leader.Name
	if m := e.w.member(after); m != nil && route.Forgets(e.snap.view, x.view, e.open.Backend.Member) {
		e.words[m.index] = route.Word{}
	}
	e.snap = x
	e.refresh()
	if before != after {
		e.ask(after)
		e.ask(before)
	}
}

func (e *entrypoint) query() route.Query {
	q := route.Query{Now: e.now(), View: e.snap.view, Policy: route.Policy{Access: route.ReadWrite}}
	for i, w := range e.words {
		if name := names[i]; !w.Asked.IsZero() && route.Leads(e.snap.view, e.open.Backend.Member, name) {
			q.Words = append(q.Words, w)
		}
	}
	return q
}

// refresh derives the permission anew.
func (e *entrypoint) refresh() {
	q := e.query()
	if e.target != nil {
		r := q.Review(e.open)
		if e.w.opt.Mutant == EntryForever {
			r = route.Ruling{Keep: true, Until: q.Now.Add(time.Hour)}
		}
		if r.Keep {
			e.open.Until = r.Until
			e.atDeadline()
			return
		}
		e.w.traceAs(told, "entrypoint: the sessions to %s end: %s %s", e.target.name, r.Why, r.Detail)
		e.open, e.target = route.Permission{}, nil
	}
	c := route.Pick(q)
	if !c.OK {
		return
	}
	e.open, e.target = route.Permission{Backend: c.Backend, Until: c.Until}, e.w.member(c.Backend.Member)
	e.session++
	e.w.traceAs(told, "entrypoint: %s", c.Why)
	e.atDeadline()
	e.opened()
}

// atDeadline looks again when the permission ends.
func (e *entrypoint) atDeadline() {
	e.timer++
	timer := e.timer
	e.after(time.Duration(float64(e.open.Until.Sub(e.now()))/e.rate)+1, func() {
		if e.timer == timer && e.target != nil {
			e.refresh()
		}
	})
}

// ask puts a question to a member whose lease matters, in place of one that is
// under way, and goes on asking.
func (e *entrypoint) ask(name string) {
	m := e.w.member(name)
	if m == nil {
		return
	}
	i := m.index
	e.asks[i]++
	if !route.Leads(e.snap.view, e.open.Backend.Member, name) {
		return
	}
	ask, asked := e.asks[i], e.now()
	settle := func(word route.Word, ok bool) {
		if e.asks[i] != ask {
			return
		}
		e.asks[i]++
		next := e.asks[i]
		e.fails[i] = !ok
		if ok {
			if e.w.opt.Mutant == EntryReply {
				asked = e.now()
			}
			word.Asked, word.TTL = asked, route.TTL(e.snap.view)
			e.words[i] = word
			e.refresh()
		}
		d := e.pace.Next(e.now(), e.snap.view, e.open, name, e.words[i], ok)
		e.after(d, func() {
			if e.asks[i] == next {
				e.ask(name)
			}
		})
	}
	e.after(e.pace.Patience(asked, e.open, name), func() { settle(route.Word{}, false) })
	e.send(e.node, i, func() {
		if !m.host.up {
			return
		}
		if !m.agent.alive {
			e.send(i, e.node, func() { settle(route.Word{}, false) })
			return
		}
		m.agent.in(m.agent.epoch, func() {
			word := m.agent.leaseWord()
			e.send(i, e.node, func() { settle(word, true) })
		})
	})
	e.stutter(m)
}

// leaseWord is what an agent answers of its lease, as GET /lease does.
func (a *agent) leaseWord() route.Word {
	k, s := &a.keeper, a.m.server
	w := route.Word{Member: a.m.name, Name: a.m.name, Role: cluster.RoleReplica, State: a.state(), Leased: true, Session: k.session}
	if s.role == ha.ServerPrimary && s.proc == ha.ProcessRunning {
		w.Role = cluster.RolePrimary
	}
	if now := a.now(); k.held && k.term.Until().Live(now) {
		w.Remaining = k.term.Until().Soft.Sub(now).Truncate(time.Millisecond)
	}
	return w
}

// backend returns the member that sessions go to now.
func (e *entrypoint) backend() *member {
	if e.target == nil || e.stopped || e.now() >= e.open.Until {
		return nil
	}
	return e.target
}

// alive: bytes of the session still pass.
func (e *entrypoint) alive(session int) bool { return e.session == session && e.backend() != nil }
