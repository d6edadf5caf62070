package explain

import (
	"cmp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

// span is when the old primary accepted its last write: between earliest and
// latest, which are zero where that is not known. The records are what says so;
// nil: what the lease allows.
type span struct {
	earliest, latest time.Time
	alive, gone      *entry
}

// exactly: the end itself was seen.
func exactly(at time.Time) span { return span{earliest: at, latest: at} }

// writesEnded is the span in which the old primary accepted its last write.
func (t *teller) writesEnded(l loss) span {
	if stop := find(l.told, func(e *entry) bool { _, ok := e.action(ha.Stop); return ok }); stop != nil {
		if down := downSince(l.told); !down.IsZero() {
			return span{earliest: stop.at, latest: down}
		}
	}
	for _, e := range t.old() {
		switch {
		case e.at.After(t.c.At):
		case foundNothing(e):
			// It had ended before; nobody here saw when.
			renewed, _ := t.leaseRanOut(l)
			return t.narrowed(l, span{earliest: renewed, latest: e.at, gone: e})
		case e.event(journal.ServerFenced) != nil,
			e.event(journal.ServerExited) != nil && slices.Contains(l.told, e),
			e.done(ha.Fence) && slices.Contains(l.told, e):
			return exactly(e.at)
		case e.rec.Rule == ha.CrashedPrimary && slices.Contains(l.told, e):
			return exactly(e.instant(e.turn().Observation.Server.RoleSince))
		}
	}
	s := span{}
	s.earliest, s.latest = t.leaseRanOut(l)
	return t.narrowed(l, s)
}

// foundNothing: a guard that was to kill the server found no process of it.
func foundNothing(e *entry) bool {
	ev := e.event(journal.ServerFenced)
	return ev != nil && ev.Fence != nil && ev.Fence.Processes == 0
}

// narrowed brings the ends of a span together by what was seen of the server: its
// own last record as a primary, and a port that refused after that.
func (t *teller) narrowed(l loss, s span) span {
	if s.latest.IsZero() {
		return s // a refusal alone does not say that the server was lost for good
	}
	alive := l.silence
	if alive == nil {
		alive = findLast(t.old(), func(e *entry) bool { return leads(e) && e.at.Before(s.latest) })
	}
	if alive != nil && running(alive, ha.ServerPrimary) {
		if at := alive.at.Add(-t.off(alive)); at.After(s.earliest) && at.Before(s.latest) {
			s.earliest, s.alive = at, alive
		}
	}
	if e := t.refused(); e != nil {
		if at := e.at.Add(t.off(e)); at.After(s.earliest) && at.Before(s.latest) {
			s.latest, s.gone = at, e
		}
	}
	if s.earliest.IsZero() {
		return span{}
	}
	return s
}

// off is how far the record may be dated wrongly against the promotion: sources on
// one host share their clocks.
func (t *teller) off(e *entry) time.Duration {
	end := cmp.Or(t.c.leads, t.c.done)
	switch {
	case end == nil:
		return e.doubt
	case end.src.host == e.src.host:
		return 0
	}
	return e.doubt + end.doubt
}

// refused is the first record of an entrypoint that the old primary's port refused
// a connection, as one does without a postmaster, and did not serve again.
func (t *teller) refused() *entry {
	var out *entry
	for _, p := range t.entrypoints() {
		var last *entry
		for _, e := range p.between(t.from, t.c.At) {
			ev := e.rec.Event
			if ev == nil || ev.Traffic == nil || ev.Traffic.Primary != t.c.From {
				continue
			}
			switch {
			case ev.Name == journal.PrimaryFound:
				last = nil
			case ev.Name == journal.PrimaryLost && last == nil && strings.HasSuffix(sentenceOf(e.rec.Why), syscall.ECONNREFUSED.Error()):
				last = e
			}
		}
		if last != nil && (out == nil || last.at.Before(out.at)) {
			out = last
		}
	}
	return out
}

// downSince is when a server that was told to stop is first known to have written
// its last record: its postmaster may end later, or the action that stopped it.
func downSince(told []*entry) time.Time {
	var out time.Time
	add := func(at time.Time) {
		if !at.IsZero() && (out.IsZero() || at.Before(out)) {
			out = at
		}
	}
	for _, e := range told {
		switch t := e.turn(); {
		case e.done(ha.Stop), e.event(journal.ServerExited) != nil:
			add(e.at)
		case t == nil:
		case t.Observation.Server.ShutDown || t.Observation.Server.Process == ha.ProcessStopped:
			add(e.at)
			add(e.instant(t.After.Handing.Down))
		}
	}
	return out
}

// leaseRanOut counts back from when the store let the lease go: it was renewed
// last about one grant before, and a guarded server was stopped at the deadline
// that follows from that.
func (t *teller) leaseRanOut(l loss) (earliest, latest time.Time) {
	if len(l.gone) == 0 || l.release != nil {
		return time.Time{}, time.Time{}
	}
	gone := l.gone[0]
	granted, hard := gone.e.turn().Observation.Settings.TTL, time.Duration(0)
	if l.silence != nil && l.silence.turn() != nil {
		if lease := l.silence.turn().Observation.Lease; lease.Granted > 0 {
			granted, hard = lease.Granted, lease.Deadlines.Hard.Sub(lease.Deadlines.Sent)
		}
	}
	if granted <= 0 || granted > 24*time.Hour || hard < 0 || hard > granted {
		return time.Time{}, time.Time{}
	}
	latest = gone.at
	if hard > 0 {
		latest = gone.at.Add(hard - granted)
	}
	return gone.at.Add(-granted), latest
}
