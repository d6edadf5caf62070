package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/wal"
)

// Address is a member and where it answers.
type Address struct{ Name, Base string }

// Plan says where evidence may be found, and how much of it is wanted.
type Plan struct {
	Scope   string
	Members []Address
	// Entrypoints are addresses of entrypoints' statistics beside those that the
	// members know.
	Entrypoints []string
	// Journals are directories of journals, for members that cannot be asked.
	Journals []string
	Question Question
	// Deep reads as far back as Limit allows, whatever is asked.
	Deep bool
	// Limit bounds the records of one source; 0 means 5000.
	Limit int
}

const (
	defaultLimit = 5000
	pageSize     = 250 // records at once
	probes       = 5
	maxSources   = 64
	probePause   = 5 * time.Millisecond
)

// Gatherer collects evidence. It changes nothing in the cluster.
type Gatherer struct {
	// Client asks. It needs no password, and should have none: some addresses come
	// from records, and may be somebody else's by now.
	Client *client.Client
	// Now is the wall clock.
	Now func() time.Time
}

// Gather asks all sources at once. What cannot be had is said in the evidence.
func (g *Gatherer) Gather(ctx context.Context, p Plan) Evidence {
	if p.Limit <= 0 {
		p.Limit = defaultLimit
	}
	ev := Evidence{Format: EvidenceFormat, Scope: p.Scope, Gathered: g.Now().UTC()}
	ev.Sources = g.membersOf(ctx, p, p.Members)
	// A member that is gone is not in the list of members any more; the records
	// of the others remember where it answered.
	ev.Sources = append(ev.Sources, g.membersOf(ctx, p, absent(ev.Sources))...)
	g.cluster(ctx, &ev)
	ev.Sources = append(ev.Sources, g.entrypointsOf(ctx, p, ev.Sources)...)
	for _, dir := range p.Journals {
		ev.Sources = withJournal(ev.Sources, dir, p.Limit)
	}
	slices.SortStableFunc(ev.Sources, func(a, b Source) int {
		if a.Kind != b.Kind {
			return strings.Compare(string(b.Kind), string(a.Kind)) // members first
		}
		return strings.Compare(a.Name, b.Name)
	})
	return ev
}

// membersOf asks members at once.
func (g *Gatherer) membersOf(ctx context.Context, p Plan, members []Address) []Source {
	if len(members) > maxSources {
		members = members[:maxSources]
	}
	out := make([]Source, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { out[i] = g.member(ctx, p, m) })
	}
	wg.Wait()
	return out
}

func (g *Gatherer) member(ctx context.Context, p Plan, m Address) Source {
	s := Source{Name: m.Name, Kind: KindMember, Address: m.Base}
	if m.Base == "" {
		s.Missing = "it has published no address of its REST interface"
		return s
	}
	st, err := g.Client.Status(ctx, m.Base)
	if err != nil {
		s.Missing = Brief(err)
		return s
	}
	if st.Patroni.Name != "" && st.Patroni.Name != m.Name {
		s.Missing = fmt.Sprintf("at %s answers %q now", m.Base, st.Patroni.Name)
		return s
	}
	now := nowOf(st)
	if lease, err := g.Client.Lease(ctx, m.Base); err == nil {
		now.LeaseLeft = time.Duration(lease.LeaseRemainingMs) * time.Millisecond
	}
	s.Now = &now
	s.Clock = g.clock(ctx, m.Base, "/lease")
	g.records(ctx, p, &s)
	if s.Missing != "" && now.Program == "" {
		s.Missing = "it is run by another program, which keeps no journal"
	}
	return s
}

// nowOf is what a member says of itself.
func nowOf(st api.StatusDoc) Now {
	n := Now{State: st.State, Role: st.Role, Replication: st.ReplState, Paused: st.Pause, Unlocked: st.Unlocked}
	if st.Timeline != nil {
		n.Timeline = *st.Timeline
	}
	if x := st.XLog; x != nil {
		for _, at := range []*wal.LSN{x.Location, x.ReceivedLocation, x.ReplayedLocation} {
			if at != nil && *at > 0 {
				n.LSN = at.String()
				break
			}
		}
	}
	if m := st.Matriarch; m != nil {
		n.Program, n.Guarded, n.Eligible, n.WhyNot, n.Task = m.Version, m.Guarded, m.Eligible, m.WhyNot, m.Task
	}
	return n
}

// clock compares a source's clock with ours.
func (g *Gatherer) clock(ctx context.Context, base, path string) Clock {
	var all []Probe
	for i := range probes {
		if i > 0 {
			select {
			case <-time.After(probePause): // so that one delay does not meet all of them
			case <-ctx.Done():
			}
		}
		r, err := g.Client.Clock(ctx, base, path)
		if err != nil {
			break
		}
		all = append(all, Probe{Sent: r.Sent, Received: r.Received, Wall: r.Wall, Boot: r.Boot, Coarse: r.Coarse})
	}
	return Measure(all)
}

// records reads a journal backwards, page by page, until there is enough.
func (g *Gatherer) records(ctx context.Context, p Plan, s *Source) {
	page, bad, err := g.Client.Records(ctx, s.Address, "", min(pageSize, p.Limit))
	if err != nil {
		s.Missing = Brief(err)
		return
	}
	s.Records, s.Unreadable = page, bad
	for len(page) > 0 && len(s.Records) < p.Limit && !p.enough(s.Records) {
		first := s.Records[0].Seq
		if first <= 1 {
			return
		}
		n := uint64(min(pageSize, p.Limit-len(s.Records)))
		after := first - 1 - min(n, first-1)
		since := strconv.FormatUint(after, 10)
		page, bad, err = g.Client.Records(ctx, s.Address, since, int(first-1-after))
		if err != nil {
			s.Incomplete = "older records could not be read: " + Brief(err)
			return
		}
		page = slices.DeleteFunc(page, func(r journal.Record) bool { return r.Seq >= first })
		s.Records, s.Unreadable = append(page, s.Records...), s.Unreadable+bad
	}
}

// enough: the records reach back behind what is asked for.
func (p Plan) enough(records []journal.Record) bool {
	q := p.Question
	switch {
	case p.Deep || len(records) == 0:
		return false
	case !q.Since.IsZero():
		return records[0].Time.Before(q.Since.Add(-10 * time.Minute))
	}
	leaders := map[string]bool{}
	for _, r := range records {
		if r.Turn == nil {
			continue
		}
		v := r.Turn.Observation.Store.View
		if v.Leader.Held() {
			leaders[v.Leader.Session+" "+string(v.Leader.Version)] = true
		}
		if q.Timeline > 0 && v.History.Present && v.History.Timeline()+1 < q.Timeline {
			return true
		}
	}
	return q.Timeline == 0 && len(leaders) > max(1, q.Last)+1
}

// absent are members that the records remember and that were not asked.
func absent(sources []Source) []Address {
	var out []Address
	known := func(name string) bool {
		return slices.ContainsFunc(sources, func(s Source) bool { return s.Name == name }) ||
			slices.ContainsFunc(out, func(a Address) bool { return a.Name == name })
	}
	add := func(m cluster.Member) {
		if m.Name != "" && m.APIURL != "" && !known(m.Name) {
			out = append(out, Address{Name: m.Name, Base: client.Base(m.APIURL)})
		}
	}
	for _, s := range sources {
		for _, r := range slices.Backward(s.Records) { // the newest address counts
			if r.Turn == nil {
				continue
			}
			for _, m := range r.Turn.Observation.Store.View.Members {
				add(m)
			}
			add(r.Turn.After.Leader)
		}
	}
	return out
}

// cluster asks for what holds for the whole cluster.
func (g *Gatherer) cluster(ctx context.Context, ev *Evidence) {
	for _, s := range ev.Sources {
		if s.Now == nil {
			continue
		}
		if ev.HistoryFrom == "" {
			if lines, err := g.Client.History(ctx, s.Address); err == nil {
				ev.History, ev.HistoryFrom = historyLines(lines), s.Name
			}
		}
		if doc, err := g.Client.Cluster(ctx, s.Address); err == nil && !ev.LeaderKnown {
			ev.LeaderKnown, ev.Paused = true, doc.Pause
			if l, ok := doc.Leader(); ok {
				ev.Leader = l.Name
			}
			if ev.Scope == "" {
				ev.Scope = doc.Scope
			}
		}
		if ev.HistoryFrom != "" && ev.LeaderKnown {
			return
		}
	}
}

// historyLines reads the wire's form; a line that cannot be understood is left
// out.
func historyLines(lines []api.HistoryLine) []cluster.HistoryLine {
	var out []cluster.HistoryLine
	for _, l := range lines {
		if len(l) < 2 {
			continue
		}
		number := func(v any) uint64 {
			n, ok := v.(json.Number)
			if !ok {
				return 0
			}
			u, _ := strconv.ParseUint(n.String(), 10, 64)
			return u
		}
		text := func(i int) string {
			if i >= len(l) {
				return ""
			}
			s, _ := l[i].(string)
			return s
		}
		tl, lsn := number(l[0]), number(l[1])
		if tl == 0 || tl > 1<<32-1 {
			continue
		}
		out = append(out, cluster.HistoryLine{Timeline: wal.Timeline(tl), LSN: wal.LSN(lsn), Reason: text(2), Timestamp: text(3), NewLeader: text(4)})
	}
	return out
}
