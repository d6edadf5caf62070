package sim

import (
	"slices"
	"time"
)

// schedule plans the faults that are not dropped.
func (w *world) schedule(faults []Fault) {
	for i, f := range faults {
		if slices.Contains(w.opt.Drop, i) {
			continue
		}
		w.after(f.At, func() { w.strike(i, f) })
	}
}

// leader is whoever holds the lease now, or any member.
func (w *world) leader() *member {
	if m := w.member(w.store.view.Leader.Name); m != nil {
		return m
	}
	return w.members[0]
}

func (w *world) target(i int) *member {
	if i < 0 {
		return w.leader()
	}
	return w.members[i]
}

// unguarded: the pause has just ended for the member, and no guard is armed yet.
// An agent that fails now leaves a server that nobody may stop.
func (w *world) unguarded(m *member, k FaultKind) bool {
	switch k {
	case AgentKill, AgentPause, AgentStarve, AgentMidKill, AgentMidStop, Stutter:
		return w.now < m.pauseGrace
	}
	return false
}

// strike makes one fault happen.
func (w *world) strike(i int, f Fault) {
	m := w.target(f.A)
	if m.gone || w.unguarded(m, f.Kind) {
		return
	}
	w.stats.Faults++
	w.tracef("FAULT %d: %s (%s)", i, f, m.name)
	heal := func(fn func()) {
		w.after(f.Lasts, func() {
			if w.ceased == 0 {
				w.tracef("fault %d ends", i)
				fn()
			}
		})
	}
	a := m.agent
	switch f.Kind {
	case AgentKill:
		a.kill()
	case AgentPause:
		a.pause()
		heal(a.resume)
	case AgentStarve:
		a.starved = 3 * time.Second
		m.minds()
		heal(func() {
			a.starved = 0
			m.minds()
		})
	case AgentMidKill:
		a.cut, a.cutPause = f.N, 0
	case AgentMidStop:
		a.cut, a.cutPause = f.N, f.Lasts
	case AgentStop:
		if a.alive {
			a.stopping = true
			a.in(a.epoch, a.wake)
		}
	case Stutter:
		m.stutters = append(m.stutters, func() { w.stutter(m, f.Lasts) })
	case GuardKill:
		m.struck = m.server.life
		m.guard.die()
		a.guardDied()
	case GuardPause:
		m.struck = m.server.life
		m.guard.pause()
		heal(m.guard.resume)
	case ServerCrash:
		m.server.kill()
	case HostOff:
		m.host.powerOff()
		heal(m.host.powerOn)
	case HostFreeze:
		w.freeze(m, heal)
	case StoreOutage, StoreLeader:
		w.store.fail()
		heal(w.store.recover)
	case LoseReplies:
		m.loseReplies++
		heal(func() { m.loseReplies-- })
	case SlowDisk:
		m.host.slowDisk = 8 * time.Second / time.Duration(f.N)
		heal(func() { m.host.slowDisk = 0 })
	case AskSwitchover, AskFailover, AskPause, AskSync:
		w.request(f, heal)
	case WriteLeader:
		w.store.handwritten = m.name
	case AskRestart, AskReinit:
		a.asked(f)
	case CutPair, CutOneWay, CutStore, Isolate, SlowNet:
		w.strikeNet(f, m, heal)
	case VoterDown:
		w.voters.strike(f, m, heal)
	default:
		if !w.strikeStore(f, m, heal) && !w.strikeEntry(f, m, heal) && !w.strikeMoment(f, m, heal) {
			w.strikeNewer(f, m, heal)
		}
	}
}

// stutter stops the agent right after it sent a renewal, lets it go on, and
// cuts it off from the store.
func (w *world) stutter(m *member, d time.Duration) {
	w.tracef("%s: agent is stopped for %s with a renewal under way", m.name, d)
	a, epoch := m.agent, m.agent.epoch
	a.pause()
	w.after(d, func() {
		if a.epoch == epoch {
			a.resume()
		}
		if w.ceased > 0 {
			return
		}
		w.net.cut(m.index, w.store.node, 1)
		w.after(w.cfg.settings.TTL*3/2, func() {
			if w.ceased == 0 {
				w.net.cut(m.index, w.store.node, -1)
			}
		})
	})
}

// stutter lets the faults strike that wait for a renewal to be under way.
func (a *agent) stutter() {
	m := a.m
	if len(m.stutters) == 0 || !a.keeper.held || m.w.unguarded(m, Stutter) {
		return
	}
	fn := m.stutters[0]
	m.stutters = m.stutters[1:]
	m.w.after(0, fn)
}

func (w *world) freeze(m *member, heal func(func())) {
	if !m.host.up {
		return
	}
	m.host.freeze()
	heal(func() {
		// Until the guard has run after the thaw, asynchronous commits of direct
		// clients may still be acknowledged: documented.
		m.grace = w.now + w.cfg.kill + 100*time.Millisecond
		m.host.thaw()
		w.after(w.cfg.kill+150*time.Millisecond, w.check.leaderChanged)
	})
}
