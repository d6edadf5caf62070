package ha

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha/syncrep"
)

// syncSettle is how long new synchronous names must have been in force before a
// position of the primary may stand for "everything acknowledged before": the
// server's processes learn of a reload one after the other.
const syncSettle = time.Second

// duties are what a leader does besides leading, most important first. Each is
// emitted only while something is to be done, except the status, which the
// executor compares with what it wrote last.
func (t *turn) duties() []Action {
	var acts []Action
	add := func(as ...Action) { acts = append(acts, as...) }
	session := t.o.Lease.Session

	if t.view.Initialize.SystemID == "" && t.o.Server.SystemID != "" {
		add(Action{Kind: WriteInitialize, Session: session, Version: t.view.Initialize.Version, SystemID: t.o.Server.SystemID})
	}
	if !t.view.Config.Present {
		add(Action{Kind: WriteConfig, Session: session})
	}
	add(t.failsafeDuty()...)
	add(t.syncDuty()...)
	add(t.announcements()...)
	if f := t.view.Failover; f.Requested() && !(t.o.Settings.Paused && f.ScheduledAt != "") && t.refusal(f) != "" {
		add(Action{Kind: ClearFailover, Version: f.Version, Why: t.refusal(f)})
	}
	add(t.clearHandover()...)
	add(t.slotDuty()...)
	add(Action{Kind: PublishStatus, Session: session})
	if cp := t.o.Server.CheckpointTimeline; cp != 0 && cp != t.o.Server.Position.Timeline && t.o.Task.Kind == "" {
		add(Action{Kind: Checkpoint})
	}
	return acts
}

// announce has the timeline of this primary published whatever else it is busy with,
// candidates that it asks or a stop that it orders: until then a member that diverged
// from it cannot know that, and serves on. It comes last, so that what the rule wants
// relies on none of it; like any duty it waits for the store for a while. A server
// that is shutting down tells nothing of itself, so this is the last turn before that.
func (t *turn) announce() {
	s, l := t.o.Server, t.o.Lease
	switch {
	case !t.live() || l.Session == "" || l.Adrift || t.m.Led != l.Session || !t.o.Store.Reachable || t.leaderIsOther(),
		s.Role != ServerPrimary || !s.Position.Known() || t.o.Task.Kind == Promote || t.o.Task.Kind == StartPrimary,
		t.view.Initialize.SystemID == "" || t.view.Initialize.SystemID != s.SystemID,
		slices.ContainsFunc(t.d.Actions, func(a Action) bool {
			return a.Kind == Exit || a.Kind == Fence || a.Kind == ReleaseLeader || a.Kind == WriteHistory || a.Kind == PublishIdentity
		}):
		return
	}
	t.d.Actions = append(slices.Clip(t.d.Actions), t.announcements()...)
}

// announcements are what says which branch this primary writes.
func (t *turn) announcements() []Action {
	var acts []Action
	if lines, stale := t.staleHistory(); stale {
		acts = append(acts, Action{Kind: WriteHistory, Session: t.o.Lease.Session, Lines: lines})
	}
	return append(acts, t.identityDuty()...)
}

// staleHistory returns the history as it should be, and whether the stored one
// is not that.
func (t *turn) staleHistory() ([]cluster.HistoryLine, bool) {
	tl, own := t.o.Server.Position.Timeline, t.o.Server.History
	if tl == 0 || (tl > 1 && len(own) == 0) {
		return nil, false // not read yet
	}
	stored := t.view.History
	if tl == 1 {
		return nil, len(stored.Lines) > 0
	}
	last := own[len(own)-1]
	if n := len(stored.Lines); n > 0 && stored.Lines[n-1].Timeline == last.Timeline && stored.Lines[n-1].LSN == last.LSN {
		return nil, false
	}
	var lines []cluster.HistoryLine
	for _, s := range own {
		line := cluster.HistoryLine{Timeline: s.Timeline, LSN: s.LSN, Reason: s.Reason}
		for _, old := range stored.Lines {
			if old.Timeline == s.Timeline && old.LSN == s.LSN {
				line = old
			}
		}
		lines = append(lines, line)
	}
	end := &lines[len(lines)-1]
	if end.NewLeader == "" {
		end.NewLeader = t.o.Self.Name
		end.Timestamp = t.o.Wall.Format("2006-01-02T15:04:05.000000-07:00")
	}
	if keep := t.o.Settings.MaxHistory; keep > 0 && len(lines) > keep {
		lines = lines[min(len(lines)-keep, t.needed(lines)):]
	}
	return lines, true
}

// needed is the first line without which a present member would seem to be on no
// ancestor of this timeline: it would be stopped and copied anew for nothing, or
// be kept from leading.
func (t *turn) needed(lines []cluster.HistoryLine) int {
	for i, line := range lines {
		if slices.ContainsFunc(t.view.Members, func(m cluster.Member) bool { return m.Timeline == line.Timeline }) {
			return i
		}
	}
	return len(lines)
}

// identityDuty publishes which branch bears the number of our timeline.
func (t *turn) identityDuty() []Action {
	tl, id := t.o.Server.Position.Timeline, t.o.Server.Identity
	if tl <= 1 || !id.Known() {
		return nil
	}
	claim, ok := t.view.Timelines.Claim(tl)
	if ok && claim.Identity.Known() && (claim.Identity.CRC != 0 || id.CRC == 0) {
		return nil
	}
	if !ok {
		claim = cluster.TimelineClaim{Timeline: tl, Winner: t.o.Self.Name}
	}
	claim.Identity = id
	return []Action{{Kind: PublishIdentity, Session: t.o.Lease.Session, Version: t.view.Timelines.Version, Claim: claim}}
}

// syncDuty takes one step of the synchronous planner.
func (t *turn) syncDuty() []Action {
	m, s := &t.m, t.o.Server
	if !slices.Equal(m.SyncNames, s.SyncNames) || m.SyncSince.IsZero() {
		m.SyncNames, m.SyncSince, m.SyncMark = s.SyncNames, t.o.Now, 0
	}
	if m.SyncMark == 0 && len(s.SyncNames) > 0 {
		if t.since(m.SyncSince) >= syncSettle {
			m.SyncMark = s.Position.LSN
		} else {
			t.wake(syncSettle)
		}
	}
	if t.view.Sync.Before != nil && t.view.Status.Optime.Sub(s.Position.LSN) > t.o.Settings.MaxLagOnFailover {
		// The position of the leader before stands yet: if this member died now, only
		// what the key says of the time before would let it lead again.
		t.wake(soon)
		return nil
	}
	step := syncrep.Next(syncrep.State{
		Me: t.o.Self.Name, Mode: t.o.Settings.SyncMode, Sync: t.view.Sync,
		InForce: s.SyncNames, Streaming: t.syncCandidates(), Mark: m.SyncMark,
		Open: m.SyncOpen.may(t.o.Lease.Session, t.view.Sync.Version),
	})
	switch step.Kind {
	case syncrep.WriteKey:
		t.wake(soon)
		m.SyncOpen.Version = step.Sync.Version
		return []Action{{Kind: WriteSync, Session: t.o.Lease.Session, Version: step.Sync.Version, Sync: step.Sync, Why: step.Why}}
	case syncrep.SetNames:
		t.wake(soon)
		return []Action{{Kind: SetSyncNames, Names: step.Names, Why: step.Why}}
	}
	if t.o.Settings.SyncMode == cluster.SyncOn && len(s.SyncNames) > 0 && !t.view.Sync.HasStandby(s.SyncNames[0]) {
		t.wake(syncSettle) // waiting for it to catch up
	}
	return nil
}

// syncCandidates are the members that stream and may be synchronous.
func (t *turn) syncCandidates() []syncrep.Standby {
	var out []syncrep.Standby
	for _, w := range t.o.Server.Replication {
		m, ok := t.view.Member(w.Name)
		if !ok || w.State != "streaming" || !m.Running() || m.Name == t.o.Self.Name {
			continue
		}
		out = append(out, syncrep.Standby{Name: m.Name, Priority: m.Tags.SyncPriorityOr1(),
			NoFailover: !m.Tags.MayLead(), SyncState: w.SyncState, Flush: w.Flush})
	}
	return out
}

// slotDuty keeps a slot for each other member, and for a while for one that is
// gone, so that the WAL it needs is still there when it returns.
func (t *turn) slotDuty() []Action {
	if !t.o.Settings.UseSlots {
		return nil
	}
	var seen []SlotSeen
	for _, m := range t.view.Members {
		if m.Name != t.o.Self.Name && !m.Tags.NoStream {
			seen = append(seen, SlotSeen{Name: cluster.SlotName(m.Name), At: t.o.Now})
		}
	}
	known := func(name string) bool {
		return slices.ContainsFunc(seen, func(s SlotSeen) bool { return s.Name == name })
	}
	for _, old := range t.m.SlotsSeen {
		if !known(old.Name) && t.since(old.At) < t.o.Settings.SlotsTTL {
			seen = append(seen, old)
		}
	}
	if t.m.SlotsSeen == nil { // the first turn as leader: the store remembers for us
		for _, name := range t.view.Status.Retain {
			if !known(name) && name != cluster.SlotName(t.o.Self.Name) {
				seen = append(seen, SlotSeen{Name: name, At: t.o.Now})
			}
		}
	}
	slices.SortFunc(seen, func(a, b SlotSeen) int { return compare(a.Name, b.Name) })
	t.m.SlotsSeen = seen
	var want []cluster.SlotState
	for _, s := range seen {
		want = append(want, cluster.SlotState{Name: s.Name})
	}
	if slices.EqualFunc(want, t.o.Server.Slots, func(a, b cluster.SlotState) bool { return a.Name == b.Name }) {
		return nil
	}
	return []Action{{Kind: KeepSlots, Slots: want}}
}

// standbySlots keeps the slots of the other members on a standby as far as the
// leader published them, so that they survive a failover.
func (t *turn) standbySlots() []Action {
	if !t.o.Settings.UseSlots || !t.o.Self.Tags.MayLead() {
		return nil
	}
	own := cluster.SlotName(t.o.Self.Name)
	var want []cluster.SlotState
	for _, s := range t.view.Status.Slots {
		if s.Name != own {
			want = append(want, cluster.SlotState{Name: s.Name, LSN: min(s.LSN, t.o.Server.Replayed)})
		}
	}
	if slices.EqualFunc(want, t.o.Server.Slots, func(a, b cluster.SlotState) bool { return a.Name == b.Name && a.LSN <= b.LSN }) {
		return nil
	}
	return []Action{{Kind: KeepSlots, Slots: want}}
}
