package sim

import (
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// fail and recover are an outage: nothing is answered and nothing expires; the
// leader that comes back starts all timers anew.
func (s *store) fail() {
	s.outage = true
	s.settle()
}

func (s *store) recover() {
	s.outage = false
	s.settle()
}

// settle looks whether the store answers.
func (s *store) settle() {
	was := s.down
	s.down = s.outage || s.w.voters != nil && s.w.voters.lead < 0
	if was && !s.down {
		s.restartTimers()
	}
}

// cease ends all faults; people have no further wishes.
func (w *world) cease() {
	w.ceased = w.now
	w.tracef("all faults cease")
	w.net.heal()
	w.voters.heal()
	w.entry.stutters = nil
	w.entry.goOn()
	for _, m := range w.members {
		m.stutters, m.aims = nil, nil
		m.fails, m.slowStop, m.host.full = fails{}, 0, false
		if m.skew != skewOf(m.index) {
			m.skew = skewOf(m.index)
			m.scheduled = cluster.ScheduledRestart{} // it was meant for another hour
		}
		m.host.unstick()
		m.server.goOn()
		m.ownDisk()
		m.loss, m.noise = 0, 0
		m.loseReplies, m.host.slowDisk, m.agent.starved, m.agent.cut = 0, 0, 0, 0
		if m.host.frozen {
			m.grace = w.now + w.cfg.kill + 100*time.Millisecond
		}
		m.host.thaw()
		m.host.powerOn()
		m.guard.resume()
		m.agent.resume()
	}
	w.store.recover()
	w.ceaseStore()
	w.store.pause(false)
	w.store.handwritten = ""
	if l := &w.store.view.Leader; l.Held() && l.Session == "" {
		w.tracef("a person removes the leader key that was written by hand")
		*l = cluster.Leader{}
		w.store.changed()
	}
	if i := &w.store.view.Initialize; i.Present && i.SystemID == "" && i.Owner == "" {
		// The member that was founding the cluster is gone, and nobody saw its
		// claim: a person decides.
		w.tracef("a person removes the abandoned claim on the bootstrap")
		*i = cluster.Initialize{}
		w.store.changed()
	}
}
