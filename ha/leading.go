package ha

import (
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha/election"
	"github.com/matriarch-ha/matriarch/wal"
)

// maxStarts is how often a crashed primary is started in place before another
// member is asked to take over.
const maxStarts = 2

// crashedPrimary: this member led a running primary under this very lease, and
// its server is down. Starting it in place loses nothing and needs no new
// timeline. Without having led under this lease, starting writable would skip
// the race, so the lease is given up instead.
func (t *turn) crashedPrimary() bool {
	s := t.o.Server
	if t.stuckStarting() || t.stuckStopping() {
		return true
	}
	if !t.live() || !t.stopped() || s.Dir != DirPresent {
		return false
	}
	release := Action{Kind: ReleaseLeader, Session: t.o.Lease.Session}
	switch {
	case s.Rewinding || s.RewindUnproven:
		return t.answer(SituationLeading, "holds the lease with a half rewound server: giving it up", release)
	case t.m.Led != t.o.Lease.Session || s.Role != ServerPrimary:
		// A standby that died while it was promoted would write on, on the old
		// timeline, where another may have written.
		t.backOff()
		t.wake(soon)
		return t.answer(SituationLeading, "holds the lease but its server went down before it was promoted"+lastError(s)+": giving it up", append(t.putBack(), release)...)
	}
	if t.endRecorded() {
		t.wake(soon)
		return t.answer(SituationLeading, "the end of this primary's log was recorded for its successor, so it is not started again under this lease: giving it up", t.releaseAgain())
	}
	if t.m.CrashedSince.IsZero() {
		t.m.CrashedSince = t.o.Now
	}
	down, limit := t.since(t.m.CrashedSince), t.o.Settings.PrimaryStartTimeout
	if limit > 0 && down < limit && t.m.StartFailures < maxStarts {
		return t.answer(SituationLeading, whyDown(s)+lastError(s)+howStarted(s, t.m.StartFailures+1),
			Action{Kind: StartPrimary, Session: t.o.Lease.Session})
	}
	return t.replaceCrashed(release, down)
}

// backOff keeps this member from the next races, after a promotion that took the
// server down: for twice as long each time. What was in its way may stay (a full
// disk), and the member that is ahead would take the lease for ever from those who
// could lead, or spend numbers of timelines for nothing.
func (t *turn) backOff() {
	if last := t.o.Task.Last; last.Kind == Promote && last.Error != "" {
		t.m.BackoffUntil = last.At.Add(min(backoff, firstBackoff<<max(0, min(t.m.PromoteFailures-1, 10))))
	}
}

// whyDown is how a primary's server came to be down. One that was just made, or
// stopped for a restart, does not run yet, and nothing is wrong with it.
func whyDown(s Server) string {
	if s.Ended != "" {
		return s.Ended
	}
	return "the primary does not run"
}

// howStarted counts the attempts to start one that had come down.
func howStarted(s Server, attempt int) string {
	if s.Ended == "" && attempt == 1 {
		return ": starting it"
	}
	return sentence(": starting it in place, attempt %d", attempt)
}

// stuckStarting: the crashed primary was started and does not accept connections
// yet, for example in a long crash recovery. After primary_start_timeout it is
// killed if somebody else can take over; killing gives the lease up too.
func (t *turn) stuckStarting() bool {
	s := t.o.Server
	if !t.live() || s.Process != ProcessStarting || s.Role != ServerPrimary || t.m.Led != t.o.Lease.Session {
		return false
	}
	if t.m.CrashedSince.IsZero() {
		t.m.CrashedSince = t.o.Now
	}
	down := t.since(t.m.CrashedSince)
	if limit := t.o.Settings.PrimaryStartTimeout; down < limit {
		t.wake(min(roundLength, limit-down))
		return t.answer(SituationLeading, sentence("the primary has been starting for %s", down))
	}
	if left := t.promisedAway(); left > 0 {
		t.wake(left)
		return t.answer(SituationLeading, sentence("the primary has been starting for %s, and the members promised to leave the lease alone for another %s", down, left))
	}
	cands := t.successors(Handing{})
	if t.m.CrashAsked.IsZero() || t.since(t.m.CrashAsked) >= backoff {
		t.m.CrashAsked = t.o.Now
		t.wake(peerWait)
		return t.answer(SituationLeading, sentence("the primary has been starting for %s: asking who can take over", down),
			Action{Kind: AskPeers, Names: names(cands)})
	}
	good, open := t.goodCandidates(cands, t.m.CrashAsked, t.nearEnough)
	if len(good) > 0 {
		t.m.Released = t.o.Now
		return t.answer(SituationLeading, sentence("the primary has been starting for %s and %v can take over: killing it and giving the lease up", down, good),
			Action{Kind: Fence}, Action{Kind: ReleaseLeader, Session: t.o.Lease.Session})
	}
	if open {
		t.wake(soon)
	} else {
		t.wake(roundLength)
	}
	return t.answer(SituationLeading, sentence("the primary has been starting for %s and nobody else can take over yet", down))
}

// stuckStopping: somebody else has told the primary to stop, and it waits: for its
// archiver, for sessions. It takes no new ones, so the lease would be kept without
// being used for as long as that lasts. One that ends soon is started again.
func (t *turn) stuckStopping() bool {
	s := t.o.Server
	if !t.live() || s.Process != ProcessStopping || s.Role != ServerPrimary || t.m.Led != t.o.Lease.Session {
		return false
	}
	waited := t.since(s.RoleSince)
	if waited < successorWait {
		t.wake(successorWait - waited)
		return t.answer(SituationLeading, "the primary is shutting down, and this member did not tell it to: waiting until it is down, to start it again")
	}
	return t.answer(SituationLeading, sentence("the primary has been shutting down for %s, and this member did not tell it to: seeing it through, to hand the lease over", waited),
		Action{Kind: Stop, Names: names(t.successors(Handing{}))})
}

// mayStartInPlace: this member led a running primary under this very lease, and
// what is down now is that primary.
func (t *turn) mayStartInPlace() bool {
	s := t.o.Server
	return t.live() && t.stopped() && s.Dir == DirPresent && s.Role == ServerPrimary && !s.Rewinding && !s.RewindUnproven &&
		t.m.Led != "" && t.m.Led == t.o.Lease.Session && !t.endRecorded()
}

// replaceCrashed asks the others whether one of them can take over; if none
// can, trying again here is all that is left.
func (t *turn) replaceCrashed(release Action, down time.Duration) bool {
	if left := t.promisedAway(); left > 0 {
		return t.answer(SituationLeading, sentence("the primary has been down for %s%s, and the members promised to leave the lease alone for another %s: starting it in place again",
			down, lastError(t.o.Server), left), Action{Kind: StartPrimary, Session: t.o.Lease.Session})
	}
	cands := t.successors(Handing{})
	if t.o.Server.Clean {
		cands = t.heirs(Handing{})
	}
	if t.m.CrashAsked.IsZero() || t.since(t.m.CrashAsked) >= backoff {
		t.m.CrashAsked = t.o.Now
		t.wake(peerWait)
		return t.answer(SituationLeading, sentence("the primary has been down for %s and %d starts failed: asking who can take over", down, t.m.StartFailures),
			Action{Kind: AskPeers, Names: names(cands)})
	}
	good, open := t.goodCandidates(cands, t.m.CrashAsked, t.nearEnough)
	if have := t.haveAll(good, t.m.CrashAsked); t.o.Server.Clean && len(have) > 0 {
		// It stopped cleanly, for a restart, and does not start any more: as after
		// any clean stop nothing need be lost.
		good, release = have, t.release(have)
	} else {
		good = slices.DeleteFunc(good, func(name string) bool { return !t.holdsAll(name) })
	}
	switch {
	case len(good) > 0:
		t.m.Released = t.o.Now
		return t.answer(SituationLeading, sentence("the primary could not be started in place for %s%s: giving the lease up; %v can take over", down, lastError(t.o.Server), good), release)
	case open && t.since(t.m.CrashAsked) < peerWait:
		t.wake(soon)
		return t.answer(SituationLeading, "waiting for the others' word on who can take over")
	default:
		t.m.CrashAsked = 0
		return t.answer(SituationLeading, sentence("the primary is down%s and nobody else can take over: starting it in place again", lastError(t.o.Server)),
			Action{Kind: StartPrimary, Session: t.o.Lease.Session})
	}
}

// goodCandidates are those that answered since the instant and could take over
// from here; one that failsafe_mode's list lacks could not. near says whether one at a position is. open: somebody has not answered yet.
func (t *turn) goodCandidates(cands []cluster.Member, since boot.Instant, near func(string, wal.LSN) bool) (good []string, open bool) {
	for _, m := range cands {
		p, ok, waiting := t.word(m.Name, since)
		open = open || waiting
		if ok && p.InRecovery && !p.WatchdogFailed && p.Tags.MayLead() && p.Position.Known() && near(m.Name, p.Position.LSN) && !t.notListed(m.Name) {
			good = append(good, m.Name)
		}
	}
	return good, open
}

// nearEnough: a member at that position may lead after a failure, as in a race: what
// a synchronous standby lacks was never acknowledged.
func (t *turn) nearEnough(name string, at wal.LSN) bool {
	return !election.TooFar(election.Standing{Name: name, Position: wal.Position{LSN: at}}, t.ground())
}

// nearNow: a switchover to a member at that position does not take long.
func (t *turn) nearNow(_ string, at wal.LSN) bool {
	return t.o.Server.Position.LSN.Sub(at) <= t.o.Settings.MaxLagOnFailover
}

// haveAll are those of names that answered since the instant that they have all
// that the stopped server here has.
func (t *turn) haveAll(names []string, since boot.Instant) []string {
	end := t.o.Server.Position
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		p, ok, _ := t.word(name, since)
		return !ok || !end.Known() || p.Position.Timeline != end.Timeline || p.Position.LSN < end.LSN
	})
}

// streams: the member is connected to this primary and has caught up with it.
func (t *turn) streams(name string) bool {
	return slices.ContainsFunc(t.o.Server.Replication, func(w Walsender) bool {
		return strings.EqualFold(w.Name, name) && w.State == "streaming"
	})
}

// switchoverAway: a person wants another leader. The candidates are asked
// before the server is touched, and a request that cannot be met is cleared at
// once, which reports it as refused.
func (t *turn) switchoverAway() bool {
	f := t.failover()
	if !t.live() || !t.running(ServerPrimary) || !f.Requested() {
		return false
	}
	if why := t.refusal(f); why != "" {
		return t.refuse(why)
	}
	if left := t.promisedAway(); left > 0 && t.o.Server.Position.Known() {
		t.wake(left)
		return t.withDuties(sentence("another leader was asked for; the members promised to leave the lease alone while the store was silent: waiting another %s for that to be over", left))
	}
	h := Handing{Why: HandingSwitchover, Candidate: f.Candidate, Request: f.Version, Asynchronous: f.Leader == ""}
	cands := t.successors(h)
	if len(cands) == 0 {
		return t.refuse("no member may take over: it would have to be known, allowed to lead" + t.andSync())
	}
	if t.m.Handing.Request != f.Version || t.m.Handing.Asked.IsZero() {
		h.Asked = t.o.Now
		t.m.Handing = h
		t.wake(askWait)
		// Asked right after a promotion, no duty was done yet: a candidate that came back
		// meanwhile could not lead. The others wait for the end of the request.
		return t.answer(SituationHandingOver, sentence("a switchover was asked for: asking %v about taking over", names(cands)),
			append([]Action{{Kind: AskPeers, Names: names(cands)}}, t.failsafeDuty()...)...)
	}
	good, open := t.goodCandidates(cands, t.m.Handing.Asked, t.nearNow)
	streaming := slices.DeleteFunc(slices.Clone(good), func(name string) bool { return !t.streams(name) })
	switch {
	case len(streaming) == 0 && len(good) > 0 && t.since(t.m.Handing.Asked) < streamWait:
		// Right after a restart of the primary its standbys are still on their way
		// back; one that is not connected would not get the last record.
		t.wake(soon)
		return t.answer(SituationHandingOver, sentence("a switchover was asked for; waiting until one of the candidates (%v) streams", good))
	case len(good) > 0 && len(streaming) == 0:
		return t.refuse(sentence("none of the candidates (%v) streams from this primary", good))
	case len(streaming) > 0:
		h.Asked = t.m.Handing.Asked
		return t.beginHanding(h, sentence("a switchover was asked for and %v can take over: stopping the primary cleanly", streaming))
	case open && t.since(t.m.Handing.Asked) < askWait:
		t.wake(soon)
		return t.answer(SituationHandingOver, sentence("waiting for the word of %v", names(cands)))
	default:
		why := sentence("none of the candidates (%v) answered that it can take over with at most %d bytes of lag", names(cands), t.o.Settings.MaxLagOnFailover)
		if out := slices.DeleteFunc(names(cands), func(name string) bool { return !t.notListed(name) }); len(out) > 0 {
			why += sentence("; not recorded for failsafe_mode yet: %v", out)
		}
		return t.refuse(why)
	}
}

func (t *turn) andSync() string {
	if t.view.Sync.Active() {
		return ", and a synchronous standby"
	}
	return ""
}

// refusal says why a request makes no sense for this leader.
func (t *turn) refusal(f cluster.Failover) string {
	me := t.o.Self.Name
	switch {
	case t.missed(f) != "":
		return t.missed(f)
	case f.Leader != "" && f.Leader != me:
		return sentence("%s leads now, not %s", me, f.Leader)
	case f.Candidate == me:
		return me + " leads already"
	case t.o.Settings.Paused && f.Candidate == "":
		return "while paused a switchover needs a named candidate"
	}
	return ""
}

func (t *turn) refuse(why string) bool {
	t.m.Handing = Handing{}
	t.wake(soon)
	return t.answer(SituationLeading, "clearing the request for another leader: "+why,
		Action{Kind: ClearFailover, Version: t.view.Failover.Version, Why: why})
}

// lead: this member leads a running primary: one rule, then its duties.
func (t *turn) lead() bool {
	if !t.live() || !t.running(ServerPrimary) {
		return false
	}
	t.m.Handing = Handing{}
	if !t.o.Server.Position.Known() {
		// Everything that only the server can tell is missing, not empty: acting
		// on it would publish position zero, empty the synchronous set, drop slots.
		t.wake(roundLength)
		return t.answer(SituationLeading, "leads, but its server does not answer: its duties wait"+lastError(t.o.Server)+t.stall)
	}
	if t.o.Server.Position.LSN != t.view.Status.Optime {
		// What a failover may lose is counted from the published position: while
		// it moves, look often enough to publish it before much was written.
		t.wake(statusPace)
	}
	return t.withDuties(sentence("leads on timeline %d", t.o.Server.Position.Timeline) + t.stall)
}

// withDuties answers with what a leader always does.
func (t *turn) withDuties(why string) bool {
	return t.answer(SituationLeading, why, t.duties()...)
}

// takeOver: the lease is ours and the server still a standby. The order binds:
// the branch it continues, then the sync key (from here on only this member may
// lead), then the number of the timeline, then the promotion.
func (t *turn) takeOver() bool {
	if !t.live() || !t.running(ServerStandby) {
		return false
	}
	release := Action{Kind: ReleaseLeader, Session: t.o.Lease.Session}
	switch {
	case t.view.Leader.Session != t.o.Lease.Session:
		// What another leader wrote right before, for example a new synchronous
		// standby, is in every reading that shows the own key, and in no older one.
		t.wake(soon)
		return t.answer(SituationLeading, "won the lease; waiting for a reading of the store that shows it")
	case t.m.StartFailures >= maxStarts:
		t.m.StartFailures, t.m.BackoffUntil = 0, t.o.Now.Add(backoff)
		return t.answer(SituationLeading, sentence("the promotion failed %d times (%s): giving the lease up", maxStarts, t.o.Task.Last.Error), release)
	case !t.o.Guard.Ready():
		// Somebody else can lead meanwhile, and may be this member again.
		t.wake(soon)
		return t.answer(SituationLeading, sentence("won the lease, but %s, and nothing may write without: giving it up", t.o.Guard.Missing()), release)
	case t.o.Server.Rewinding || t.o.Server.RewindUnproven:
		return t.answer(SituationLeading, "won the lease, but the server was rewound and is not known to be consistent: giving it up", release)
	case !t.o.Server.Position.Known():
		t.wake(soon)
		return t.answer(SituationLeading, "won the lease, but the server does not say where its WAL ends: giving it up", release)
	case election.DivergedFrom(t.standing(), t.ground()) != "":
		return t.answer(SituationLeading, "won the lease, but "+election.DivergedFrom(t.standing(), t.ground())+": giving it up", release)
	case t.unlisted():
		return t.answer(SituationLeading, "won the lease, but "+whyUnlisted+": giving it up", release)
	case !t.forced() && election.WhyNot(t.standing(), t.ground()) != "":
		// It took the lease by a view that was old: another led meanwhile, or the
		// synchronous standby is another by now.
		return t.answer(SituationLeading, "won the lease, but "+election.WhyNot(t.standing(), t.ground())+": giving it up", release)
	}
	if id := t.identityDuty(); id != nil {
		// Somebody may have promoted by hand: another member may be on a branch of
		// this number too, and would stream from this one if nothing told them apart.
		t.wake(soon)
		return t.answer(SituationLeading, sentence("won the lease at %s: registering first which branch of that timeline it continues", endOf(t.o.Server.Position)), id...)
	}
	next := max(t.o.Server.Position.Timeline, t.view.Timelines.Highest(), t.view.History.Timeline(), t.heardOf()) + 1
	var acts []Action
	if t.o.Server.Receiver || t.o.Server.Upstream != "" {
		acts = append(acts, Action{Kind: StopReceiver})
	}
	if t.view.Sync.Active() || t.o.Settings.SyncMode == cluster.SyncOn {
		acts = append(acts, Action{Kind: WriteSync, Session: t.o.Lease.Session, Version: t.view.Sync.Version,
			Sync: cluster.SyncState{Leader: t.o.Self.Name, Before: t.syncBefore()}})
	}
	lost := t.lost()
	if lost != "" {
		// The record is over, whatever becomes of this promotion: it would keep those
		// from leading who follow this member.
		acts = append(acts, t.clearHandover()...)
	}
	// The published position is the former leader's. It is written again, so that a word
	// of that one which comes late does not replace it: nobody might be near enough to
	// what the cluster has left. Nor is it lowered: of promotions that fail one after the
	// other each would allow the next to lose as much again. Who leads in spite of it
	// publishes its own, for if this agent died before that, nobody would be near enough.
	publish := Action{Kind: PublishStatus, Session: t.o.Lease.Session, Optime: t.view.Status.Optime}
	if g := t.ground(); g.Optime.Sub(t.o.Server.Position.LSN) > g.MaxLag {
		publish.Optime = 0
	}
	acts = append(acts, publish,
		Action{Kind: ClaimTimeline, Session: t.o.Lease.Session, Version: t.view.Timelines.Version,
			Claim: cluster.TimelineClaim{Timeline: next, Winner: t.o.Self.Name}},
		Action{Kind: Promote, Session: t.o.Lease.Session, Timeline: next})
	return t.answer(SituationLeading, sentence("won the lease at %s: promoting to timeline %d", endOf(t.o.Server.Position), next)+lost, acts...)
}

// heardOf is the highest timeline that any member is known to be on. The register
// of claims can have gone back with a store that was restored from a backup: a
// number that lives in somebody's data is not given to a second branch, since
// PostgreSQL would let the two stream from each other.
func (t *turn) heardOf() wal.Timeline {
	const beyond = 1 << 30 // no cluster comes there: a number like that is rubbish
	var most wal.Timeline
	hear := func(tl wal.Timeline) {
		if tl < beyond {
			most = max(most, tl)
		}
	}
	for _, m := range t.view.Members {
		hear(m.Timeline)
	}
	for _, m := range t.m.Members {
		hear(m.Timeline)
	}
	for _, p := range t.o.Peers {
		hear(p.Position.Timeline)
	}
	return most
}

// forced: a person named this member in a failover (not a switchover), knowing
// that it may lack commits.
func (t *turn) forced() bool {
	f := t.failover()
	return f.Candidate == t.o.Self.Name && f.Leader == ""
}
