package sim

import (
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
)

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
		if f.N == 5 {
			req.ScheduledAt = epochStart.Add(w.now + w.upTo(20*time.Second)).Format(time.RFC3339Nano)
		}
		s.view.Failover = req
		s.view.Failover.Version = s.next()
		w.check.wishedFailover(req)
		w.stats.Requests++
	case AskFailover:
		s.view.Failover = cluster.Failover{Candidate: other, Version: s.next()}
		w.check.wishedFailover(s.view.Failover)
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

// asked is what a person asks of one member, through its REST interface. An
// agent that dies takes the connection along: the person knows that they do not
// know.
func (a *agent) asked(f Fault) {
	a.in(a.epoch, func() {
		m := a.m
		m.wishes++
		m.w.stats.Requests++
		switch {
		case f.Kind == AskRestart && f.N == 5:
			m.scheduled = cluster.ScheduledRestart{At: m.wall().Add(m.w.upTo(20 * time.Second))}
			if m.server.proc == ha.ProcessRunning {
				m.scheduled.PostmasterStart = epochStart.Add(m.server.started)
			}
		case f.Kind == AskRestart && a.requests.Restart.ID == 0:
			a.requests.Restart = ha.RestartRequest{ID: m.wishes}
			m.w.check.wished(m, m.wishes, false)
			if f.N == 4 {
				a.requests.Restart.Conditions.Timeout = time.Second
			}
		case f.Kind == AskReinit && a.requests.Reinit.ID == 0:
			a.requests.Reinit = ha.ReinitRequest{ID: m.wishes, Force: f.N > 3, FromLeader: f.N%2 == 0}
			m.w.check.wished(m, m.wishes, true)
		}
		a.wake()
	})
}

// answer is the last word on what was asked.
func (a *agent) answer(x ha.Action) {
	r := &a.requests
	a.m.w.check.answered(a.m, x)
	a.m.w.tracef("%s: answers: %s %s %s", a.m.name, x.Kind, x.Outcome, x.Why)
	switch {
	case x.Kind == ha.DropScheduled:
		a.m.scheduled = cluster.ScheduledRestart{}
	case x.Request != 0 && x.Request == r.Restart.ID:
		r.Restart = ha.RestartRequest{}
		if x.Outcome == ha.Done {
			a.m.w.stats.Restarts++
			a.m.w.check.restarted(a.m.server, x.Request)
		}
	case x.Request != 0 && x.Request == r.Reinit.ID:
		r.Reinit = ha.ReinitRequest{}
		if x.Outcome == ha.Done {
			a.m.w.stats.Reinits++
		}
	}
}

// unanswered says what a living agent owes a person.
func (m *member) unanswered() string {
	a := m.agent
	switch {
	case a.requests.Restart.ID != 0 || a.mem.Restart.UnderWay():
		return m.name + " has a restart that does not end"
	case a.requests.Reinit.ID != 0 || a.mem.Reinit.UnderWay():
		return m.name + " has a reinitialization that does not end"
	case m.scheduled.Present():
		return m.name + " has a scheduled restart that is neither carried out nor dropped"
	}
	return ""
}

// wall is what the member's wall clock shows.
func (m *member) wall() time.Time { return epochStart.Add(m.w.now + m.skew) }

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
