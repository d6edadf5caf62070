package ha

import (
	"github.com/matriarch-ha/matriarch/ha/election"
)

// maxRewinds is how often a rewind that was broken off is tried again before the
// data are copied anew, whatever the settings: pg_rewind refuses a directory
// that it had nearly finished, and one that is half rewound is no server's data
// any more. What it lost was saved before, and the directory is kept aside.
const maxRewinds = 3

// diverged: what the server has is not part of the leader's line. It is stopped
// first, so that it does not serve rows the cluster never had; then it is
// rewound, or copied anew where a rewind cannot work and the settings allow it.
// The directory is always kept aside, never deleted.
func (t *turn) diverged() bool {
	if !t.leaderIsOther() || t.o.Server.Dir != DirPresent || t.view.Leader.Name == t.o.Self.Name {
		return false
	}
	why, sameNumber := t.whyDiverged()
	if why == "" {
		return false
	}
	if !t.stopped() {
		return t.answer(SituationFollowing, why+": stopping it before anything else", Action{Kind: Stop})
	}
	up := t.leaderUpstream()
	lead, _ := t.view.LeaderMember()
	set := t.o.Settings
	if t.storeIsNew() {
		// The leader may be one that a backup named: if nobody renews its lease, what
		// is here may be the newest of all, and must not be replaced before that shows.
		t.wakeAt(t.newSince().Add(t.newFor()))
		return t.answer(SituationFollowing, why+"; "+t.howNew()+": nothing is replaced until a ttl has shown that this leader lives")
	}
	if t.awaitsLife(why) {
		return true
	}
	rewindable := set.UsePgRewind && (t.o.Server.CanRewind || t.o.Server.Rewinding) && !sameNumber
	spoilt := t.o.Server.Rewinding && (!rewindable || t.m.RewindFailures >= maxRewinds)
	switch {
	case up.IsZero():
		return t.answer(SituationFollowing, why+"; waiting for the leader's address")
	case rewindable && t.m.RewindFailures == 0 && lead.CheckpointPending:
		t.wake(soon)
		return t.answer(SituationFollowing, why+"; waiting for the leader's first checkpoint before rewinding")
	case rewindable && t.m.RewindFailures == 0:
		return t.answer(SituationFollowing, why+": rewinding it to "+up.Name, Action{Kind: Rewind, Upstream: up})
	case set.RecloneOnDivergence, set.RecloneOnRewindFailure && t.m.RewindFailures > 0, spoilt:
		return t.reclone(why, up)
	case rewindable && t.since(t.o.Task.Last.At) >= backoff:
		return t.answer(SituationFollowing, why+sentence(": rewinding it again after %d failures", t.m.RewindFailures), Action{Kind: Rewind, Upstream: up})
	default:
		t.wake(backoff)
		stuck := why + t.whyStuck(sameNumber)
		if t.m.Restart.UnderWay() && t.stopped() {
			// A restart that waits for this would hold up the reinitialization that ends it.
			t.endRestart(Failed, noRestart+stuck)
		}
		return t.answer(SituationFollowing, stuck)
	}
}

// awaitsLife: the store was new once, and its leader has given no word since it is
// so no more. A lease that stands after a ttl proves nothing: a store whose own
// leader changed counts all leases anew. Who leads in truth answers.
func (t *turn) awaitsLife(why string) bool {
	if t.leaderAnswered() {
		return false
	}
	lead := t.view.Leader.Name
	p, _, _ := t.word(lead, 0)
	var ask []Action
	if t.since(p.Asked) >= roundLength {
		ask = append(ask, Action{Kind: AskPeers, Names: []string{lead}})
	}
	t.wake(roundLength)
	return t.answer(SituationFollowing, why+sentence("; %s: nothing is replaced before the agent of %s has answered as the leader's; "+
		"see that its REST API can be reached from here, or reinitialise this member", t.howNew(), lead), ask...)
}

// leaderAnswered: the store was never new, or the agent of its leader has said since
// then that it leads. That the leader's server writes says nothing: it may have lost
// its agent.
func (t *turn) leaderAnswered() bool {
	since := t.newSince()
	if since.IsZero() {
		return true
	}
	p, answered, _ := t.word(t.view.Leader.Name, since.Add(t.newFor()))
	return answered && !p.InRecovery && !p.AgentSilent
}

// lifeAwaited: see awaitsLife. An agent that is started again has to wait too.
func (t *turn) lifeAwaited() bool {
	if !t.leaderIsOther() || t.leaderAnswered() {
		return false
	}
	why, _ := t.whyDiverged()
	return why != ""
}

// reclone copies the leader's data in place of diverged ones.
func (t *turn) reclone(why string, up Upstream) bool {
	last := t.o.Task.Last
	if last.Kind == Clone && last.Error != "" && t.since(last.At) < roundLength {
		t.wake(roundLength)
		return t.answer(SituationFollowing, why+"; the last copy failed and will be tried again: "+last.Error)
	}
	return t.answer(SituationFollowing, why+": copying the data of "+up.Name+" anew, keeping these aside", Action{Kind: Clone, Upstream: up})
}

func (t *turn) whyStuck(sameNumber bool) string {
	switch {
	case sameNumber:
		return "; pg_rewind cannot tell two timelines of one number apart, and copying anew is not allowed: " +
			"set remove_data_directory_on_diverged_timelines, or reinitialise this member"
	case !t.o.Settings.UsePgRewind:
		return "; postgresql.use_pg_rewind is off and copying anew is not allowed: " +
			"set use_pg_rewind or remove_data_directory_on_diverged_timelines, or reinitialise this member"
	case t.o.Server.Rewinding:
		return sentence("; pg_rewind failed %d times (%s): it will be tried again, and after %d failures the data are copied anew",
			t.m.RewindFailures, t.o.Task.Last.Error, maxRewinds)
	case !t.o.Server.CanRewind:
		return "; pg_rewind cannot be used (it needs wal_log_hints or data checksums) and copying anew is not allowed: " +
			"set remove_data_directory_on_diverged_timelines, or reinitialise this member"
	default:
		return sentence("; pg_rewind failed %d times (%s): it will be tried again; to copy anew set remove_data_directory_on_rewind_failure",
			t.m.RewindFailures, t.o.Task.Last.Error)
	}
}

// whyDiverged says why the server cannot follow the leader, and whether that is
// because two branches bear one number, which pg_rewind cannot see.
func (t *turn) whyDiverged() (why string, sameNumber bool) {
	if t.o.Server.Rewinding {
		return "a pg_rewind began here and did not finish", false
	}
	d, ok := t.leaderDescent()
	if !ok {
		return "", false
	}
	st := t.standing()
	why = d.WhyDiverged(st)
	if why == "" {
		return "", false
	}
	if c, ok := d.Claims.Claim(st.Position.Timeline); ok && c.Identity.Conflicts(st.Identity) {
		sameNumber = true
	}
	return "the server cannot follow " + t.view.Leader.Name + ": " + why, sameNumber
}

// crashedReplica: the server is down and nothing forbids it to run as a
// standby: of the leader, once its line is known to contain ours, or of nobody,
// to take part in a race.
func (t *turn) crashedReplica() bool {
	s := t.o.Server
	if t.live() || !t.stopped() || s.Dir != DirPresent || s.Rewinding || t.view.Leader.Name == t.o.Self.Name {
		return false
	}
	if t.o.Lease.Held {
		t.wake(soon)
		return t.answer(SituationLeading, "the lease could not be confirmed and the server is down: waiting until it is confirmed or lost")
	}
	last := t.o.Task.Last
	if last.Kind == StartReplica && last.Error != "" && t.since(last.At) < roundLength {
		t.wake(roundLength)
		return t.answer(t.situation(), "the server did not start as a standby and will be tried again: "+last.Error)
	}
	if t.leaderIsOther() {
		if _, known := t.leaderDescent(); !known {
			t.wake(soon)
			return t.answer(SituationFollowing, sentence("%s leads but has not published its timeline yet: the server here stays down until it is known that it may follow", t.view.Leader.Name))
		}
		if !s.Position.Known() {
			t.wake(soon)
			return t.answer(SituationFollowing, "the end of the server's WAL is not known yet"+lastError(s))
		}
		up := t.upstream()
		return t.answer(SituationFollowing, sentence("starting the server as a standby of %s", orNobody(up)), Action{Kind: StartReplica, Upstream: up})
	}
	if s.RewindUnproven {
		// Without the WAL of a leader it can never become consistent, and a start
		// that does not end would keep it from the next leader.
		return t.answer(SituationLeaderless, "the server was rewound and stays down until there is a leader that makes it consistent")
	}
	if why := election.DivergedFrom(t.standing(), t.ground()); why != "" {
		return t.answer(SituationLeaderless, "the server stays down until there is a leader to rewind to: "+why)
	}
	if left := successorWait - t.since(t.m.Released); left > 0 && !t.o.Settings.Paused {
		t.wake(left)
		return t.answer(SituationLeaderless, "gave the lease up; waiting for the successor")
	}
	return t.answer(SituationLeaderless, "starting the server read-only, without an upstream, to take part in the race", append(t.putBack(), Action{Kind: StartReplica})...)
}

// follow: the standby runs and its upstream is not the right one.
func (t *turn) follow() bool {
	s := t.o.Server
	if t.startsElsewhere() {
		return true
	}
	if !t.leaderIsOther() || !t.running(ServerStandby) || t.view.Leader.Name == t.o.Self.Name {
		return false
	}
	up := t.upstream()
	if up.Addr() == s.Upstream {
		return false
	}
	if _, known := t.leaderDescent(); !known {
		t.wake(soon)
		return t.answer(SituationFollowing, sentence("%s leads but has not published its timeline yet", t.view.Leader.Name))
	}
	t.wake(roundLength)
	return t.answer(SituationFollowing, "pointing the standby at "+orNobody(up), Action{Kind: Follow, Upstream: up})
}

// startsElsewhere: the standby does not accept connections and waits for WAL
// from somebody who does not lead any more; it would wait for ever. It is
// stopped, to be started with the right upstream.
func (t *turn) startsElsewhere() bool {
	s, up := t.o.Server, t.upstream()
	if !t.leaderIsOther() || t.view.Leader.Name == t.o.Self.Name || s.Process != ProcessStarting || s.Role != ServerStandby ||
		up.IsZero() || up.Addr() == s.Upstream || t.since(s.RoleSince) < roundLength {
		return false
	}
	if _, known := t.leaderDescent(); !known {
		return false
	}
	return t.answer(SituationFollowing, sentence("the standby is starting and does not follow %s: stopping it, to start it with that upstream", orNobody(up)),
		Action{Kind: Stop})
}

// followerDuties are what a standby with the right upstream does besides
// streaming.
func (t *turn) followerDuties() []Action {
	var acts []Action
	if t.o.Server.RewindUnproven && t.o.Server.Streaming {
		acts = append(acts, Action{Kind: AcceptRewind})
	}
	return append(acts, t.standbySlots()...)
}

func orNobody(u Upstream) string {
	if u.IsZero() {
		return "nobody"
	}
	return sentence("%s (%s)", u.Name, u.Addr())
}
