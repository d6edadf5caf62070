package ha

import "github.com/matriarch-ha/matriarch/ha/election"

// leaseLost: the server writes, or is about to, and no live lease allows it.
// A lease that was refused is fenced at once. One that merely could not be
// confirmed until its soft deadline is given a clean stop, since nobody else
// can hold the lease before the hard deadline, at which the guard kills.
func (t *turn) leaseLost() bool {
	if !t.writable() || t.live() || t.o.Settings.Paused {
		return false
	}
	l := t.o.Lease
	if !l.Held && t.leftPromoting() {
		t.wake(soon)
		return t.answer(SituationLeaseLost, "an agent before this one may have left the server in the middle of a promotion, which would end with a primary without a lease: fencing it", Action{Kind: Fence})
	}
	if !l.Held {
		t.wake(soon)
		return t.answer(SituationLeaseLost, "the server accepts writes and this member does not hold the lease: fencing it", Action{Kind: Fence})
	}
	if t.o.Now >= l.Deadlines.Hard {
		t.wake(soon)
		return t.answer(SituationLeaseLost, "the lease has not been confirmed and its hard deadline has passed: fencing the server", Action{Kind: Fence})
	}
	t.wakeAt(l.Deadlines.Hard)
	left := l.Deadlines.Hard.Sub(t.o.Now)
	switch t.o.Task.Kind {
	case Stop:
		return t.answer(SituationLeaseLost, sentence("stopping: the lease could not be confirmed in time; the guard kills in %s", left))
	case "", Checkpoint:
		return t.answer(SituationLeaseLost,
			sentence("the lease could not be confirmed in time (%s): stopping the server cleanly, %s before the guard kills it", l.LastError, left),
			Action{Kind: Stop})
	default:
		return t.answer(SituationLeaseLost,
			sentence("the lease could not be confirmed in time (%s) while the server was in a %s: fencing it", l.LastError, t.o.Task.Kind),
			Action{Kind: Fence})
	}
}

// taskRunning: one long action at a time owns the server. A checkpoint does not
// own it. An agent that must end does not wait for a copy.
func (t *turn) taskRunning() bool {
	task := t.o.Task
	if (task.Kind == Stop || task.Kind == "") && t.down() && !t.stopped() {
		// The last record is written and only the archiver, or a standby, is waited
		// for, perhaps since before this agent began.
		switch {
		case t.m.Restart.UnderWay() && !t.o.Stopping:
			// It is started again as soon as its processes are gone, which does not
			// take long: see followRestart.
		case t.live():
			// Whatever it was stopped for: a lease that is kept and not used would
			// leave the cluster without a primary for as long as the archiver likes.
			if t.m.Handing.Stopped.IsZero() {
				t.m.Handing = Handing{Why: HandingLost, Stopped: t.o.Now}
			}
			return false // the handover need not wait with it
		case t.neededInRace():
			what := "for its archiver or a standby"
			if task.Progress != "" {
				what = "(" + task.Progress + ")"
			}
			return t.answer(SituationLeaderless, "nobody leads, and the server that is shut down still waits "+what+": ending that, since this member may be needed",
				Action{Kind: Fence})
		case t.leaderless() && !t.m.LeaderlessSince.IsZero():
			t.wakeAt(t.m.LeaderlessSince.Add(successorWait))
		}
	}
	if !t.tasked() {
		return false
	}
	if t.makeWay() {
		return true
	}
	if t.giveUpCopy() {
		return t.answer(SituationLeaderless, "nobody leads: cancelling the copy of data that nobody has any more, since the old ones may be needed", Action{Kind: CancelTask})
	}
	what := string(task.Kind)
	if task.Progress != "" {
		what += ": " + task.Progress
	}
	if t.o.Stopping && (task.Kind == Clone || task.Kind == Rewind || task.Kind == Bootstrap || task.Kind == StartReplica) {
		t.wake(soon)
		return t.answer(SituationStopping, "the agent is stopping and cancels what is in progress, "+what, Action{Kind: CancelTask})
	}
	return t.answer(t.situation(), "in progress: "+what)
}

// neededInRace: nobody has taken the lease for longer than a successor needs,
// so a member that waits for its archiver may be the one that can. What the
// archiver did not copy stays marked for it in the data directory.
func (t *turn) neededInRace() bool {
	return !t.o.Stopping && !t.o.Settings.Paused && t.o.Store.Known && t.o.Store.Reachable && t.leaderless() &&
		!t.m.LeaderlessSince.IsZero() && t.since(t.m.LeaderlessSince) >= successorWait
}

// situation names the case when a rule has no more special word for it.
func (t *turn) situation() Situation {
	switch {
	case t.o.Stopping:
		return SituationStopping
	case t.m.Handing.Why != "":
		return SituationHandingOver
	case t.live():
		return SituationLeading
	case !t.o.Store.Known || !t.o.Store.Reachable:
		return SituationNoStore
	case t.o.Server.Dir == DirEmpty:
		return SituationJoining
	case t.leaderIsOther():
		return SituationFollowing
	default:
		return SituationLeaderless
	}
}

// storeUnknown: what was read may be old. A leader goes on while its lease
// lasts (and is stopped by lease-lost after it); a replica goes on streaming.
// Nothing is started that another view could forbid: a stopped server stays
// stopped, since it may have diverged from a leader that cannot be seen.
func (t *turn) storeUnknown() bool {
	st := t.o.Store
	if st.Known && st.Reachable {
		return false
	}
	if t.mayStartInPlace() {
		return t.answer(SituationNoStore, "the store does not answer but the lease lasts: starting the crashed primary in place",
			Action{Kind: StartPrimary, Session: t.o.Lease.Session})
	}
	switch {
	case !st.Known:
		why := "waiting for the first reading of the store"
		if st.LastError != "" {
			why += ": " + st.LastError
		}
		return t.answer(SituationNoStore, why)
	case t.live():
		t.wakeAt(t.o.Lease.Deadlines.Soft)
		return t.answer(SituationNoStore, sentence("the store does not answer (%s); this member leads for another %s", st.LastError, t.o.Lease.Deadlines.Soft.Sub(t.o.Now))+t.whyNoFailsafe())
	default:
		return t.answer(SituationNoStore, sentence("the store does not answer (%s); nothing is changed", st.LastError))
	}
}

// foreignData: a directory of another cluster must neither serve here nor be
// touched.
func (t *turn) foreignData() bool {
	s, want := t.o.Server, t.view.Initialize.SystemID
	if s.Dir != DirPresent || s.SystemID == "" || want == "" || s.SystemID == want || t.o.Settings.Paused {
		return false
	}
	why := sentence("the data directory belongs to the database system %s, but this cluster is %s. "+
		"Nothing was changed. Point postgresql.data_dir at the right directory, or move this one away to have it cloned", s.SystemID, want)
	return t.answer(SituationForeign, why, Action{Kind: Exit, Code: 1, Why: why})
}

// paused: the lease is kept, a primary keeps running with or without it, and
// nothing is started, stopped, promoted or followed. A switchover to a named
// candidate is still carried out.
func (t *turn) paused() bool {
	if !t.o.Settings.Paused {
		return false
	}
	held := t.o.Lease.Held
	switch {
	case held && !t.running(ServerPrimary) && !(t.failover().Candidate == t.o.Self.Name):
		return t.answer(SituationLeading, "paused: the server is no running primary, so the lease is given up",
			Action{Kind: ReleaseLeader, Session: t.o.Lease.Session})
	case t.leaderless() && t.running(ServerPrimary) && t.superseded():
		return t.answer(SituationLeaderless, "paused: another member may have been promoted since this primary led, so the free lease is not taken")
	case t.leaderless() && t.running(ServerPrimary) && t.sameSystem() && !t.o.Failsafe.Promised(t.o.Now):
		return t.answer(SituationLeaderless, "paused: the running primary takes the free lease",
			append([]Action{{Kind: TakeLeader, Session: t.o.Lease.Session}}, t.clearHandover()...)...)
	case t.failover().Candidate != "" && (held || t.leaderless()):
		return false // a person's request to a named candidate goes on below
	case held && t.lead():
		return true
	default:
		return t.answer(t.situation(), "paused: nothing is changed")
	}
}

// superseded: somebody else may have been promoted since this primary led. Nobody
// fences it while the cluster is paused, but as the leader it would have all
// others rewound to a line that the cluster has left.
func (t *turn) superseded() bool {
	return t.o.Server.Position.Timeline < max(t.view.Timelines.Highest(), t.heardOf()) || election.DivergedFrom(t.standing(), t.ground()) != ""
}

func (t *turn) sameSystem() bool {
	id := t.view.Initialize.SystemID
	return id == "" || id == t.o.Server.SystemID
}

// idle always answers.
func (t *turn) idle() bool {
	s := t.o.Server
	switch {
	case t.leaderIsOther() && t.view.Leader.Name == t.o.Self.Name:
		t.wake(roundLength)
		return t.answer(SituationFollowing, t.namesakeLeads())
	case t.leaderIsOther() && t.running(ServerStandby) && s.Streaming:
		return t.answer(SituationFollowing, sentence("following the leader %s", t.view.Leader.Name), t.followerDuties()...)
	case t.leaderIsOther() && t.running(ServerStandby):
		t.wake(roundLength)
		return t.answer(SituationFollowing, sentence("follows %s but does not stream yet%s", t.view.Leader.Name, lastError(s)))
	case t.live():
		t.wake(roundLength)
		return t.answer(SituationLeading, sentence("holds the lease; the server is %s%s", s.Process, lastError(s)))
	default:
		t.wake(roundLength)
		return t.answer(t.situation(), sentence("waiting; the server is %s%s", s.Process, lastError(s)))
	}
}

// namesakeLeads says what a leader key means that bears this member's name under
// another session: it is left of a former life of this member, or another agent's
// that was given the same name.
func (t *turn) namesakeLeads() string {
	if other := t.o.Self.Namesake; other != "" {
		return sentence("the name %s is taken: another agent of this name, at %s, leads. Two members must not share a name: "+
			"give this one another (name, or the flag --name), or stop the other", t.o.Self.Name, other)
	}
	return "the leader key bears this member's name under another session; waiting until it expires"
}

func lastError(s Server) string {
	if s.LastError == "" {
		return ""
	}
	return ": " + s.LastError
}
