package compose

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestThaw freezes the leader's whole container for longer than ttl in a cluster
// without synchronous replication, where nothing but a fence keeps a backend from
// telling its client of a commit in the instant between its waking and its end.
// Many clients write to the old leader's own port all the time.
//
// With the capability that compose.yaml grants, none of them hears of a commit
// after the new leader's first. Without it that is promised for the entrypoint
// alone, and what the others heard is told.
func TestThaw(t *testing.T) {
	for _, k := range []struct {
		name, project string
		fenced        bool
	}{{"with NET_ADMIN", "thaw", true}, {"without NET_ADMIN", "thaw-bare", false}} {
		t.Run(k.name, func(t *testing.T) {
			if !k.fenced {
				slow(t) // it measures, and can fail for the entrypoint alone, which the first does too
			}
			t.Parallel()
			p := newProject(t, k.project)
			if !k.fenced {
				p.edit("compose.yaml", "cap_add: [NET_ADMIN, IPC_LOCK, SYS_NICE]", "cap_add: []")
			}
			for _, file := range memberFiles {
				p.edit(file, "synchronous_mode: true", "synchronous_mode: false")
			}
			p.do("up", "-d")
			lead := p.waitHealthy(2*time.Minute, nodes...)
			next := other(lead)
			p.sql(lead, "CREATE TABLE written (id bigint PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())")
			entry := lab.WriteTo(t, p.dsn("entrypoint"), 1)
			entry.WaitProgress(t, time.Minute)
			before := p.many(lead, 1)
			for _, w := range before {
				w.WaitProgress(t, time.Minute)
			}

			p.docker("pause", lead)
			frozen := time.Now()
			p.waitLeader(ttl+time.Minute, lead, next)
			after := p.many(next, 2)
			for _, w := range append(after, entry) {
				w.WaitProgress(t, time.Minute)
			}
			p.docker("unpause", lead)
			p.see("%s: %s thawed after %.0f s", k.name, lead, time.Since(frozen).Seconds())
			if now := p.waitHealthy(2*time.Minute, nodes...); now != next {
				t.Fatalf("%s leads, want %s", now, next)
			}
			late := acknowledgedLate(before, after)
			for _, w := range append(append(before, after...), entry) {
				w.Stop()
			}
			if lost := entry.Lost(t, p.dsn(next)); len(lost) > 0 {
				t.Errorf("%d rows acknowledged through the entrypoint are not on the new leader, such as %d", len(lost), lost[0])
			}
			if k.fenced && late > 0 {
				t.Errorf("%d clients of the old leader were told of a commit after the new leader's first", late)
			}
			p.see("%s: of %d clients on the old leader's own port, %d were told of a commit after the new leader's first; through the entrypoint none was", k.name, len(before), late)
		})
	}
}

// many are as many writers as find a backend in every state, on a node's port.
func (p *project) many(node string, block int64) []*lab.Writer {
	var all []*lab.Writer
	for i := range int64(12) {
		all = append(all, lab.WriteTo(p.t, p.dsn(node), block<<50+i<<40))
	}
	return all
}

// acknowledgedLate counts the old leader's clients that heard of a commit after
// any client of the new leader did.
func acknowledgedLate(before, after []*lab.Writer) int {
	first := after[0].Acks()[0].At
	for _, w := range after {
		first = min(first, w.Acks()[0].At)
	}
	late := 0
	for _, w := range before {
		if acks := w.Acks(); acks[len(acks)-1].At > first {
			late++
		}
	}
	return late
}
