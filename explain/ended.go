package explain

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

// writesEnded is the span in which the old primary accepted its last write.
func (t *teller) writesEnded(l loss) (earliest, latest time.Time) {
	if stop := find(l.told, func(e *entry) bool { _, ok := e.action(ha.Stop); return ok }); stop != nil {
		if down := downSince(l.told); !down.IsZero() {
			return stop.at, down
		}
	}
	for _, e := range t.old() {
		switch {
		case e.at.After(t.c.At):
		case e.event(journal.ServerFenced) != nil,
			e.event(journal.ServerExited) != nil && slices.Contains(l.told, e),
			e.done(ha.Fence) && slices.Contains(l.told, e):
			return e.at, e.at
		case e.rec.Rule == ha.CrashedPrimary && slices.Contains(l.told, e):
			at := e.instant(e.turn().Observation.Server.RoleSince)
			return at, at
		}
	}
	return t.leaseRanOut(l)
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
