package sim

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// What a server has at hand: old WAL is removed by checkpoints, unless a slot
// wants it; and a standby that was started has forgotten what it had received.

// begin is what a start does to what the server can tell of itself.
func (s *server) begin(was, role ha.ServerRole, life int) {
	w := s.m.w
	s.told = s.end
	if w.cfg.wide.replays && was == role && role == ha.ServerStandby && s.branch != nil {
		// It replays from its last checkpoint on, which need not be done when it
		// accepts connections; until then its word is lower than its log. What was a
		// primary replays all of it before.
		s.told = s.end - min(w.logOf(1<<16), s.end-s.branch.root())
		s.replayed = s.told
		s.later(w.moreUpTo(w.cfg.start+w.cfg.recovery+s.slow()), life, func() {
			s.told, s.replayed = max(s.told, s.end), max(s.replayed, s.end)
			s.m.agent.serverChanged()
		})
	}
	if w.cfg.wide.walKeep > 0 {
		s.recycleLater(life)
	}
}

func (w *world) logOf(n int) wal.LSN { return wal.LSN(w.more.IntN(n)) }

// root is where the line of descent begins.
func (b *branch) root() wal.LSN {
	for b.parent != nil {
		b = b.parent
	}
	return b.from
}

// recycleLater lets checkpoints remove what nobody wants.
func (s *server) recycleLater(life int) {
	s.later(3*time.Second+s.m.w.moreUpTo(10*time.Second), life, func() {
		s.recycle()
		s.recycleLater(life)
	})
}

func (s *server) recycle() {
	keep := s.end - min(s.end, wal.LSN(s.m.w.cfg.wide.walKeep))
	for _, x := range s.slots {
		keep = min(keep, x.LSN)
	}
	s.oldest = max(s.oldest, keep)
}

// keepSlots makes the slots those that are wanted. A new one reserves from now on.
func (s *server) keepSlots(want []cluster.SlotState) bool {
	if s.m.host.full || s.still() {
		return false
	}
	slots := slices.Clone(want)
	if s.m.w.cfg.wide.walKeep > 0 {
		for i := range slots {
			x := &slots[i]
			if j := slices.IndexFunc(s.slots, func(o cluster.SlotState) bool { return o.Name == x.Name }); j >= 0 {
				x.LSN = max(x.LSN, s.slots[j].LSN)
			} else if x.LSN == 0 {
				x.LSN = s.end
			}
		}
	}
	s.slots = slots
	return true
}

// advance moves the slot of a standby that confirmed its position.
func (s *server) advance(to *server) {
	if s.m.w.cfg.wide.walKeep == 0 {
		return
	}
	name := cluster.SlotName(to.m.name)
	for i := range s.slots {
		if s.slots[i].Name == name {
			s.slots[i].LSN = max(s.slots[i].LSN, to.end)
		}
	}
}

// seen is the end of what the server has as it can be found out from outside: of
// a standby that was started not long ago, less than it has.
func (s *server) seen() wal.Position {
	p := s.position()
	if s.proc == ha.ProcessRunning && s.role == ha.ServerStandby && s.told < p.LSN && s.branch != nil {
		p = wal.Position{Timeline: s.branch.at(s.told).timeline, LSN: s.told}
	}
	return p
}

// mend is what people do when the faults have ceased: a standby that nobody can
// bring up to date any more, or that has diverged where the settings forbid to
// copy it anew, they have copied anew.
func (w *world) mend() {
	lead := w.member(w.store.view.Leader.Name)
	if !w.led() || w.now < w.mended+5*time.Second {
		return
	}
	w.mended = w.now
	for _, m := range w.members {
		s, a := m.server, m.agent
		diverged := !w.store.settings.RecloneOnDivergence && s.dir == ha.DirPresent && s.proc == ha.ProcessStopped &&
			w.now > w.ceased+20*time.Second && a.task.kind == ""
		if m == lead || s.rx != nil || !a.alive || !s.removed && !diverged || a.requests.Reinit.ID != 0 || a.mem.Reinit.UnderWay() {
			continue
		}
		m.wishes++
		w.stats.Seen.Recloned++
		w.tracef("a person has %s copied anew", m.name)
		a.requests.Reinit = ha.ReinitRequest{ID: m.wishes, FromLeader: m.wishes%2 == 0}
		a.wake()
	}
}
