package sim

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

// guard is the process beside the agent that kills the server when the deadline
// it acknowledged last has passed. What is due when, fence.Watch says, as for the
// real one. Past its deadline it goes on killing: a server that an agent started
// from a stale decision gets no further.
type guard struct {
	m        *member
	alive    bool
	life     int // counts starts
	killing  int // the life in which a kill is under way
	paused   bool
	deadline boot.Instant // zero: not armed
	watch    fence.Watch  // but for Armed and Hard
	left     bool         // its agent is gone, whether it has noticed or not
	timer    uint64
	lease    trusted // that it stands for
	released string  // the session that its helper gave up
	inbox    []func()
}

// trusted is what a guard is told of a lease, to be handed to another agent or
// to the helper.
type trusted struct {
	session string
	life    int // of the store
	granted time.Duration
}

// start runs a new guard; it knows no deadline.
func (g *guard) start() {
	g.alive, g.paused, g.deadline, g.inbox = true, false, 0, nil
	g.watch, g.left = fence.Watch{}, false
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

// arm sets the deadline; ack is told when the guard has taken it. A session that
// it gave up is never extended, nor a lease whose server is being stopped.
func (g *guard) arm(of trusted, d fence.Deadlines, ack func()) {
	g.do(func() {
		if of.session != "" && of.session == g.released || g.watch.Asked || g.watch.Fencing {
			return
		}
		g.lease = of
		if g.m.w.opt.Mutant == GuardReceipt {
			d.Hard = g.m.host.now().Add(d.Hard.Sub(d.Sent))
		}
		if d.Hard > g.deadline {
			g.deadline, g.watch.Soft, g.watch.Claimed = d.Hard, d.Soft, false
			g.m.raiseFence()
			g.plan()
		}
		ack()
	})
}

// void: the lease was lost before its deadline, and the server has none any more.
// No session is told with that word: the helper ends none.
func (g *guard) void() {
	m := g.m
	if m.w.opt.Mutant != NoVoid {
		g.do(func() {
			if now := m.host.now(); g.deadline > now {
				g.deadline, g.lease.session = now, ""
				m.raiseFence()
				g.plan()
			}
		})
	}
	// Who was robbed has learned of it: from here on it is not excused for longer
	// than a kill takes, and the way of what was acknowledged before.
	if g.alive && !g.paused && g.deadline != 0 {
		m.robbed = min(m.robbed, m.w.now+m.w.cfg.kill+1500*time.Millisecond)
	}
}

// disarm forgets the deadline.
func (g *guard) disarm(ack func()) {
	g.do(func() {
		g.deadline = 0
		g.m.liftFence()
		g.watch.Claimed, g.watch.Asked, g.watch.Fencing = false, false, false
		g.timer++
		ack()
	})
}

// next is what is due now.
func (g *guard) next() (fence.Act, boot.Instant) {
	w := g.watch
	w.Armed, w.Hard = g.deadline != 0, g.deadline
	return w.Next(g.m.host.now(), g.m.w.model.alone())
}

func (g *guard) plan() {
	if m := g.m.w.opt.Mutant; m == NoGuard || m == Unfenced {
		return
	}
	g.timer++
	timer := g.timer
	act, at := g.next()
	switch {
	case act == fence.Stop || act == fence.Kill:
		at = g.m.host.now()
	case at == 0:
		return
	}
	g.m.w.after(g.m.host.until(at), func() {
		if g.timer == timer {
			g.do(func() { g.act(timer) })
		}
	})
}

// act does what is due.
func (g *guard) act(timer uint64) {
	if g.timer != timer || g.deadline == 0 {
		return
	}
	switch act, _ := g.next(); act {
	case fence.Kill:
		g.kill()
	case fence.Stop:
		g.stop()
	default:
		g.plan()
	}
}

// kill kills what runs, taking the time that a kill takes. Nothing that happens
// meanwhile holds it up: the real guard does nothing else until it has its proof.
func (g *guard) kill() {
	if g.m.server.proc == ha.ProcessStopped {
		g.ended()
		return
	}
	if g.killing == g.life {
		return
	}
	g.killing = g.life
	life := g.life
	g.m.w.after(g.m.w.upTo(g.m.w.cfg.kill), func() {
		g.do(func() {
			if g.life != life {
				return
			}
			g.killing = 0
			if g.deadline == 0 {
				return // the server does not write: the agent has proven it
			}
			if g.m.server.proc == ha.ProcessStopped {
				g.ended()
				return
			}
			g.m.w.stats.Fences++
			g.m.w.tracef("%s: guard: the deadline has passed: kills the server", g.m.name)
			g.m.server.kill()
			g.m.liftFence()
			g.forget()
			g.release()
		})
	})
}

// forget: the server is gone, and what was begun is done. The deadline stays.
func (g *guard) forget() { g.watch.Claimed, g.watch.Asked, g.watch.Fencing = false, false, false }

// serverStarts: a start past the deadline is undone.
func (g *guard) serverStarts() {
	if g.alive && g.deadline != 0 && g.m.w.opt.Mutant != NoGuard && g.m.w.opt.Mutant != Unfenced && g.m.host.now() >= g.deadline {
		timer := g.timer
		g.do(func() { g.act(timer) })
	}
}

// lost: the agent's end of the socket is closed.
func (g *guard) lost() {
	if !g.m.w.model.takeOver {
		return
	}
	g.left = true
	g.do(g.notice)
}

// notice is when it sees that.
func (g *guard) notice() {
	if !g.left || g.watch.Alone {
		return
	}
	g.watch.Alone, g.watch.Claimed, g.watch.Since = true, false, g.m.host.now()
	if g.deadline != 0 {
		g.plan()
	}
}

// hasAgent: another agent took it over.
func (g *guard) hasAgent() { g.left, g.watch.Alone = false, false }

// stop asks the server that nobody took over for a fast shutdown.
func (g *guard) stop() {
	w, s := g.m.w, g.m.server
	g.watch.Asking(g.m.host.now(), w.model.alone())
	w.stats.GuardStops++
	w.tracef("%s: guard: no agent took the server over: asks for a shutdown", g.m.name)
	if w.opt.Mutant == ReleaseEarly {
		g.release()
	}
	life := g.life
	ended := func(error) {
		g.do(func() {
			if g.life == life && g.watch.Asked {
				g.ended()
			}
		})
	}
	switch s.proc {
	case ha.ProcessStopped:
		g.ended()
		return
	case ha.ProcessRunning:
		g.m.agent.stopServer(ha.Action{Kind: ha.Stop}, ended)
	default: // stopping already, or not there yet: the shutdown is as good as a crash
		s.onDeath(s.life, func() { ended(nil) })
		if s.proc == ha.ProcessStarting {
			s.later(w.upTo(w.cfg.kill), s.life, s.die)
		}
	}
	g.plan()
}

// ended: nothing of the server runs any more. That proves it; only then the
// session may be ended.
func (g *guard) ended() {
	if g.m.server.proc != ha.ProcessStopped {
		return
	}
	due := g.watch.Asked || g.watch.Fencing
	g.forget()
	if !due {
		return
	}
	g.m.liftFence()
	// As standby.signal does: what is started from here on does not write.
	g.deadline = min(g.deadline, g.m.host.now())
	g.timer++
	g.release()
}

// release lets a helper end the session of the fenced lease; it may be slow, or
// not come about, and then the lease just runs out. The agent, if it lives, is
// told: it must never use that session again, since the helper may still be under
// way.
func (g *guard) release() {
	w, of, a := g.m.w, g.lease, g.m.agent
	late := w.cfg.helper
	if w.model.takeOver {
		late = w.model.helper
	}
	if late == 0 || of.session == "" || g.released == of.session && w.opt.Mutant != ReleaseEarly {
		return
	}
	g.released = of.session
	a.in(a.epoch, func() {
		if a.keeper.session == of.session {
			a.keeper.gone()
			a.keeper.tick(0)
		}
	})
	if w.model.takeOver {
		if w.model.rng.IntN(4) < w.model.helperOut {
			return
		}
		w.after(w.model.upTo(late), func() { g.help(of) })
		return
	}
	w.after(w.upTo(late), func() { g.help(of) })
}

// help is the helper's one act.
func (g *guard) help(of trusted) {
	w := g.m.w
	if !g.m.host.up || g.m.host.frozen {
		return
	}
	w.net.send(g.m.index, w.store.node, func() {
		switch s := w.store; {
		case s.down || s.life != of.life:
		case w.opt.Mutant == ReleaseByName || !w.model.takeOver:
			_ = s.releaseLeader(of.session, g.m.name, w.opt.Mutant == ReleaseByName)
		case s.sessions[of.session] != nil:
			w.stats.Released++
			w.tracef("store: the helper of %s's guard ends session %s", g.m.name, of.session)
			s.end(of.session)
		}
	})
}
