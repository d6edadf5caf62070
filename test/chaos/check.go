package chaos

import (
	"fmt"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/wal"
)

// maxLag is maximum_lag_on_failover.
const maxLag = 256 << 10

// reign is a timeline that took rows: one primary's, from its promotion on.
type reign struct {
	timeline    uint32
	nodes       map[string]bool
	systems     map[string]bool
	first, last Ack
	acks        []Ack // in the order of At
}

// reigns sorts acknowledgements into timelines.
func reigns(acks []Ack) []*reign {
	by := map[uint32]*reign{}
	for _, a := range acks {
		r := by[a.Timeline]
		if r == nil {
			r = &reign{timeline: a.Timeline, nodes: map[string]bool{}, systems: map[string]bool{}}
			by[a.Timeline] = r
		}
		r.nodes[a.Node], r.systems[a.System] = true, true
		r.acks = append(r.acks, a)
	}
	var out []*reign
	for _, r := range by {
		slices.SortFunc(r.acks, func(a, b Ack) int { return int(a.At - b.At) })
		r.first, r.last = r.acks[0], r.acks[len(r.acks)-1]
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *reign) int { return int(a.timeline) - int(b.timeline) })
	return out
}

// checkOnePrimary is I1: no commit is acknowledged on a timeline after the first on
// a later one. late is how much later than it arrived an acknowledgement may have
// been noted; in the spans nothing is promised. It says what is wrong, once for
// each pair of timelines.
func checkOnePrimary(rs []*reign, late func(Ack) time.Duration, exempt []span) (wrong []string) {
	for i, old := range rs {
		for _, next := range rs[i+1:] {
			var worst Ack
			for _, a := range old.acks {
				a.At = a.At.Add(-late(a))
				if a.At > next.first.At && a.At > worst.At && !slices.ContainsFunc(exempt, func(s span) bool { return s.from <= a.At && a.At <= s.to }) {
					worst = a
				}
			}
			if worst.ID == 0 {
				continue
			}
			first := next.first
			wrong = append(wrong, fmt.Sprintf("%s acknowledged row %d on timeline %d to client %q %s after %s acknowledged the first row of timeline %d, %d, to client %q (the former was sent %s before that, and executed %s after it)",
				worst.Node, worst.ID, old.timeline, worst.Via, worst.At.Sub(first.At).Round(100*time.Microsecond), first.Node, next.timeline, first.ID, first.Via,
				first.At.Sub(worst.Sent).Round(100*time.Microsecond), worst.Executed.Sub(first.At).Round(100*time.Microsecond)))
		}
	}
	return wrong
}

// checkTimelines is I5: a timeline has one primary, and all are of one database.
func checkTimelines(rs []*reign) (wrong []string) {
	systems := map[string]bool{}
	for _, r := range rs {
		if len(r.nodes) > 1 {
			wrong = append(wrong, fmt.Sprintf("on timeline %d rows were accepted by %v", r.timeline, keys(r.nodes)))
		}
		for s := range r.systems {
			systems[s] = true
		}
	}
	if len(systems) > 1 {
		wrong = append(wrong, fmt.Sprintf("rows were accepted by different databases: %v", keys(systems)))
	}
	return wrong
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// missing are the acknowledged rows that are not there.
func missing(acks []Ack, there map[int64]bool) (out []Ack) {
	for _, a := range acks {
		if !there[a.ID] {
			out = append(out, a)
		}
	}
	return out
}

// checkLoss is I3 for the lost rows of an asynchronous cluster: on each timeline
// they lie within the allowed lag and what was written since a position can last
// have been published: that is once in loop_wait while the leader reaches the
// store, and not any more from then to the end of its lease.
func checkLoss(lost []Ack, rs []*reign, fork map[uint32]wal.LSN) (wrong []string) {
	for _, r := range reigns(lost) {
		whole := rs[slices.IndexFunc(rs, func(o *reign) bool { return o.timeline == r.timeline })]
		from, known := fork[r.timeline]
		if !known {
			from = whole.first.LSN // all of the timeline was given up
		}
		end := from
		for _, a := range r.acks {
			end = max(end, a.LSN)
		}
		published := from
		for _, a := range whole.acks {
			if a.At < r.last.At.Add(-ttl-2*time.Second) {
				published = max(published, a.LSN)
			}
		}
		if allowed := maxLag + uint64(end-published); uint64(end-from) > allowed {
			wrong = append(wrong, fmt.Sprintf("%d acknowledged rows of timeline %d, %d bytes from %s to %s, are lost: at most %d bytes may be", len(r.acks), r.timeline, uint64(end-from), from, end, allowed))
		}
	}
	return wrong
}
