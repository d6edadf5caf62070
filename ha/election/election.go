// Package election says who may lead and who is the better candidate, and why
// each other is not: the words it returns are shown to people.
//
// It is pure. It judges what it is told; whether a position was promised (the
// WAL receiver stopped) is the caller's concern.
package election

import (
	"fmt"
	"slices"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// Standing is what a member brings to the race.
type Standing struct {
	Name     string
	Tags     cluster.Tags
	Position wal.Position
	Identity cluster.TimelineIdentity
	History  wal.History // ancestors of Position.Timeline, by its own files
}

// Ground is what the cluster demands of its next leader.
type Ground struct {
	History   cluster.History
	Timelines cluster.Timelines
	Sync      cluster.SyncState
	// Optime is the last position the leader published; a candidate may be at
	// most MaxLag bytes behind it.
	Optime wal.LSN
	MaxLag uint64
	// Handover binds when the last leader stopped cleanly: its last record is
	// demanded too.
	Handover cluster.Handover
	// Proof is where the log of the leader whose synchronous standbys Sync lists is
	// known to end: who is at exactly that point has all that it ever acknowledged,
	// listed or not.
	Proof         cluster.Handover
	CheckTimeline bool
}

// WhyNot says why s may not lead, and nothing when it may.
func WhyNot(s Standing, g Ground) string {
	if why := Reasons(s, g); len(why) > 0 {
		return why[0]
	}
	return ""
}

// Reasons lists all that keeps s from leading, what weighs most first; none when
// it may lead. Of a member whose position is not known nothing else can be said
// that is about its log.
func Reasons(s Standing, g Ground) []string {
	var out []string
	if !s.Tags.MayLead() {
		out = append(out, "its tags say nofailover")
	}
	if !s.Position.Known() {
		return append(out, "its WAL position is not known")
	}
	if why := DivergedFrom(s, g); why != "" {
		out = append(out, why)
	}
	if why := pastNewest(s, g.Timelines); why != "" {
		out = append(out, why)
	}
	if tl := Current(g.History, g.Timelines); g.CheckTimeline && s.Position.Timeline < tl {
		out = append(out, fmt.Sprintf("it is on timeline %d and the cluster on %d", s.Position.Timeline, tl))
	}
	switch {
	case g.Sync.Active() && g.Sync.Quorum > 0:
		out = append(out, "the synchronous set was written in quorum mode, whose votes are not supported yet")
	case g.Sync.Active() && !g.Sync.Holds(s.Name) && !provenToHaveAll(s, g):
		out = append(out, "it is not a synchronous standby and may lack acknowledged commits")
	}
	if Lacks(s, g) {
		out = append(out, fmt.Sprintf("%s stopped cleanly at %s and it has only %s", g.Handover.Leader, g.Handover.LSN, s.Position.LSN))
	}
	// After a clean stop the published position may be that of the leader before: who
	// led last need not have published any.
	if TooFar(s, g) {
		out = append(out, fmt.Sprintf("it is %d bytes behind the last known position of the leader, more than the %d allowed",
			g.Optime.Sub(s.Position.LSN), g.MaxLag))
	}
	return out
}

// TooFar reports whether s is further behind the published position than may be lost,
// and is not known to have all that was acknowledged.
func TooFar(s Standing, g Ground) bool {
	return g.Optime.Sub(s.Position.LSN) > g.MaxLag && !hasAcknowledged(s.Name, g.Sync) && !provenToHaveAll(s, g)
}

// hasAcknowledged: by the sync key the member has all that was ever acknowledged,
// however much a leader wrote beyond that: it is a synchronous standby, or was one and
// is being promoted. The key's leader has what it published itself; where it has not,
// its data went back.
func hasAcknowledged(name string, k cluster.SyncState) bool {
	return k.Active() && (k.HasStandby(name) || k.Before != nil && k.Holds(name))
}

// provenToHaveAll: s ends where the leader that stopped cleanly ended. A log that
// goes on there shows that somebody wrote after that, and who knows how much.
func provenToHaveAll(s Standing, g Ground) bool {
	p := g.Proof
	return p.Present() && p.Timeline != 0 && s.Position.Timeline == p.Timeline && s.Position.LSN == p.LSN
}

// Lacks reports whether the last record of a leader that stopped cleanly is
// demanded, and s does not have it.
func Lacks(s Standing, g Ground) bool { return g.Handover.Present() && !has(s, g) }

// has reports whether s has the last record of a leader that stopped cleanly.
// Positions of two branches cannot be compared by LSN alone: a member of an
// older leader's branch may be further along and lack it. Once another leader
// has published its timeline since, the handover is an old one and binds nobody.
func has(s Standing, g Ground) bool {
	h := g.Handover
	if h.Timeline == 0 || s.Position.Timeline == h.Timeline {
		return s.Position.LSN >= h.LSN
	}
	if Current(g.History, g.Timelines) > h.Timeline {
		return true
	}
	at, ok := s.History.SwitchOf(h.Timeline)
	return ok && at >= h.LSN
}

// DivergedFrom says why s cannot be on the cluster's line of descent, and
// nothing when it is, or when that cannot be known.
func DivergedFrom(s Standing, g Ground) string {
	d := Descent{Timeline: Current(g.History, g.Timelines), History: g.History.WAL(), Claims: g.Timelines}
	if d.Timeline == 0 {
		d.Timeline = s.Position.Timeline // no history published: only identities can speak
	}
	if s.Position.Timeline > d.Timeline {
		// Its leader promoted and was lost before it could publish the switch. A
		// number is claimed under the lease, and claims only grow: the member's
		// line is newer than the published one.
		c, claimed := g.Timelines.Claim(s.Position.Timeline)
		if claimed && !c.Identity.Conflicts(s.Identity) {
			return ""
		}
		if _, ok := s.History.SwitchOf(d.Timeline); ok {
			d.Timeline = s.Position.Timeline // it continues the published line
		}
	}
	return d.WhyDiverged(s)
}

// pastNewest: the newest branch that is known began before where s has come to on an
// older timeline. That branch is the cluster's line, and where it begins is registered
// before its history is published. Of older branches it is not known whether the line
// runs through them. It is no divergence that holds a person's failover back: such a
// branch may have been lost with its disk before anybody followed it.
func pastNewest(s Standing, t cluster.Timelines) string {
	for _, c := range slices.Backward(t.Claims) {
		if !c.Identity.Known() {
			continue
		}
		if s.Position.Timeline < c.Timeline && s.Position.LSN > c.Identity.Switch {
			return fmt.Sprintf("it has WAL up to %s on timeline %d, and the cluster's timeline %d began at %s",
				s.Position.LSN, s.Position.Timeline, c.Timeline, c.Identity.Switch)
		}
		break
	}
	return ""
}

// Current is the cluster's timeline, 0 when it is unknown. The history names
// only its ancestors, and numbers may be skipped (a number claimed by a member
// that was lost is never used again), so the register says which number the
// branch has that begins where the history ends.
func Current(h cluster.History, t cluster.Timelines) wal.Timeline {
	tl := h.Timeline()
	if len(h.Lines) == 0 {
		return tl
	}
	last := h.Lines[len(h.Lines)-1]
	for _, c := range t.Claims {
		if c.Timeline > last.Timeline && c.Identity.Switch == last.LSN {
			tl = max(tl, c.Timeline)
		}
	}
	return tl
}

// Descent is a line of descent: a timeline, its ancestors, and what is known of
// the branches' identities.
type Descent struct {
	Timeline wal.Timeline
	History  wal.History
	Claims   cluster.Timelines
}

// WhyDiverged says why the member's log is not part of the descent, and nothing
// when it is or when the position is unknown.
func (d Descent) WhyDiverged(s Standing) string {
	if !s.Position.Known() {
		return ""
	}
	if c, ok := d.Claims.Claim(s.Position.Timeline); ok && c.Identity.Conflicts(s.Identity) {
		return fmt.Sprintf("it is on another timeline %d than the cluster's: that one left its parent at %s (checksum %08x), its own at %s (checksum %08x)",
			s.Position.Timeline, c.Identity.Switch, c.Identity.CRC, s.Identity.Switch, s.Identity.CRC)
	}
	if d.History.Place(s.Position, d.Timeline) == wal.Diverged {
		if at, ok := d.History.SwitchOf(s.Position.Timeline); ok {
			return fmt.Sprintf("it has WAL up to %s on timeline %d, which the cluster left at %s", s.Position.LSN, s.Position.Timeline, at)
		}
		return fmt.Sprintf("its timeline %d is no ancestor of the cluster's timeline %d", s.Position.Timeline, d.Timeline)
	}
	for _, line := range s.History {
		if at, ok := d.History.SwitchOf(line.Timeline); ok && at != line.LSN {
			return fmt.Sprintf("it left timeline %d at %s and the cluster at %s", line.Timeline, line.LSN, at)
		}
	}
	return ""
}

// Ahead reports whether a is the better candidate of two that both may lead:
// the later position, then the higher failover priority, then the name, so that
// two members never both think themselves best.
func Ahead(a, b Standing) bool {
	if a.Position.Timeline != b.Position.Timeline {
		// On one line of descent a later timeline begins where the earlier ended.
		return a.Position.Timeline > b.Position.Timeline
	}
	if a.Position.LSN != b.Position.LSN {
		return a.Position.LSN > b.Position.LSN
	}
	if pa, pb := a.Tags.FailoverPriorityOr1(), b.Tags.FailoverPriorityOr1(); pa != pb {
		return pa > pb
	}
	return a.Name < b.Name
}
