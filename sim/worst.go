package sim

import (
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
)

// People whose wishes come at the worst moment.

// when lets fn happen as soon as a condition holds, if that is within a minute.
func (w *world) when(holds func() bool, fn func()) {
	until := w.now + time.Minute
	var look func()
	look = func() {
		switch {
		case w.ceased > 0 || w.now > until:
		case holds():
			fn()
		default:
			w.after(15*time.Millisecond, look)
		}
	}
	look()
}

// worst makes one of them happen.
func (w *world) worst(f Fault, m *member, heal func(func())) {
	s := w.store
	fault := func(k FaultKind, n int) Fault { return Fault{Kind: k, A: m.index, B: f.B, N: n, Lasts: f.Lasts} }
	switch f.N {
	case 1: // a switchover, and the leader dies
		lead := w.leader()
		w.request(fault(AskSwitchover, 3), heal)
		if w.more.IntN(2) == 0 {
			w.after(w.moreUpTo(600*time.Millisecond), lead.server.kill)
		} else {
			w.cutPower(lead, w.moreUpTo(600*time.Millisecond), f.Lasts)
		}
	case 2: // a restart, or a new copy, of the one that is being promoted
		w.when(func() bool { return w.promoting() != nil }, func() {
			kind := AskRestart
			if w.more.IntN(3) == 0 {
				kind = AskReinit
			}
			w.promoting().agent.asked(fault(kind, 1+w.more.IntN(4)))
		})
	case 3: // a pause, and the leader's host goes
		if s.down || !s.view.Config.Present {
			return
		}
		s.pause(true)
		lead := w.leader()
		w.cutPower(lead, w.moreUpTo(2*time.Second), f.Lasts)
		heal(func() { s.pause(false) })
	case 4: // a failover to somebody, right when the lease ends
		lapses := s.lapses
		w.when(func() bool { return s.lapses > lapses }, func() {
			w.request(fault(AskFailover, 1), heal)
			w.members[(m.index+1)%len(w.members)].agent.asked(fault(AskReinit, 4))
		})
	default: // another configuration, right when the lease ends
		lapses := s.lapses
		w.when(func() bool { return s.lapses > lapses }, func() {
			w.reconfigure(fault(AskConfig, 1+w.more.IntN(5)))
			w.request(fault(AskSync, 1), heal)
		})
	}
}

// promoting is a member whose server was told to become a primary.
func (w *world) promoting() *member {
	for _, m := range w.members {
		if m.server.promote || m.agent.task.kind == ha.Promote {
			return m
		}
	}
	return nil
}

// reconfigure changes a dynamic setting.
func (w *world) reconfigure(f Fault) {
	s := w.store
	if s.down || !s.view.Config.Present {
		return
	}
	c := &s.settings
	pick := func(ds ...time.Duration) time.Duration { return ds[w.more.IntN(len(ds))] }
	switch f.N {
	case 1:
		c.TTL = pick(8*time.Second, 12*time.Second, 20*time.Second, 30*time.Second, 45*time.Second)
		c.LoopWait = min(c.LoopWait, c.TTL/3)
		w.cfg.shortest, w.cfg.longest = min(w.cfg.shortest, c.TTL), max(w.cfg.longest, c.TTL)
	case 2:
		c.LoopWait = min(pick(time.Second, 3*time.Second, 10*time.Second), c.TTL/3)
	case 3:
		c.MaxLagOnFailover = uint64(pick(0, 2000, 20000, 1<<20))
		w.cfg.lag = max(w.cfg.lag, c.MaxLagOnFailover)
		c.CheckTimeline = !c.CheckTimeline
	case 4:
		c.PrimaryStartTimeout = pick(0, 2*time.Second, 60*time.Second)
		c.UsePgRewind = !c.UsePgRewind
	default:
		c.UseSlots = !c.UseSlots
		c.RecloneOnDivergence = !c.RecloneOnDivergence
	}
	c.RetryTimeout = min(c.RetryTimeout, (c.TTL-c.LoopWait)/2)
	w.tracef("the configuration is now %+v", *c)
	w.stats.Seen.Reconfigured++
	s.view.Config.Version = s.next()
	s.changed()
}

// ttl is the length of lease that the agent's configuration asks for.
func (a *agent) ttl() time.Duration {
	if a.snap != nil && a.snap.view.Config.Present {
		return a.snap.settings.TTL
	}
	return a.m.w.cfg.settings.TTL
}

// forget removes a member's key, as a person does with one that is gone.
func (s *store) forget(name string) {
	var members []cluster.Member
	var at []string
	for i, m := range s.view.Members {
		if m.Name != name {
			members, at = append(members, m), append(at, s.snap.memberAt[i])
		}
	}
	s.view.Members = members
	s.commit(at, s.snap.owner)
}
