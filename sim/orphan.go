package sim

import (
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// The kernel-timed fence, and what is left when agent and guard of a host fail
// together. See doc.go of package guard for what the fence does.

// raiseFence: the kernel has the deadline before the guard acknowledges it.
func (m *member) raiseFence() {
	if m.w.cfg.wide.kernelFence && m.w.opt.Mutant != NoFence {
		m.fence = m.guard.deadline
	}
}

func (m *member) liftFence() { m.fence = 0 }

// closed: what the server's port sends is dropped.
func (m *member) closed() bool { return m.fence != 0 && m.host.now() >= m.fence }

// minds keeps count of whether anybody on the host can stop its server. It is
// called whenever that may have changed.
//
// The exemption is as narrow as this: a fault took the guard in this very life of
// the server (or stopped it before, so that the agent could not know yet when it
// started the server again), and from then on there was an instant at which no guard with a
// deadline could run and no agent could. Until one can again, and has had the
// time of a kill, the server may accept writes without a lease; what a client
// that came past the entrypoint is told is then worth nothing if its commit
// waited for no standby. Where the kernel's fence stands, nobody is told
// anything, and there is no exemption for that.
func (m *member) minds() {
	g, a := m.guard, m.agent
	guarded := g.alive && !g.paused && g.deadline != 0
	acts := a != nil && a.alive && !a.paused && a.starved == 0 && !a.adopting && !m.host.hung
	orphan := m.host.up && (m.struck == m.server.life || g.paused) && m.server.proc != ha.ProcessStopped && !guarded && !acts
	if m.orphan && !orphan {
		// A guard that just runs again has its kill before it, an agent that starts
		// its first look.
		d := m.w.cfg.kill + 1500*time.Millisecond
		m.alone = m.w.now + d
		m.w.after(d+50*time.Millisecond, m.w.check.leaderChanged)
	}
	if orphan && !m.orphan {
		m.w.stats.Seen.Orphans++
		m.w.tracef("%s: neither guard nor agent can act", m.name)
	}
	m.orphan = orphan
}

// orphaned: nobody could stop the server, or could until right now.
func (m *member) orphaned() bool { return m.orphan || m.w.now < m.alone }

// orphan takes agent and guard away together: one after the other, within a
// lease.
func (w *world) orphan(f Fault, m *member, heal func(func())) {
	a, g := m.agent, m.guard
	m.struck = m.server.life
	if f.N > 2 {
		a.pause()
		heal(a.resume)
	} else {
		a.kill()
	}
	if f.N%2 == 0 {
		g.pause()
		heal(g.resume)
		m.minds()
		return
	}
	w.after(w.moreUpTo(w.cfg.settings.TTL/2), func() {
		if w.ceased == 0 && g.alive {
			m.struck = m.server.life
			g.die()
			a.guardDied()
		}
	})
}
