package sim

import "github.com/matriarch-ha/matriarch/cluster"

// request is what a person writes into the store.
func (w *world) request(f Fault, heal func(func())) {
	s := w.store
	if s.down || !s.view.Config.Present {
		return
	}
	other := w.members[f.B].name
	switch f.Kind {
	case AskSwitchover:
		req := cluster.Failover{Leader: s.view.Leader.Name, Candidate: other}
		if f.N < 3 {
			req.Candidate = ""
		}
		if req.Leader == "" {
			return
		}
		s.view.Failover = req
		s.view.Failover.Version = s.next()
		w.stats.Requests++
	case AskFailover:
		s.view.Failover = cluster.Failover{Candidate: other, Version: s.next()}
		w.stats.Requests++
	case AskPause:
		s.pause(true)
		heal(func() { s.pause(false) })
		return
	case AskSync:
		if s.settings.SyncMode == cluster.SyncOn {
			s.settings.SyncMode = cluster.SyncOff
		} else {
			s.settings.SyncMode = cluster.SyncOn
		}
		s.view.Config.Version = s.next()
	}
	s.changed()
}

func (s *store) pause(on bool) {
	if s.settings.Paused == on {
		return
	}
	s.settings.Paused = on
	if !on {
		s.w.check.unpaused = s.w.now
	}
	s.view.Config.Version = s.next()
	s.changed()
}
