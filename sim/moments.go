package sim

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Faults that last, or that come at a moment that chance hardly hits.
const (
	// NoPromote: the member's promotions fail from now on, until the faults cease.
	NoPromote FaultKind = "no-promotion"
	// StopPromoted: whoever is promoted next is told to stop around that moment.
	StopPromoted FaultKind = "agent-stop-at-promotion"
	// FailsafeOff: failsafe_mode is switched off while the leader is cut off from the
	// store.
	FailsafeOff FaultKind = "failsafe-off"
)

var momentKinds = [...]struct {
	kind  FaultKind
	lasts time.Duration
}{{NoPromote, 0}, {StopPromoted, 0}, {FailsafeOff, 40 * time.Second}}

// moments draws from a source of its own; seven of eight worlds have none of these.
func moments(seed uint64, cfg worldConfig, opt Options) (out []Fault) {
	r := rand.New(rand.NewPCG(seed, 0x6d6f6d656e74))
	if opt.Plain || opt.Focus == nil && r.IntN(8) > 0 {
		return nil
	}
	for _, k := range momentKinds {
		if opt.Focus == nil && r.IntN(2) == 0 || opt.Focus != nil && !opt.focuses(k.kind) {
			continue
		}
		for range 1 + r.IntN(3) {
			f := Fault{At: time.Duration(r.Int64N(int64(cfg.safety))), Kind: k.kind, A: r.IntN(cfg.members), N: 1 + r.IntN(5)}
			if k.lasts > 0 {
				f.Lasts = 100*time.Millisecond + time.Duration(r.Int64N(int64(k.lasts)))
			}
			out = append(out, f)
		}
	}
	return out
}

// strikeMoment makes one of them happen; it reports whether it was one.
func (w *world) strikeMoment(f Fault, m *member, heal func(func())) bool {
	switch f.Kind {
	case NoPromote:
		m.fails.promotes, w.unpromoted = 1<<30, true
	case StopPromoted:
		w.when(func() bool { return w.promoting() != nil }, func() {
			a := w.promoting().agent
			w.after(w.moreUpTo(2*w.cfg.promote), func() {
				if a.alive && w.ceased == 0 {
					w.tracef("%s: the agent is told to stop", a.m.name)
					a.stopping = true
					a.in(a.epoch, a.wake)
				}
			})
		})
	case FailsafeOff:
		w.failsafeOff(f, heal)
	default:
		return false
	}
	return true
}

// backOff is how long the only member that may lead may wait after a promotion that
// failed right before the faults ceased.
func (w *world) backOff() time.Duration {
	if w.unpromoted {
		return 11 * time.Second
	}
	return 0
}

// failsafeOff: a person changes the configuration while the leader cannot see it,
// and looks whether it has heard of that before a ttl is over. Whom its list does
// not name may lead then, so the person takes the change back if it has not.
func (w *world) failsafeOff(f Fault, heal func(func())) {
	lead, s := w.leader(), w.store
	if !w.cfg.settings.Failsafe || !s.view.Config.Present {
		return
	}
	cut := func(by int) {
		w.net.cut(lead.index, s.node, by)
		w.net.cut(s.node, lead.index, by)
	}
	cut(1)
	heal(func() { cut(-1) })
	w.after(w.moreUpTo(f.Lasts), func() {
		if s.down || w.ceased > 0 {
			return
		}
		s.failsafe(false)
		w.after(w.cfg.shortest*3/4, func() {
			if f.N > 3 || w.unaware() {
				s.failsafe(true)
			}
		})
	})
}

// unaware: a primary does not know yet that failsafe_mode is off.
func (w *world) unaware() bool {
	return slices.ContainsFunc(w.members, func(m *member) bool {
		return m.server.writable() && (m.agent.snap == nil || m.agent.snap.settings.Failsafe)
	})
}

// failsafe switches the mode on or off.
func (s *store) failsafe(on bool) {
	s.w.tracef("failsafe_mode is switched to %t", on)
	s.settings.Failsafe = on
	s.view.Config.Version = s.next()
	s.changed()
}
