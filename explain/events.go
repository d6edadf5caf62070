package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

// link ties events by cause where that is certain, whatever the clocks say: the
// key is free only after it was given up, and seen under the winner's session only
// after that one took it.
type link int

const (
	noLink link = iota
	linkRelease
	linkGone
	linkTake
	linkSeen
)

// causes reports whether an event with the link comes before one with o.
func (l link) causes(o link) bool {
	return l == linkRelease && o == linkGone || l == linkTake && o == linkSeen
}

// moment is an event while the order is made.
type moment struct {
	Event
	src  *source
	link link
}

// events is the time line: what matters of the change, from all sources, in order.
func (t *teller) events() []Event {
	var all []moment
	for _, s := range t.sources {
		for _, e := range s.between(t.lossBegan(), t.eventsEnd()) {
			if m, ok := t.moment(e); ok {
				all = append(all, m)
			}
		}
	}
	for _, p := range t.entrypoints() {
		for _, e := range t.traffic(p) {
			if m, ok := t.moment(e); ok && e.at.Before(t.lossBegan()) {
				all = append(all, m)
			}
		}
	}
	for _, e := range t.requests() {
		if e.at.Before(t.lossBegan()) {
			m, _ := t.moment(e)
			all = append(all, m)
		}
	}
	if e := t.loss.silence; e != nil && e.at.Before(t.lossBegan()) {
		all = append(all, t.lastSign(e))
	}
	for _, g := range t.loss.gone {
		all = append(all, moment{src: g.e.src, link: linkGone, Event: Event{At: g.at, Within: g.e.doubt, Source: g.e.src.Name, Record: g.e.rec.Seq,
			Kind: EventLease, Text: "sees that nobody leads"}})
	}
	return inOrder(all)
}

// maxEvents bounds the time line of a cluster that goes back and forth.
const maxEvents = 120

// lastSign is the last record of a primary that fell silent.
func (t *teller) lastSign(e *entry) moment {
	return moment{src: e.src, Event: Event{At: e.at, Within: e.doubt, Source: e.src.Name, Record: e.rec.Seq, Kind: EventLost,
		Text: "last record as the primary", Rule: string(e.rec.Rule)}}
}

// eventsEnd is when the old primary was back, or the change is settled.
func (t *teller) eventsEnd() time.Time {
	end := t.settled()
	if s := t.named(t.c.From); s != nil && t.c.From != t.c.To {
		back := find(s.between(t.c.beginning(), t.until), func(e *entry) bool {
			return running(e, ha.ServerStandby) && e.turn().Observation.Server.Streaming && e.at.After(t.c.At)
		})
		if back != nil {
			return back.at
		}
	}
	return end
}

// moment makes an event of a record, if it tells something.
func (t *teller) moment(e *entry) (moment, bool) {
	m := moment{src: e.src, Event: Event{At: e.at, Within: e.doubt, Source: e.src.Name, Record: e.rec.Seq, Rule: string(e.rec.Rule)}}
	ok := false
	if e.turn() != nil {
		ok = t.decision(e, &m)
	} else {
		ok = t.happening(e, &m)
	}
	return m, ok
}

// decision makes an event of a turn.
func (t *teller) decision(e *entry, m *moment) bool {
	set := func(k EventKind, format string, args ...any) bool {
		m.Kind, m.Text = k, fmt.Sprintf(format, args...)
		return true
	}
	again := e.prev != nil && e.prev.rec.Rule == e.rec.Rule
	leader, _ := leaderIn(e)
	seen := leader.Name == t.c.To && (t.c.session == "" || leader.Session == t.c.session)
	switch {
	case e == t.loss.release:
		m.link = linkRelease
		return set(EventLease, "gives the lease up")
	case e == t.c.take:
		m.link = linkTake
		return set(EventLease, "takes the lease: %s", strings.TrimSuffix(sentenceOf(e.rec.Why), ": taking the lease"))
	case e == t.c.promote:
		return set(EventDecided, "promotes to timeline %d", t.c.Timeline)
	case e == t.loss.woke:
		return set(EventRepair, "its journal goes on: %s", sentenceOf(e.rec.Why))
	case e.rec.Rule == ha.SwitchoverAway && !again && e.src.Name == t.c.From:
		return set(EventPerson, "%s", sentenceOf(e.rec.Why))
	case slices.Contains(t.loss.told, e) && e.rec.Rule != ha.TaskRunning && !again && e.src.Name == t.c.From:
		return set(EventLost, "%s", sentenceOf(e.rec.Why))
	case e.rec.Rule == ha.Race && e.src.Name != t.c.To && e.turn().After.WhyNot != "" && !again:
		return set(EventDecided, "may not lead: %s", sentenceOf(e.turn().After.WhyNot))
	case e.rec.Rule == ha.Diverged && !again:
		return set(EventRepair, "%s", sentenceOf(e.rec.Why))
	case seen && e.src.Name != t.c.To && t.firstSeen(e):
		m.link = linkSeen
		return set(EventLease, "sees that %s leads", t.c.To)
	case e.src.Name == t.c.From && running(e, ha.ServerStandby) && e.turn().Observation.Server.Streaming && e.at.After(t.c.At) && !again:
		return set(EventRepair, "streams from %s", t.c.To)
	}
	return false
}

// firstSeen: the record before did not know the new leader yet.
func (t *teller) firstSeen(e *entry) bool {
	for p := e.prev; p != nil; p = p.prev {
		if l, ok := leaderIn(p); ok {
			return l.Name != t.c.To || t.c.session != "" && l.Session != t.c.session
		}
	}
	return true
}

// happening makes an event of something that happened outside the decision.
func (t *teller) happening(e *entry, m *moment) bool {
	ev := e.rec.Event
	set := func(k EventKind, format string, args ...any) bool {
		m.Kind, m.Text = k, fmt.Sprintf(format, args...)
		return true
	}
	if text := trafficText(e); text != "" {
		if !slices.Contains(t.traffic(e.src), e) {
			return false
		}
		if ev.Name == journal.PrimaryFound {
			m.link = linkSeen
		}
		return set(EventTraffic, "%s", text)
	}
	if ev == nil {
		return false
	}
	took := approximately(ev.Took)
	if t.toldOnWaking(e) {
		return set(EventRepair, "hears on waking: %s", sentenceOf(e.rec.Why))
	}
	switch ev.Name {
	case journal.ServerExited:
		return set(EventLost, "PostgreSQL %s", exitText(ev.Exit))
	case journal.ServerFenced, journal.LeaseTrouble, journal.LeaseEnded, journal.AgentStopping, journal.AgentEnded:
		return set(EventLost, "%s", sentenceOf(e.rec.Why))
	case journal.LeaseConfirmed, journal.LeaseReleased:
		return set(EventLease, "%s", sentenceOf(e.rec.Why))
	case journal.Requested:
		if ev.Request == nil || !slices.Contains(t.requests(), e) {
			return false
		}
		return set(EventPerson, "%s", sentenceOf(e.rec.Why))
	case journal.AgentStarted, journal.TakenOver, journal.RecordsLost:
		return set(EventRepair, "%s", sentenceOf(e.rec.Why))
	}
	if ev.Error != "" {
		return set(EventLost, "%s fails: %s", harmless(ev.Name), sentenceOf(ev.Error))
	}
	switch ha.ActionKind(ev.Name) {
	case ha.Promote:
		return set(EventPromoted, "is the primary on timeline %d: promoted in %s", t.c.Timeline, took)
	case ha.Stop:
		return set(EventLost, "PostgreSQL is stopped, after %s", took)
	case ha.Fence:
		return set(EventLost, "PostgreSQL is fenced: no process of it runs any more")
	case ha.Rewind:
		return set(EventRepair, "is rewound, in %s", took)
	case ha.Clone:
		return set(EventRepair, "its data are copied anew, in %s", took)
	case ha.StartReplica, ha.Follow:
		return set(EventRepair, "follows as a replica (%s, %s)", ev.Name, took)
	case ha.StartPrimary:
		return set(EventRepair, "PostgreSQL is started again in place, in %s", took)
	}
	return false
}

// toldOnWaking: an agent that had stood still heard of it only afterwards, and its
// time is that of hearing.
func (t *teller) toldOnWaking(e *entry) bool {
	l := t.loss
	return l.cause == CauseFrozen && e.src == l.woke.src && e.rec.Seq > l.silence.rec.Seq && e.rec.Seq < l.woke.rec.Seq && e.at.After(t.c.At)
}

// inOrder sorts events by their corrected times, then by what is certain, and
// marks where the order is not proven.
func inOrder(all []moment) []Event {
	slices.SortStableFunc(all, before)
	all = all[:min(len(all), maxEvents)]
	for i := range all { // a cause never comes after its effect
		for j := range all {
			if all[j].link.causes(all[i].link) && all[i].At.Before(all[j].At) {
				all[i].At = all[j].At
			}
		}
	}
	slices.SortStableFunc(all, before)
	var out []Event
	for i, m := range all {
		m.Number = i + 1
		if i > 0 {
			m.Unproven = !proven(all[i-1], m)
		}
		out = append(out, m.Event)
	}
	return out
}

// before compares by time, and where that is equal by number or cause.
func before(a, b moment) int {
	switch c := a.At.Compare(b.At); {
	case c != 0:
		return c
	case a.src == b.src:
		return cmp.Compare(a.Record, b.Record)
	}
	return cmp.Compare(a.link, b.link) // causes have the smaller numbers
}

// proven: that b came after a is certain.
func proven(a, b moment) bool {
	compared := a.src.dial.clock.Known && b.src.dial.clock.Known
	return a.src.host == b.src.host || a.link.causes(b.link) || compared && b.At.Sub(a.At) > a.Within+b.Within
}
