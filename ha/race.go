package ha

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha/election"
)

// race: nobody leads. Every member stops its WAL receiver first and leaves it
// so until it sees a leader: from then on its position is a promise not to
// confirm the old primary's commits. Then it asks the others, and takes the
// lease if nobody is better. The store lets only one succeed.
func (t *turn) race() bool {
	if !t.leaderless() || !t.running(ServerStandby) || t.o.Settings.Paused && t.failover().Candidate != t.o.Self.Name {
		return false
	}
	if t.o.Server.Receiver || t.o.Server.Upstream != "" {
		if t.formerUnguarded() && t.since(t.o.Server.Heard) < heardLately {
			t.m.Streamed = t.o.Now
		}
		t.wake(soon)
		return t.answer(SituationLeaderless, "the leader key is gone: stopping the WAL receiver, so that the position given in the race stays true", Action{Kind: StopReceiver})
	}
	t.m.Promised = true
	if t.o.Lease.Session == "" {
		t.wake(soon)
		return t.answer(SituationLeaderless, "nobody leads; no session in the store yet to race with")
	}
	if back := t.putBack(); len(back) > 0 {
		t.wake(soon)
		return t.answer(SituationLeaderless, "nobody leads; the sync key names this member for a promotion that never came about: putting back what it said before, so that others may lead", back...)
	}
	if f := t.failover(); f.Candidate == t.o.Self.Name {
		if why := t.whyNotByHand(f); why == "" {
			return t.take("a person named this member as the next leader")
		}
	}
	if t.m.WhyNot != "" {
		t.wake(roundLength)
		return t.answer(SituationLeaderless, "nobody leads; this member may not: "+t.m.WhyNot+t.whatToDo())
	}
	return t.contest()
}

// whyNotByHand is whyNot for a candidate named by a person. A switchover was
// asked for while all was well and never means to lose anything: its candidate
// is only preferred. A failover names a member in spite of lag, and of the
// synchronous set; divergence, unreplayed WAL, a restored store and nofailover
// still hold it back: in synchronous mode a leader that may never lead again
// would leave nobody who may.
func (t *turn) whyNotByHand(f cluster.Failover) string {
	if f.Leader != "" {
		return t.m.WhyNot
	}
	st := t.standing()
	switch {
	case !st.Tags.MayLead():
		return "its tags say nofailover"
	case !st.Position.Known() || !t.o.Server.ReplayDone || t.o.Server.RewindUnproven:
		return "its position is not known"
	case t.storeIsNew():
		return t.howNew()
	case t.o.Now < t.m.BackoffUntil:
		return whyBackoff
	case t.unlisted():
		return whyUnlisted
	}
	return election.DivergedFrom(st, t.ground())
}

// whyBackoff: see backOff. A person's word does not make a promotion succeed either.
const whyBackoff = "its last promotion failed"

// take asks the store for the lease. The promotion follows when it is ours.
func (t *turn) take(why string) bool {
	t.wake(soon)
	return t.answer(SituationLeaderless, sentence("%s, at %s: taking the lease", why, endOf(t.o.Server.Position)+t.lost()),
		Action{Kind: TakeLeader, Session: t.o.Lease.Session})
}

// contest asks the rivals and compares.
func (t *turn) contest() bool {
	rivals := t.rivals()
	if len(rivals) == 0 {
		return t.take("nobody else could lead")
	}
	if t.m.RaceAsked.IsZero() || t.since(t.m.RaceAsked) >= backoff {
		return t.askRivals(rivals)
	}
	// A round that was lost is run again. One that was not is evaluated however
	// late, or a member whose turns are slow would ask for ever.
	late, over := t.since(t.m.RaceAsked) >= peerWait, t.since(t.m.RaceAsked) >= roundLength
	var again, waiting, silent, absent, writing []string
	for _, r := range rivals {
		p, answered, open := t.word(r.Name, t.m.RaceAsked)
		switch {
		case !answered && (late || !open) && !p.Closed && t.stillStreamed(r):
			if t.heldUpBy(r, "was still sending WAL when its lease was over, and has no guard") {
				return true
			}
			writing = append(writing, r.Name)
		case open && !late:
			waiting = append(waiting, r.Name)
		case !answered && !late && p.ServerSilent:
			// Its agent is there, and its server may be in a moment: after a loss of power
			// it may have what nobody else has.
			waiting = append(waiting, r.Name)
			if t.mayAskAgain(r.Name) {
				again = append(again, r.Name)
			}
			t.wake(askEvery)
		case !answered:
			// Unreachable: it does not count; the store arbitrates.
			silent = append(silent, r.Name)
		case late && p.InRecovery && !p.Voting && r.Matriarch != "" && t.since(t.m.LeaderlessSince) >= t.o.Settings.TTL:
			// Its server answers and never stops its WAL receiver, as when the postmaster
			// hangs: it takes no part, and whoever waits for it waits for ever.
			absent = append(absent, r.Name)
		case over && (!p.InRecovery || t.beatenBy(p)):
			return t.askRivals(rivals)
		case !p.InRecovery:
			if t.heldUpBy(r, "still says that it is a primary") {
				return true
			}
			if !r.Guarded {
				writing = append(writing, r.Name)
			}
		case !p.Voting && r.Matriarch != "" && !late:
			// It has not noticed yet that nobody leads: its position is no promise.
			waiting = append(waiting, r.Name)
			if t.mayAskAgain(r.Name) {
				again = append(again, r.Name)
			}
			t.wake(askEvery)
		case t.beatenBy(p):
			t.wakeAt(t.m.RaceAsked.Add(roundLength))
			return t.answer(SituationLeaderless, sentence("nobody leads; %s is the better candidate (%s, here %s)", r.Name, endOf(p.Position), endOf(t.o.Server.Position)))
		}
	}
	if len(waiting) > 0 {
		t.wakeAt(t.m.RaceAsked.Add(peerWait))
		var acts []Action
		if len(again) > 0 {
			acts = append(acts, Action{Kind: AskPeers, Names: again})
		}
		return t.answer(SituationLeaderless, sentence("nobody leads; waiting for the word of %v", waiting), acts...)
	}
	why := "nobody that answered is better"
	if len(silent) > 0 {
		why += sentence(", and %v did not", silent)
	}
	if len(absent) > 0 {
		why += sentence("; %v took no part for a ttl", absent)
	}
	if len(writing) > 0 {
		why += sentence("; %v, which no guard stops, MAY STILL WRITE: what it commits from here on is lost; stop its server", writing)
	}
	return t.take(why)
}

// heardLately is how fresh a message of the upstream is that shows its life.
const heardLately = 2 * time.Second

// formerUnguarded: who led last has nothing that stops its server when its lease
// ends: it is run by another program, or its guard was switched off.
func (t *turn) formerUnguarded() bool {
	return t.m.Leader.Name != "" && t.m.Leader.Name != t.o.Self.Name && !t.m.Leader.Guarded && t.m.Leader.APIURL != ""
}

// stillStreamed: the member led without a guard, and its server sent WAL after its
// lease was over.
func (t *turn) stillStreamed(m cluster.Member) bool {
	return t.formerUnguarded() && m.Name == t.m.Leader.Name && !t.m.Streamed.IsZero()
}

// askRivals begins a round of questions.
func (t *turn) askRivals(rivals []cluster.Member) bool {
	t.m.RaceAsked = t.o.Now
	t.wake(soon)
	return t.answer(SituationLeaderless, sentence("nobody leads: asking for the position of %v", names(rivals)),
		Action{Kind: AskPeers, Names: names(rivals)})
}

// rivals are the members whose word counts. The former leader's does not when
// its own guard or its clean stop proves that it does not write any more, nor
// do members that could never win.
func (t *turn) rivals() []cluster.Member {
	return slices.DeleteFunc(t.others(), func(m cluster.Member) bool {
		former := m.Name == t.m.Leader.Name
		switch {
		case t.failover().Candidate == m.Name && t.since(t.m.LeaderlessSince) < successorWait:
			return false
		case !m.Tags.MayLead():
			return true
		case t.view.Sync.Active() && !t.view.Sync.Holds(m.Name) && !t.handoverProves():
			return true
		case m.Name == t.view.Handover.Leader && t.sinceHandover() < successorWait:
			return true
		default:
			_, present := t.view.Member(m.Name)
			return former && m.Guarded && !present
		}
	})
}

// beatenBy reports whether the peer is the better candidate. A candidate that a
// person named is better for a while, whatever its position.
func (t *turn) beatenBy(p Peer) bool {
	if p.EligibleKnown && !p.Eligible && !t.othersMayWait() || !p.Position.Known() || p.WatchdogFailed {
		return false
	}
	if t.failover().Candidate == p.Name && t.since(t.m.LeaderlessSince) < successorWait {
		return true
	}
	rival := election.Standing{Name: p.Name, Tags: p.Tags, Position: p.Position}
	if !p.EligibleKnown && election.WhyNot(rival, t.ground()) != "" {
		return false
	}
	return election.Ahead(rival, t.standing())
}

// othersMayWait: the store is new, this member has waited for a ttl, and
// whoever saw it later waits still. Who saw it first is not the best: for another
// ttl the one that is ahead is given the time, or what only it has would be lost.
func (t *turn) othersMayWait() bool {
	since := t.newSince()
	return !since.IsZero() && t.since(since) < t.newFor()+t.o.Settings.TTL
}

// heldUpBy: a member's server seems to accept writes. One with a guard is being
// stopped; one without may go on for as long as it likes, so after unguarded_veto (a
// ttl unless set) the race goes on, saying so.
func (t *turn) heldUpBy(m cluster.Member, what string) bool {
	limit := t.o.Settings.TTL
	if veto := t.o.Settings.UnguardedVeto; veto > 0 && !m.Guarded {
		limit = veto
	}
	if t.m.VetoSince.IsZero() {
		t.m.VetoSince = t.o.Now
	}
	left := limit - t.since(t.m.VetoSince)
	if left <= 0 {
		return false
	}
	t.wakeAt(t.m.RaceAsked.Add(roundLength))
	return t.answer(SituationLeaderless, sentence("nobody leads, but %s %s: waiting up to %s", m.Name, what, left))
}
