package ha

import (
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// handoverBinds: the last leader stopped cleanly and recorded where its log ends,
// so nobody who lacks its last record may lead by itself.
func (t *turn) handoverBinds() bool {
	return t.view.Handover.Present() && t.sinceHandover() < t.o.Settings.TTL
}

// sinceHandover is how long ago the last leader gave the lease up as it recorded.
// That is when the key was seen to go, not when the record was written: a leader
// that dies between the two leaves a lease that runs for a ttl, and so does a
// successor that dies before anything else. A record that is older than both is
// one that a later leader could not clear, or is kept in force by a member that
// takes the lease again and again and cannot be promoted: it is of no account.
func (t *turn) sinceHandover() time.Duration {
	if since := t.since(t.m.HandoverSeen); since >= 3*t.o.Settings.TTL {
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
	if !h.Present() || h.Term == "" || h.Timeline == 0 || !strings.EqualFold(t.view.Sync.Leader, h.Leader) || t.leaderIsOther() {
		return false
	}
	newest := max(t.view.Timelines.Highest(), t.view.History.Timeline(), t.heardOf())
	again := t.m.LeaderKey.Name == h.Leader && t.m.LeaderKey.Version != h.Term
	return newest <= h.Timeline && !again && t.m.HandoverRestored != h.Version
}

// endRecorded: under the lease that is held, the end of the log was recorded, or may
// have been. What the server wrote from here on, a successor that goes by the
// record would not have, so this leadership is over.
func (t *turn) endRecorded() bool {
	return t.o.Lease.Held && t.m.Recorded != "" && t.m.Recorded == t.o.Lease.Session
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
