package ha

import (
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha/election"
)

// handoverBinds: the last leader stopped cleanly and recorded where its log ends,
// so nobody who lacks its last record may lead by itself: for as long as it takes,
// unless the operator chose to lose it. A store that was restored may show a record
// of any time; somebody it speaks of may never come back, so it binds for a while.
func (t *turn) handoverBinds() bool {
	h := t.view.Handover
	if !h.Present() {
		return false
	}
	waits := !t.o.Settings.LoseLastRecord && t.m.HandoverRestored != h.Version
	return waits || t.sinceHandover() < t.bindsFor()
}

// bindsFor is how long a record binds where it does not bind for ever.
func (t *turn) bindsFor() time.Duration {
	if t.o.Settings.LoseLastRecord {
		return max(t.o.Settings.TTL, t.o.Settings.PrimaryStopTimeout)
	}
	return t.o.Settings.TTL
}

// boundFor says for how long nobody without the last record may lead.
func (t *turn) boundFor() string {
	if t.o.Settings.LoseLastRecord {
		return sentence("for %s nobody without it may lead", t.bindsFor())
	}
	return "nobody without it may lead unless a person names it"
}

// whatToDo is the remedy, while the record of a clean stop keeps this member from
// leading and will not cease to. It says so by itself: what else stands in the way
// comes first in the sentence, may pass in a moment, and is what was told.
func (t *turn) whatToDo() string {
	h := t.view.Handover
	if t.o.Settings.LoseLastRecord || t.m.HandoverRestored == h.Version || !election.Lacks(t.standing(), t.ground()) {
		return ""
	}
	return sentence("; waiting for the last record of %s, at %s: start that member or another that has it, or name one with `matriarch failover --candidate`, which loses what it lacks",
		h.Leader, h.LSN)
}

// lost tells what is given up by leading without the last record of a clean stop,
// and nothing where this member has it.
func (t *turn) lost() string {
	h, own := t.view.Handover, t.o.Server.Position
	g := t.ground()
	g.Handover = h
	if !h.Present() || !own.Known() || !election.Lacks(t.standing(), g) {
		return ""
	}
	if own.Timeline != h.Timeline {
		return sentence("; %s stopped cleanly at %s on timeline %d, WHICH THIS MEMBER DOES NOT HAVE: what it lacks of that is lost", h.Leader, h.LSN, h.Timeline)
	}
	return sentence("; %s stopped cleanly at %s: the last %d bytes of that ARE LOST", h.Leader, h.LSN, h.LSN.Sub(own.LSN))
}

// sinceHandover is how long ago the last leader gave the lease up as it recorded.
// That is when the key was seen to go, not when the record was written: a leader
// that dies between the two leaves a lease that runs for a ttl, and so does a
// successor that dies before anything else. A record that is older than both is
// one that a later leader could not clear, or is kept in force by a member that
// takes the lease again and again and cannot be promoted: it is of no account.
func (t *turn) sinceHandover() time.Duration {
	if since := t.since(t.m.HandoverSeen); since >= 3*t.bindsFor() {
		return since
	}
	return t.since(max(t.m.HandoverSeen, t.m.LeaderlessSince))
}

// handoverProves: nobody can have acknowledged anything that is not in the log
// whose end the last leader recorded, so that who has that end may lead although
// the sync key does not name it. The key may have been written before that
// standby came, or name one that is lost.
//
// Whoever led since has left a trace, and any trace makes the record one of an
// earlier leadership. A member that is promoted writes the sync key in its name,
// then claims a number, before it writes anything else. The one that wrote the
// record does not start its server again under that lease (see endRecorded), and
// takes the record away before it does so under another, which has another
// version. A store that was restored may show a record of any time.
func (t *turn) handoverProves() bool {
	h := t.view.Handover
	other := t.view.Sync.Active() && !strings.EqualFold(t.view.Sync.Leader, h.Leader)
	if !h.Present() || h.Term == "" || h.Timeline == 0 || other || t.leaderIsOther() {
		return false
	}
	newest := max(t.view.Timelines.Highest(), t.view.History.Timeline(), t.heardOf())
	again := t.m.LeaderKey.Name == h.Leader && t.m.LeaderKey.Version != h.Term
	return newest <= h.Timeline && !again && t.m.HandoverRestored != h.Version && t.m.HandoverUnsure != h.Version
}

// endRecorded: under the lease that is held, the end of the log was recorded, or may
// have been. What the server wrote from here on, a successor that goes by the
// record would not have, so this leadership is over.
func (t *turn) endRecorded() bool {
	return t.o.Lease.Held && t.m.Recorded != "" && t.m.Recorded == t.o.Lease.Session
}

// releaseAgain repeats a release whose outcome is not known, with its record: the key
// must not go before that.
func (t *turn) releaseAgain() Action {
	if t.o.Server.Clean && t.o.Server.Position.Known() {
		return t.release(t.haveAll(names(t.heirs(Handing{})), t.m.CrashAsked))
	}
	return Action{Kind: ReleaseLeader, Session: t.o.Lease.Session}
}

// release is the action that gives the lease up and records first what the next
// leader must have.
func (t *turn) release(have []string) Action {
	t.m.Released, t.m.Recorded = t.o.Now, t.o.Lease.Session
	return Action{Kind: ReleaseLeader, Session: t.o.Lease.Session, Handover: t.handover(have)}
}

// handover is the record of what the next leader must have, and who has it.
func (t *turn) handover(have []string) cluster.Handover {
	end := t.o.Server.Position
	h := cluster.Handover{Leader: t.o.Self.Name, Timeline: end.Timeline, LSN: end.LSN, Members: have}
	if l := t.view.Leader; l.Session == t.o.Lease.Session {
		h.Term = l.Version
	}
	return h
}

// clearHandover takes the record of an earlier leadership away: a server that
// writes makes it untrue.
func (t *turn) clearHandover() []Action {
	if !t.view.Handover.Present() {
		return nil
	}
	return []Action{{Kind: ClearHandover, Version: t.view.Handover.Version}}
}
