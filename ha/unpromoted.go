package ha

import (
	"slices"
	"strings"

	"github.com/matriarch-ha/matriarch/cluster"
)

// A promotion that never came about. In synchronous mode a member writes itself into
// the sync key, alone, before it is promoted: from then on it may acknowledge commits
// that nobody else has. If its server dies before it accepts writes, the key keeps
// everybody else from leading for nothing, for ever if that server never runs again.
// So the key says what it said before, and the member, which alone knows that it was
// not promoted, puts that back.

// syncBefore is what the sync key says now, or would be put back to.
func (t *turn) syncBefore() *cluster.SyncBefore {
	if t.unpromoted() {
		return t.view.Sync.Before // of an earlier attempt of its own
	}
	return &cluster.SyncBefore{SyncState: t.view.Sync, Timeline: t.o.Server.Position.Timeline}
}

// unpromoted: the sync key names this member for a promotion, and its server's log
// ends on the timeline still on which it was before. PostgreSQL notes the new timeline
// in its files before it accepts the first write; but one that was promoted, died, and
// was started as a standby is on the former timeline again until it has replayed its log
// past the point where that ends. At that very point, one whose server ran may have
// said that it was on the next timeline, of which it has no record.
func (t *turn) unpromoted() bool {
	k, s := t.view.Sync, t.o.Server
	end := t.stopped() || t.running(ServerStandby) && s.ReplayDone
	return k.Before != nil && strings.EqualFold(k.Leader, t.o.Self.Name) && end &&
		s.Role == ServerStandby && s.Position.Known() && s.Position.Timeline <= k.Before.Timeline
}

// leftPromoting: an agent before this one claimed a timeline for the server that runs
// here, and nobody knows what became of it: the server may have been told to promote.
// One that was stopped since, or is on that timeline or a later one, is past that.
func (t *turn) leftPromoting() bool {
	s := t.o.Server
	if t.m.SeenDown || !t.running(ServerStandby) || t.o.Task.Kind != "" {
		return false
	}
	return slices.ContainsFunc(t.view.Timelines.Claims, func(c cluster.TimelineClaim) bool {
		return c.Winner == t.o.Self.Name && c.Timeline > s.Position.Timeline && !c.Identity.Known()
	})
}

// putBack makes the sync key say what it said before a promotion that never came
// about; no action where there is nothing to put back. The lease is not needed: whoever
// leads later writes the key first, and this compares the version.
func (t *turn) putBack() []Action {
	if !t.unpromoted() || !t.leaderless() && !t.live() || t.tasked() {
		return nil
	}
	return []Action{{Kind: RestoreSync, Version: t.view.Sync.Version, Sync: t.view.Sync.Before.SyncState, Why: "this member was not promoted"}}
}
