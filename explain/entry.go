package explain

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

// source is a source with its records placed in time.
type source struct {
	*Source
	host    int // sources with the same number share their clocks
	byCause bool
	dial    dial
	entries []*entry
}

// entry is a record with its corrected time, and how far off that may be.
type entry struct {
	src   *source
	rec   journal.Record
	at    time.Time
	doubt time.Duration
	prev  *entry // the record before, of the same source
}

// turn is the input and output of the decision; nil for an event.
func (e *entry) turn() *journal.Turn { return e.rec.Turn }

// event is the event if the record holds the one of that name.
func (e *entry) event(name string) *journal.Event {
	if e.rec.Event != nil && e.rec.Event.Name == name {
		return e.rec.Event
	}
	return nil
}

// done: the record says that the action ended well.
func (e *entry) done(k ha.ActionKind) bool {
	ev := e.event(string(k))
	return ev != nil && ev.Error == ""
}

// action is the decision's action of that kind.
func (e *entry) action(k ha.ActionKind) (ha.Action, bool) {
	if e.rec.Turn == nil {
		return ha.Action{}, false
	}
	i := slices.IndexFunc(e.rec.Turn.Actions, func(a ha.Action) bool { return a.Kind == k })
	if i < 0 {
		return ha.Action{}, false
	}
	return e.rec.Turn.Actions[i], true
}

// instant places an instant of the host's boot clock that the record speaks of.
func (e *entry) instant(i boot.Instant) time.Time {
	now := instantOf(e.rec)
	if i.IsZero() || now.IsZero() {
		return time.Time{}
	}
	return e.at.Add(i.Sub(now))
}

// ref names the record as evidence.
func (e *entry) ref() Ref { return Ref{Source: e.src.Name, Record: e.rec.Seq} }

// fresh: the agent had just begun: it remembered nothing.
func (e *entry) fresh() bool {
	return freshAgent(e.rec)
}

func freshAgent(r journal.Record) bool {
	switch {
	case r.Event != nil:
		return r.Event.Name == journal.AgentStarted
	case r.Turn != nil:
		return reflect.DeepEqual(r.Turn.Before, ha.Memory{}) && r.Turn.Observation.Task.Last.Seq == 0
	}
	return false
}

// prepare places all records in time. Those of one source keep their order.
func prepare(ev *Evidence) []*source {
	groups := hosts(ev.Sources)
	best := map[int]Clock{}
	for i, s := range ev.Sources {
		if b, ok := best[groups[i]]; !ok || s.Clock.Known && (!b.Known || s.Clock.Error < b.Error) {
			best[groups[i]] = s.Clock
		}
	}
	var out []*source
	for i := range ev.Sources {
		s := &source{Source: &ev.Sources[i], host: groups[i]}
		s.Records = ordered(s.Records)
		s.dial = newDial(best[s.host], s.Records)
		s.place(ev.Gathered)
		out = append(out, s)
	}
	boundByCause(out)
	return out
}

// place gives each record its time.
func (s *source) place(gathered time.Time) {
	for _, r := range s.Records {
		e := &entry{src: s, rec: r}
		e.at, e.doubt = s.dial.place(r, gathered)
		if n := len(s.entries); n > 0 {
			e.prev = s.entries[n-1]
			if own := r.Turn != nil || instantOf(r).IsZero(); own && e.at.Before(e.prev.at) {
				e.at = e.prev.at // the numbers prove the order; an event may be told late
			}
		}
		s.entries = append(s.entries, e)
	}
}

// ordered sorts records by number and drops repeated and impossible ones.
func ordered(records []journal.Record) []journal.Record {
	out := slices.DeleteFunc(slices.Clone(records), func(r journal.Record) bool { return !sane(r) })
	slices.SortStableFunc(out, func(a, b journal.Record) int { return cmp.Compare(a.Seq, b.Seq) })
	return slices.CompactFunc(out, func(a, b journal.Record) bool { return a.Seq == b.Seq })
}

// between are the entries of the source in a span of time, both ends included;
// a zero end is open.
func (s *source) between(from, to time.Time) []*entry {
	var out []*entry
	for _, e := range s.entries {
		if (from.IsZero() || !e.at.Before(from)) && (to.IsZero() || !e.at.After(to)) {
			out = append(out, e)
		}
	}
	return out
}

// find is the first entry that the test accepts, nil for none.
func find(entries []*entry, ok func(*entry) bool) *entry {
	if i := slices.IndexFunc(entries, ok); i >= 0 {
		return entries[i]
	}
	return nil
}

// findLast is the last one.
func findLast(entries []*entry, ok func(*entry) bool) *entry {
	for _, e := range slices.Backward(entries) {
		if ok(e) {
			return e
		}
	}
	return nil
}
