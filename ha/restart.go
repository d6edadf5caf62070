package ha

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha/election"
)

// Restarting is the progress of a restart: the server is stopped cleanly, then
// started in the role it had. A primary keeps its lease all the while, so it
// goes on with its own timeline, and nobody else can lead meanwhile.
type Restarting struct {
	ID         int                       `json:"id,omitempty"` // of the request; 0: it was scheduled
	Conditions cluster.RestartConditions `json:"conditions,omitzero"`
	Begun      boot.Instant              `json:"begun,omitempty"`
	// Session is the lease under which a primary is restarted.
	Session string `json:"session,omitempty"`
	// Seq is the task that had ended last when the restart began.
	Seq     int          `json:"seq,omitempty"`
	Down    boot.Instant `json:"down,omitempty"`    // when the server was first seen down
	Started boot.Instant `json:"started,omitempty"` // when the start was ordered
	// Resumes: in a pause the primary had gone down and given its lease up, and
	// the restart took it again.
	Resumes bool `json:"resumes,omitempty"`
}

// UnderWay: it was begun and is not over.
func (r Restarting) UnderWay() bool { return !r.Begun.IsZero() }

// endWait is how long a postmaster may take to end once its last record is
// written, with its archiver killed and its standbys disconnected.
const endWait = 2 * handoverWait

// followRestart notes how far a restart is, whatever rule decides this turn, and
// tells the person when it is over.
func (t *turn) followRestart() {
	t.followSchedule()
	r := &t.m.Restart
	if !r.UnderWay() {
		return
	}
	s, task := t.o.Server, t.o.Task
	if r.Down.IsZero() && t.down() {
		r.Down = t.o.Now
	}
	ended := task.Last.Seq != r.Seq // a task of this restart has
	failed := ended && !t.tasked() && task.Last.Error != ""
	switch {
	case s.Process == ProcessRunning && !t.tasked() && (!r.Down.IsZero() || ended && task.Last.Kind == Stop && !failed):
		t.endRestart(Done, "restarted successfully")
	case r.Session != "" && (!t.o.Lease.Held || t.o.Lease.Session != r.Session):
		t.endRestart(Failed, noRestart+"the lease was lost meanwhile")
	case t.o.Stopping && t.stopped():
		t.endRestart(Failed, noRestart+"the agent is stopping")
	case failed && task.Last.Kind == Stop && r.Down.IsZero():
		t.endRestart(Failed, noRestart+"the server did not stop: "+task.Last.Error)
	case failed && (task.Last.Kind == StartPrimary || task.Last.Kind == StartReplica) && s.Process == ProcessStarting, t.startOverdue():
		t.endRestart(Failed, "postgres is still starting")
	case failed && (task.Last.Kind == StartPrimary || task.Last.Kind == StartReplica):
		t.endRestart(Failed, noRestart+task.Last.Error)
	case t.hangs():
		t.endRestart(Failed, noRestart+sentence("the last record was written %s ago and the server does not end (%s)", t.since(r.Down), task.Progress))
	}
}

// startOverdue: the server was not up within the time that it was given.
func (t *turn) startOverdue() bool {
	r := t.m.Restart
	limit := r.Conditions.Timeout
	if limit == 0 {
		limit = t.o.Settings.PrimaryStartTimeout
	}
	if r.Down.IsZero() || limit <= 0 || !t.stopped() && t.o.Server.Process != ProcessStarting {
		return false
	}
	since := max(r.Down, r.Started)
	if t.since(since) < limit {
		t.wakeAt(since.Add(limit))
		return false
	}
	return true
}

// hangs: the last record is written and the postmaster does not end: a process
// of it cannot even be killed. What has the lease may not wait for that.
func (t *turn) hangs() bool {
	r := t.m.Restart
	if r.Down.IsZero() || t.stopped() || !t.o.Server.ShutDown {
		return false
	}
	if t.since(r.Down) < endWait {
		t.wakeAt(r.Down.Add(endWait))
		return false
	}
	return true
}

// endRestart is the end for the person. What the server needs further is the
// business of the other rules: they take a primary that did not start for one
// that crashed when it went down.
func (t *turn) endRestart(o Outcome, why string) {
	r := t.m.Restart
	if o != Done && r.Session != "" && t.m.CrashedSince.IsZero() {
		t.m.CrashedSince = r.Down
	}
	t.m.Restart = Restarting{}
	t.reply(r.ID, o, why)
}

// followSchedule drops a scheduled restart that has become pointless.
func (t *turn) followSchedule() {
	sch := t.o.Requests.Scheduled
	if !sch.Present() {
		return
	}
	started := t.o.Server.PostmasterStart
	_, stale := t.due(sch.At)
	switch {
	case !started.IsZero() && !sch.PostmasterStart.IsZero() && !started.Equal(sch.PostmasterStart):
		t.dropSchedule(sentence("PostgreSQL was started anew at %s since the restart was scheduled", started.Format(time.RFC3339)))
	case stale && !t.o.Settings.Paused:
		t.dropSchedule("its time, " + sch.At.Format(time.RFC3339) + ", has passed")
	}
}

func (t *turn) dropSchedule(why string) {
	t.replies = append(t.replies, Action{Kind: DropScheduled, Why: why})
	t.o.Requests.Scheduled = cluster.ScheduledRestart{}
}

// restart begins and carries on what followRestart follows.
func (t *turn) restart() bool {
	req, sch := t.o.Requests.Restart, t.o.Requests.Scheduled
	now, _ := t.due(sch.At)
	switch {
	case t.m.Restart.UnderWay():
		return t.goOnRestarting()
	case req.ID != 0 && !t.answered(req.ID):
		if text, detail := t.whyNoRestart(req.Conditions); text != "" {
			t.refuseRequest(req.ID, text, detail)
			return false
		}
		return t.beginRestart(req.ID, req.Conditions)
	case sch.Present() && now && !t.o.Settings.Paused && t.busy() == "":
		if text, detail := t.whyNoRestart(sch.Conditions); text != "" {
			if detail != "" {
				text += ": " + detail
			}
			t.dropSchedule(text)
			return false
		}
		return t.beginRestart(0, sch.Conditions)
	}
	return false
}

// noRestart begins what a person is told when a restart cannot be done.
const noRestart = "restart failed: "

// whyNoRestart says why a restart cannot begin now; an empty text: it can.
func (t *turn) whyNoRestart(c cluster.RestartConditions) (text, detail string) {
	s := t.o.Server
	if unmet := t.unmet(c); unmet != "" {
		return "restart conditions are not satisfied", unmet
	}
	if doing := t.busy(); doing != "" {
		return doing + " already in progress", ""
	}
	switch {
	case t.o.Stopping:
		return noRestart + "the agent is stopping", ""
	case !t.o.Store.Known || !t.o.Store.Reachable:
		return noRestart + "the store does not answer, without which a server that is stopped now could not be started again", ""
	case s.Dir != DirPresent || s.Rewinding:
		return noRestart + "there is no server here that could be started", ""
	case t.live() && s.Role == ServerStandby:
		return "promote already in progress", ""
	case s.Role == ServerPrimary && !t.live() && !t.mayResume():
		return noRestart + "this member does not hold the lease, without which a primary must not be started", ""
	}
	return "", ""
}

// unmet says which of the conditions does not hold.
func (t *turn) unmet(c cluster.RestartConditions) string {
	s := t.o.Server
	role := cluster.RoleReplica
	if s.Role == ServerPrimary {
		role = cluster.RolePrimary
	}
	switch {
	case c.Role != "" && (s.Role == ServerUnknown || c.Role != role):
		return sentence("this member is a %s, not a %s", role, c.Role)
	case c.OlderThan > 0 && s.Version == 0:
		return "the running version is not known"
	case c.OlderThan > 0 && s.Version >= c.OlderThan:
		return sentence("the running version is %d already", s.Version)
	case c.OnlyPending && len(s.Pending) == 0:
		return "no setting waits for a restart"
	}
	return ""
}

// mayResume: in a pause, what was the primary is down and gave its lease up, and
// nobody took it: it may take it again and go on where it stopped. Nobody can
// have written since, for that takes a new timeline, which is in the store.
func (t *turn) mayResume() bool {
	s := t.o.Server
	return t.o.Settings.Paused && t.stopped() && t.usable() && t.leaderless() && t.sameSystem() && !t.storeIsNew() &&
		t.o.Lease.Session != "" && s.Position.Known() && election.DivergedFrom(t.standing(), t.ground()) == "" &&
		s.Position.Timeline >= max(t.view.Timelines.Highest(), t.view.History.Timeline())
}

// beginRestart orders the stop. The archiver is not waited for: what it did not
// copy stays marked for the server that starts at once.
func (t *turn) beginRestart(id int, c cluster.RestartConditions) bool {
	if t.o.Task.Kind == Checkpoint {
		t.waits = true
		t.wake(soon)
		return t.answer(t.situation(), "a restart was asked for: cancelling the checkpoint in progress first", Action{Kind: CancelTask})
	}
	what := "a restart was asked for"
	if id == 0 {
		what = "the time of the scheduled restart has come"
		t.dropSchedule("its time has come")
	}
	t.m.Restart = Restarting{ID: id, Conditions: c, Begun: t.o.Now, Seq: t.o.Task.Last.Seq}
	if t.live() {
		t.m.Restart.Session = t.o.Lease.Session
	}
	if t.stopped() {
		t.m.Restart.Down = t.o.Now
		if !t.goOnRestarting() {
			t.wake(soon)
			return false // the rules below start what is down
		}
		return true
	}
	return t.answer(t.situation(), what+": stopping the "+string(t.o.Server.Role)+" cleanly, to start it again", Action{Kind: Stop, EndArchiver: true})
}

// goOnRestarting starts what was stopped. A replica is started by the rules that
// know what it may follow, except in a pause, where they keep still.
func (t *turn) goOnRestarting() bool {
	r, s := &t.m.Restart, t.o.Server
	switch {
	case !t.stopped():
		return t.answer(t.situation(), "a restart is under way: stopping the server", Action{Kind: Stop, EndArchiver: true})
	case t.live() && r.Started.IsZero() && (t.mayStartInPlace() || r.Resumes && s.Role == ServerPrimary && t.usable()):
		if t.view.Leader.Session != t.o.Lease.Session {
			t.wake(soon)
			return t.answer(SituationLeading, "a restart is under way: waiting for a reading of the store that shows the lease")
		}
		r.Started, r.Session = t.o.Now, t.o.Lease.Session
		return t.answer(SituationLeading, sentence("a restart is under way: starting the primary again at %s, under the same lease", s.Position.LSN),
			append(t.clearHandover(), Action{Kind: StartPrimary, Session: t.o.Lease.Session})...)
	case s.Role == ServerPrimary && t.mayResume():
		r.Resumes = true
		t.wake(soon)
		return t.answer(SituationLeaderless, "a restart is under way in a pause: taking the free lease for the primary that is down",
			Action{Kind: TakeLeader, Session: t.o.Lease.Session})
	case t.o.Settings.Paused && s.Role == ServerStandby && t.usable() && r.Started.IsZero():
		up := t.restartUpstream()
		r.Started = t.o.Now
		return t.answer(t.situation(), "a restart is under way in a pause: starting the standby again, as one of "+orNobody(up),
			Action{Kind: StartReplica, Upstream: up})
	}
	return false
}

// usable: the directory holds a server that may be started in any role.
func (t *turn) usable() bool {
	s := t.o.Server
	return s.Dir == DirPresent && !s.Rewinding && !s.RewindUnproven
}

// restartUpstream is whom a standby may follow that is restarted in a pause:
// nobody, when it is not known that it can.
func (t *turn) restartUpstream() Upstream {
	if !t.leaderIsOther() {
		return Upstream{}
	}
	if _, known := t.leaderDescent(); !known {
		return Upstream{}
	}
	if why, _ := t.whyDiverged(); why != "" {
		return Upstream{}
	}
	return t.upstream()
}
