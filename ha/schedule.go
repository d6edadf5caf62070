package ha

import (
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// scheduleWindow is how late a scheduled action may begin, in loop_waits: one
// that was missed by more was not meant to happen at just any time later.
const scheduleWindow = 1.5

// due says whether the time of a scheduled action has come, and whether it has
// passed by too much.
func (t *turn) due(at time.Time) (now, stale bool) {
	late := t.o.Wall.Sub(at)
	wait := t.o.Settings.LoopWait
	if wait <= 0 {
		wait = backoff
	}
	stale = late > time.Duration(scheduleWindow*float64(wait))
	return late >= 0 && !stale, stale
}

// failover is the request for another leader that is to be carried out now: one
// without a time, or one whose time has come. Until then a scheduled one means
// nothing, also in a race: it was not made for the leader that failed meanwhile.
// In a pause it is left alone.
func (t *turn) failover() cluster.Failover {
	f := t.view.Failover
	at, err := f.At()
	switch {
	case at.IsZero() && err == nil:
		return f
	case t.o.Settings.Paused || !f.Requested():
		return cluster.Failover{}
	case err != nil, t.isDue(at), t.handedOver(f):
		return f
	}
	return cluster.Failover{}
}

func (t *turn) isDue(at time.Time) bool { now, _ := t.due(at); return now }

// handedOver: the leader has stopped for this request. Its clock said that the
// time had come, and a switchover may take longer than the window in which it
// begins.
func (t *turn) handedOver(f cluster.Failover) bool {
	return t.m.Handing.Request != "" && t.m.Handing.Request == f.Version ||
		t.leaderless() && t.view.Handover.Present() && t.view.Handover.Leader == f.Leader
}

// missed says why a scheduled request will never be carried out.
func (t *turn) missed(f cluster.Failover) string {
	at, err := f.At()
	switch {
	case err != nil:
		return sentence("its time %q cannot be read; it must be like 2030-01-31T12:00:00+00:00", f.ScheduledAt)
	case at.IsZero() || t.o.Settings.Paused || t.handedOver(f):
		return ""
	}
	if _, stale := t.due(at); stale {
		return "its time, " + at.Format(time.RFC3339) + ", has passed"
	}
	return ""
}

// wakeForSchedules: what has a time begins at that time, not at the next look.
func (t *turn) wakeForSchedules() {
	at, _ := t.view.Failover.At()
	for _, at := range []time.Time{at, t.o.Requests.Scheduled.At} {
		if at.After(t.o.Wall) {
			t.wake(at.Sub(t.o.Wall))
		}
	}
}
