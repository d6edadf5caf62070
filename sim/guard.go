package sim

import (
	"github.com/matriarch-ha/matriarch/boot"
)

// guard is the process beside the agent that kills the server when the deadline
// it acknowledged last has passed. Past its deadline it goes on killing: a
// server that an agent started from a stale decision gets no further.
type guard struct {
	m        *member
	alive    bool
	life     int // counts starts
	paused   bool
	deadline boot.Instant // zero: not armed
	timer    uint64
	session  string // of the lease it stands for
	released string // the session that its helper gave up
	inbox    []func()
}

// start runs a new guard; it knows no deadline.
func (g *guard) start() {
	g.alive, g.paused, g.deadline, g.inbox = true, false, 0, nil
	g.life++
	g.timer++
}

func (g *guard) die() {
	g.alive, g.inbox, g.deadline = false, nil, 0
	g.timer++
	g.m.minds()
}

// do runs what the guard would do now, or when it runs again.
func (g *guard) do(fn func()) {
	switch {
	case !g.alive:
	case g.m.host.frozen:
		g.m.host.thawed(func() { g.do(fn) })
	case g.paused:
		g.inbox = append(g.inbox, fn)
	default:
		fn()
	}
}

func (g *guard) pause() {
	g.paused = true
	g.m.minds()
}

func (g *guard) resume() {
	g.paused = false
	g.m.minds()
	inbox := g.inbox
	g.inbox = nil
	for _, fn := range inbox {
		g.do(fn)
	}
}

// arm sets the deadline; ack is told when the guard has taken it.
// A session that it gave up is never extended.
func (g *guard) arm(session string, deadline boot.Instant, ack func()) {
	g.do(func() {
		if session == g.released {
			return
		}
		g.session = session
		if deadline > g.deadline {
			g.deadline = deadline
			g.m.raiseFence()
			g.plan()
		}
		ack()
	})
}

// disarm forgets the deadline.
func (g *guard) disarm(ack func()) {
	g.do(func() {
		g.deadline = 0
		g.m.liftFence()
		g.timer++
		ack()
	})
}

func (g *guard) plan() {
	if g.m.w.opt.Mutant == NoGuard {
		return
	}
	g.timer++
	timer := g.timer
	g.m.w.after(g.m.host.until(g.deadline), func() {
		if g.timer == timer {
			g.do(func() { g.expire(timer) })
		}
	})
}

// expire kills what runs, taking the time that a kill takes.
func (g *guard) expire(timer uint64) {
	if g.timer != timer || g.deadline == 0 || g.m.host.now() < g.deadline {
		return
	}
	if g.m.server.proc == "stopped" {
		return
	}
	g.m.w.after(g.m.w.upTo(g.m.w.cfg.kill), func() {
		g.do(func() {
			if g.timer != timer || g.m.server.proc == "stopped" {
				return
			}
			g.m.w.stats.Fences++
			g.m.w.tracef("%s: guard: the deadline has passed: kills the server", g.m.name)
			g.m.server.kill()
			g.m.liftFence()
			g.release()
		})
	})
}

// release lets a helper give the fenced lease up, by session; it may be slow,
// and if it fails the lease just runs out. The agent, if it lives, is told: it
// must never use that session again, since the helper may still be under way.
// Half of the worlds have no helper.
func (g *guard) release() {
	w, id, a := g.m.w, g.session, g.m.agent
	if w.cfg.helper == 0 {
		return
	}
	g.released = id
	a.in(a.epoch, func() {
		if a.keeper.session == id {
			a.keeper.gone()
			a.keeper.tick(0)
		}
	})
	w.after(w.upTo(w.cfg.helper), func() {
		if !g.m.host.up || g.m.host.frozen {
			return
		}
		w.net.send(g.m.index, w.store.node, func() {
			if !w.store.down {
				_ = w.store.releaseLeader(id, g.m.name, w.opt.Mutant == ReleaseByName)
			}
		})
	})
}

// serverStarts: a start past the deadline is undone.
func (g *guard) serverStarts() {
	if g.alive && g.deadline != 0 && g.m.w.opt.Mutant != NoGuard && g.m.host.now() >= g.deadline {
		timer := g.timer
		g.do(func() { g.expire(timer) })
	}
}
