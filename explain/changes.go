package explain

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// change is a change of the primary with the records that tell of it. What it is
// known by is its timeline: a number is claimed once in the life of a cluster.
type change struct {
	Change
	session string // under which the winner holds the lease; empty: not known
	take    *entry // the winner's decision to take the lease
	took    *entry // the lease was its own
	promote *entry // its decision to promote
	done    *entry // the promotion ended well
	leads   *entry // its first decision as a running primary
	failed  *entry // the last promotion that failed
	line    *cluster.HistoryLine
	claimed bool
}

// happened: some record or the history says that the timeline was begun.
func (c *change) happened() bool {
	return c.done != nil || c.leads != nil || c.line != nil
}

// findChanges collects the changes of the primary from all that is known, oldest
// first.
func findChanges(ev *Evidence, sources []*source) []*change {
	byTimeline := map[wal.Timeline]*change{}
	get := func(tl wal.Timeline) *change {
		if byTimeline[tl] == nil {
			byTimeline[tl] = &change{Change: Change{Timeline: tl}}
		}
		return byTimeline[tl]
	}
	for _, s := range sources {
		promotionsOf(s, get)
	}
	lines, claims := longestHistory(ev, sources)
	for i := range lines {
		l := &lines[i]
		c := get(childOf(lines, i, claims))
		c.line, c.Parent, c.LSN = l, l.Timeline, l.LSN
		c.To = cmp.Or(c.To, l.NewLeader)
	}
	for _, claim := range claims.Claims {
		if c := byTimeline[claim.Timeline]; c != nil {
			c.claimed, c.To = true, cmp.Or(c.To, claim.Winner)
			c.LSN = cmp.Or(c.LSN, claim.Identity.Switch)
		}
	}
	var out []*change
	for _, tl := range slices.Sorted(maps.Keys(byTimeline)) {
		if c := byTimeline[tl]; c.happened() && c.To != "" {
			c.complete(out)
			out = append(out, c)
		}
	}
	return out
}

// promotionsOf finds the timelines that a member began, by its own records.
func promotionsOf(s *source, get func(wal.Timeline) *change) {
	var take, took *entry
	var now *change
	for _, e := range s.entries {
		if _, ok := e.action(ha.TakeLeader); ok {
			take, took = e, nil
		}
		if e.done(ha.TakeLeader) {
			took = e
		}
		if a, ok := e.action(ha.Promote); ok && a.Timeline > 0 {
			now = get(a.Timeline)
			now.To, now.session = s.Name, a.Session
			if now.promote == nil {
				now.take, now.took, now.promote = take, took, e
			}
		}
		if now == nil {
			continue
		}
		switch t := e.turn(); {
		case e.done(ha.Promote):
			now.done = e
		case e.event(string(ha.Promote)) != nil:
			now.failed = e
		case t != nil && e.rec.Rule == ha.Lead && t.Observation.Server.Position.Timeline == now.Timeline:
			now.leads, now = e, nil
		case t != nil && !t.Observation.Lease.Held:
			now = nil
		}
	}
}

// longestHistory is the history that knows most, and the claims likewise.
func longestHistory(ev *Evidence, sources []*source) ([]cluster.HistoryLine, cluster.Timelines) {
	lines := ev.History
	var claims cluster.Timelines
	for _, s := range sources {
		e := findLast(s.entries, func(e *entry) bool { return e.turn() != nil && e.turn().Observation.Store.Known })
		if e == nil {
			continue
		}
		v := e.turn().Observation.Store.View
		if newestOf(v.History.Lines) > newestOf(lines) {
			lines = v.History.Lines
		}
		if v.Timelines.Highest() > claims.Highest() {
			claims = v.Timelines
		}
	}
	return lines, claims
}

func newestOf(lines []cluster.HistoryLine) wal.Timeline {
	if len(lines) == 0 {
		return 0
	}
	return lines[len(lines)-1].Timeline
}

// childOf is the timeline that began where line i ends: numbers may be skipped.
func childOf(lines []cluster.HistoryLine, i int, claims cluster.Timelines) wal.Timeline {
	if i+1 < len(lines) {
		return lines[i+1].Timeline
	}
	child := lines[i].Timeline + 1
	for _, c := range claims.Claims {
		if c.Timeline > child && c.Identity.Switch == lines[i].LSN {
			child = c.Timeline
		}
	}
	return child
}

// complete fills in what follows from the records and the changes before.
func (c *change) complete(before []*change) {
	switch {
	case len(before) > 0:
		c.From = before[len(before)-1].To
	case c.take != nil:
		c.From = c.take.turn().After.Leader.Name
	}
	if c.promote != nil {
		server := c.promote.turn().Observation.Server
		c.Parent = cmp.Or(c.Parent, server.Position.Timeline)
		c.Recorded = true
	}
	if c.line != nil && c.At.IsZero() {
		c.At, _ = time.Parse(time.RFC3339, c.line.Timestamp)
		c.At = c.At.UTC()
	}
	for _, e := range []*entry{c.leads, c.done} { // the last that is known counts
		if e != nil {
			c.At = e.at
		}
	}
}

// promised: the winner's records show the race.
func (c *change) raced() bool { return c.take != nil && c.take.turn() != nil }

// beginning is when the change can first be seen in the winner's records; zero
// without any.
func (c *change) beginning() time.Time {
	for _, e := range []*entry{c.take, c.promote, c.done, c.leads} {
		if e != nil {
			return e.at
		}
	}
	return c.At
}
