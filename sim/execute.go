package sim

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// turn is one observation, one decision, and the carrying out of its actions.
func (a *agent) turn() {
	if a.m.host.hung { // it looks at the data directory
		a.plan(500 * time.Millisecond)
		return
	}
	a.turning, a.again = true, false
	a.tendGuard()
	o := a.observe()
	d := a.m.w.decide(o, a.mem)
	a.mem = d.Memory
	if ttl := d.Memory.Longest.TTL; ttl != 0 && a.m.storeSeen.id != "" {
		a.m.storeSeen.ttl = ttl
	}
	if o.Store.Known && d.Memory.StoreSure {
		a.m.storeSeen.unsure, a.m.storeSeen.lost, a.m.storeSeen.handover = false, false, ""
	}
	a.m.w.traceTurn(a, &o, &d)
	wake := d.WakeAfter // a closure that holds all of d costs a kilobyte a turn
	a.run(d.Actions, 0, nil, func() {
		a.turning = false
		a.publish()
		if a.again {
			a.wake()
			return
		}
		a.plan(wake)
	})
}

// tendGuard disarms the guard once the lease is gone and the server certainly
// does not write and is not about to; otherwise it would kill a standby. While
// the cluster is paused no guard stands over the server.
func (a *agent) tendGuard() {
	s, k := a.m.server, &a.keeper
	writes := !s.down() && s.role == ha.ServerPrimary || s.promote ||
		a.task.kind == ha.Promote || a.task.kind == ha.StartPrimary
	paused := a.snap != nil && a.snap.settings.Paused
	switch {
	case paused || !k.held && !k.taking && !writes:
		if a.m.guard.deadline != 0 || a.m.fence != 0 {
			k.disarm()
		}
	case k.held && k.armed == 0:
		k.arm(nil)
	}
	k.unguarded = paused
}

// run carries actions out in order. A fault may strike between any two.
func (a *agent) run(acts []ha.Action, i int, failed []ha.ActionKind, done func()) {
	for i < len(acts) && !acts[i].Kind.StillDone(failed) {
		i++
	}
	if i == len(acts) {
		done()
		return
	}
	act := &acts[i]
	epoch := a.epoch
	next := func() {
		a.doing = act.Kind
		a.m.w.stats.Acted.count(act.Kind)
		a.do(*act, func(ok bool) {
			if !ok {
				a.m.w.traceAs(told, "%s:   %s failed", a.m.name, act.Kind)
				failed = append(failed, act.Kind)
			}
			if after := a.after; after != nil {
				a.after = nil
				after()
			}
			if a.epoch != epoch {
				return
			}
			a.doing = ""
			a.run(acts, i+1, failed, done)
		})
	}
	if !a.struck(act.Kind) && !a.aimed(act.Kind) {
		next()
	} else if a.alive {
		a.in(a.epoch, next)
	}
}

// struck lets the fault that waits for a place between two actions strike.
func (a *agent) struck(k ha.ActionKind) bool {
	if a.cut == 0 {
		return false
	}
	a.cut--
	if a.cut > 0 {
		return false
	}
	a.m.w.stats.MidTurn++
	a.doing = k // it is what does not happen
	if a.cutPause == 0 {
		a.m.w.tracef("%s: agent is killed between two actions", a.m.name)
		a.kill()
	} else {
		a.m.w.tracef("%s: agent is stopped between two actions for %s", a.m.name, a.cutPause)
		a.stopFor(a.cutPause)
	}
	a.doing = ""
	return true
}

// do carries one action out; done is told whether it succeeded.
func (a *agent) do(x ha.Action, done func(bool)) {
	if x.Kind.IsTask() {
		done(a.begin(x))
		return
	}
	if x.Session != "" && x.Session != a.keeper.session {
		done(false)
		return
	}
	switch x.Kind {
	case ha.Reply, ha.DropScheduled:
		a.answer(x)
		done(true)
	case ha.Fence:
		a.fence(done)
	case ha.CancelTask:
		a.task.cancel()
		done(true)
	case ha.TakeLeader:
		a.lookAgain(func(ok bool) {
			if !ok {
				done(false)
				return
			}
			a.keeper.take(x.Session, done)
		})
	case ha.ReleaseLeader:
		a.release(x, done)
	case ha.AskPeers:
		a.ask(x.Names)
		done(true)
	case ha.AskFailsafe:
		a.askFailsafe(x.Failsafe)
		done(true)
	case ha.StopReceiver, ha.Follow:
		a.follow(x, done)
	case ha.SetSyncNames:
		a.setSyncNames(x.Names, done)
	case ha.KeepSlots:
		done(a.m.server.keepSlots(x.Slots))
	case ha.AcceptBootstrap, ha.DiscardBootstrap:
		done(a.settleBootstrap(x.Kind))
	case ha.AcceptRewind:
		a.m.server.unproven = false
		done(true)
	case ha.Exit:
		a.exit(x)
	default:
		a.write(x, done)
	}
}

// fence kills the server and waits for the proof.
func (a *agent) fence(done func(bool)) {
	a.m.w.stats.Fences++
	if a.m.w.opt.Mutant == Unfenced {
		done(true)
		return
	}
	a.task.cancel()
	a.later(a.m.w.upTo(a.m.w.cfg.kill), func() {
		a.m.server.kill()
		// Without room for standby.signal the kill is proven and the action failed.
		// The server provably writes no more: what is left of the lease goes at once.
		if a.keeper.held {
			a.keeper.release(func(bool) { done(!a.m.host.full) })
			return
		}
		done(!a.m.host.full)
	})
}

// release gives the lease up, the handover first, if the server does not write.
func (a *agent) release(x ha.Action, done func(bool)) {
	s := a.m.server
	if (!s.down() && s.role == ha.ServerPrimary || s.promote) && a.m.w.opt.Mutant != ReleaseUp || !a.keeper.held {
		done(false)
		return
	}
	if x.Handover.Leader == "" {
		a.keeper.release(done)
		return
	}
	seen := a.snap.view.Handover.Version
	a.call(func(st *store) error {
		if err := unchanged(st.view.Handover.Version, seen); err != nil {
			return err
		}
		st.view.Handover = x.Handover
		st.view.Handover.Version = st.next()
		st.handoverAt = a.m.w.now
		st.changed()
		return nil
	}, func(err error, _ int64) {
		if err != nil || !a.keeper.held {
			done(false)
			return
		}
		a.keeper.release(done)
	})
}

// follow points the standby elsewhere, or nowhere.
func (a *agent) follow(x ha.Action, done func(bool)) {
	s := a.m.server
	if s.role != ha.ServerStandby || s.proc != ha.ProcessRunning {
		done(false)
		return
	}
	if x.Kind == ha.StopReceiver && a.m.w.opt.Mutant == VoterStreams {
		done(true)
		return
	}
	life := s.life
	a.later(5*time.Millisecond+s.slow()+s.unheard(), func() {
		if s.life != life || s.deaf || s.still() || a.m.host.full {
			done(false)
			return
		}
		s.upstream = x.Upstream
		s.dropReceiver()
		if !s.upstream.IsZero() {
			s.reconnect(0)
		}
		a.again = true
		done(true)
	})
}

func (a *agent) setSyncNames(names []string, done func(bool)) {
	s := a.m.server
	life := s.life
	a.later(5*time.Millisecond+s.slow()+s.unheard(), func() {
		if s.life != life || s.deaf || s.still() || a.m.host.full {
			done(false)
			return
		}
		s.syncNames = slices.Clone(names)
		s.acknowledge()
		a.again = true
		done(true)
	})
}

func (a *agent) settleBootstrap(kind ha.ActionKind) bool {
	s := a.m.server
	if s.dir == ha.DirPresent {
		return kind == ha.AcceptBootstrap
	}
	if s.dir != ha.DirUnfinished || s.proc != ha.ProcessStopped {
		return false
	}
	if kind == ha.AcceptBootstrap {
		s.dir = ha.DirPresent
	} else {
		s.keepAside()
	}
	a.again = true
	return true
}

// exit ends the agent; the service manager starts it again later. A clean end
// takes the session along and the guard too.
func (a *agent) exit(x ha.Action) {
	a.m.w.tracef("%s: agent exits with %d: %s", a.m.name, x.Code, x.Why)
	id, m := a.keeper.session, a.m
	if x.Code == 0 && id != "" && !a.keeper.held { // a lease that a pause leaves to a primary runs out by itself
		m.w.net.send(m.index, m.w.store.node, func() {
			if !m.w.store.down {
				m.w.store.end(id)
			}
		})
	}
	if m.server.proc == ha.ProcessStopped {
		m.guard.die()
	}
	a.doing = "" // this is no interruption
	a.die()
	a.startAfter(m.w.cfg.restart)
}
