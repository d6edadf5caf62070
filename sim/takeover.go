package sim

import (
	"errors"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

// How a new agent takes over the guard of the one before it, and with it the
// running server and the session, as packages guard (Claim) and lease (Adopt) do.
// Until that is settled it decides nothing.

// stoppingWait is how long an agent waits for a guard that stops the server.
const stoppingWait = 15 * time.Second

// claim asks the guard that has no agent to be taken over.
func (a *agent) claim() {
	g, answered := a.m.guard, false
	a.adopting = true
	a.m.minds()
	life := g.life
	g.do(func() {
		a.in(a.epoch, func() {
			if answered || g.life != life {
				return
			}
			answered = true
			g.notice()
			a.claimed(a.m.w.now + stoppingWait)
		})
	})
	if answered {
		return
	}
	a.later(2*time.Second, func() {
		if answered {
			return
		}
		// It does not answer, but its deadline stands: the server goes first.
		answered = true
		a.m.w.tracef("%s: the guard does not answer: its server is killed, and then it is", a.m.name)
		a.m.server.kill()
		g.die()
		a.comeUp()
	})
}

// claimed is the guard's word.
func (a *agent) claimed(until time.Duration) {
	g := a.m.guard
	w := g.watch
	w.Armed, w.Hard = g.deadline != 0, g.deadline
	switch {
	case w.MayClaim(a.now()) && a.m.server.primary() && g.lease.session != g.released:
		g.hasAgent()
		g.watch.Claimed = true
		g.plan()
		if a.m.w.opt.Mutant == AdoptBlind {
			a.heir(g.lease, "", fence.Compute(a.now(), g.lease.granted, a.keeper.budget()))
			return
		}
		a.prove(g.lease)
	case g.alive && (w.Asked || w.Fencing) && a.m.w.now < until:
		a.later(100*time.Millisecond, func() { a.claimed(until) })
	case w.MayClaim(a.now()):
		// No server to go on with, and what the former agent knew is gone with it: a
		// session that lived on would keep the keys of what it had begun, such as the
		// claim of a bootstrap.
		g.hasAgent()
		g.watch.Claimed = true
		a.disown(errors.New("no primary runs"))
	default:
		g.hasAgent()
		a.comeUp()
	}
}

// primary reports whether the server accepts writes, or is about to.
func (s *server) primary() bool {
	return s.role == ha.ServerPrimary && (s.proc == ha.ProcessRunning || s.proc == ha.ProcessStarting)
}

// prove asks the store whether the session lives and the leader key is its own,
// for as long as the lease surely lasts.
func (a *agent) prove(of trusted) {
	sent := a.now()
	again := func(err error) {
		if a.now() >= a.m.guard.watch.Soft || !a.m.guard.alive || errors.Is(err, dcs.ErrSessionGone) {
			a.disown(err)
			return
		}
		a.later(100*time.Millisecond, func() { a.prove(of) })
	}
	a.callFor(a.m.w.cfg.requestTimeout, func(s *store) error {
		if s.life != of.life {
			return dcs.ErrSessionGone
		}
		return s.renew(of.session)
	}, func(err error, _ int64) {
		if err != nil {
			again(err)
			return
		}
		a.load(func(x *snapshot, err error) {
			switch {
			case err != nil:
				again(err)
			case x.view.Leader.Session != of.session || x.view.Leader.Name != a.m.name:
				a.disown(dcs.ErrConflict)
			default:
				a.heir(of, x.view.Leader.Version, fence.Compute(sent, of.granted, a.keeper.budget()))
			}
		})
	})
}

// heir goes on with the lease.
func (a *agent) heir(of trusted, version cluster.Version, d fence.Deadlines) {
	k, g := &a.keeper, a.m.guard
	if !g.alive {
		a.disown(errors.New("the guard is gone"))
		return
	}
	k.session, k.life, k.granted, k.term.Store, k.term.Guard = of.session, of.life, of.granted, d, d.Hard
	k.held, k.version, k.sight, k.armed = true, version, fence.Sight{}, 0
	a.guardOK = true
	k.arm(func(ok bool) {
		if !ok || !k.held || !k.term.Store.Live(a.now()) {
			k.gone()
			a.disown(errors.New("the guard did not take the new deadline"))
			return
		}
		a.m.w.stats.TakeOvers++
		a.m.w.tracef("%s: agent goes on with the lease of the one before, session %s", a.m.name, of.session)
		a.comeUp()
	})
}

// disown: it cannot go on. The guard kills the server now and sees to the session.
func (a *agent) disown(err error) {
	if !a.adopting {
		return
	}
	a.m.w.tracef("%s: agent cannot go on with the lease of the one before: %v", a.m.name, err)
	g := a.m.guard
	g.do(func() {
		if g.deadline != 0 && g.watch.Claimed {
			g.watch.Fencing = true
			g.plan()
		}
	})
	a.comeUp()
}

// begin is the ordinary life of an agent.
func (a *agent) comeUp() {
	a.adopting = false
	if a.m.leftRunning {
		// Whatever has become of the pause meanwhile: it has its first look and the
		// time of a fence.
		a.m.grace = max(a.m.grace, a.m.w.now+a.m.w.cfg.kill+1500*time.Millisecond)
		a.m.pauseGrace = a.m.grace
		// Where no guard stands over the server, none does before the first turn.
		a.keeper.unguarded = a.m.guard.deadline == 0
	}
	a.m.minds()
	a.startGuard()
	a.keeper.start()
	a.reload(0)
	a.wake()
}
