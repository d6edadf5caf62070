package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// trace is the readable story of a world. It is only written when asked for:
// a seed that fails is run again with it.
type trace struct {
	on    bool
	lines []string
}

func (w *world) tracef(format string, args ...any) {
	if !w.trace.on {
		return
	}
	w.trace.lines = append(w.trace.lines, fmt.Sprintf("%9.3fs  ", w.now.Seconds())+fmt.Sprintf(format, args...))
}

// traceTurn tells of a turn whose decision differs from the one before.
func (w *world) traceTurn(a *agent, o *ha.Observation, d *ha.Decision) {
	if !w.trace.on {
		return
	}
	var acts []string
	for _, x := range d.Actions {
		if x.Kind != ha.PublishStatus && x.Kind != ha.KeepSlots {
			acts = append(acts, traceAction(x))
		}
	}
	does := string(d.Rule) + d.Why + strings.Join(acts, ",")
	if does == a.lastTold || d.Rule == ha.Lead && len(acts) == 0 {
		return
	}
	a.lastTold = does
	s := o.Server
	lease := ""
	if o.Lease.Held {
		lease = fmt.Sprintf(" | lease for %s", o.Lease.Deadlines.Hard.Sub(o.Now).Round(time.Millisecond))
	}
	w.tracef("%s: [%s] %s | %s %s %s%s | %s", a.m.name, d.Rule, d.Why, s.Role, s.Process, s.Position, lease, strings.Join(acts, ", "))
}

func traceAction(x ha.Action) string {
	s := string(x.Kind)
	switch {
	case !x.Upstream.IsZero():
		s += "(" + x.Upstream.Name + ")"
	case len(x.Names) > 0:
		s += fmt.Sprint(x.Names)
	case x.Kind == ha.WriteSync:
		s += fmt.Sprintf("(%s %v)", x.Sync.Leader, x.Sync.Standbys)
	case x.Kind == ha.Promote:
		s += fmt.Sprintf("(%d)", x.Timeline)
	case x.Kind == ha.ClaimTimeline, x.Kind == ha.PublishIdentity:
		s += fmt.Sprintf("(%d)", x.Claim.Timeline)
	}
	return s
}

func (w *world) traceTask(a *agent, x ha.Action) {
	w.tracef("%s: %s begins", a.m.name, traceAction(x))
}

// describe says what world it is.
func (w *world) describe(seed uint64, faults []Fault) {
	if !w.trace.on {
		return
	}
	s := w.cfg.settings
	w.tracef("seed %d: %d members, ttl %s, loop_wait %s, synchronous_mode %s, maximum_lag_on_failover %d, rewind %t, primary_start_timeout %s, safety phase %s",
		seed, w.cfg.members, s.TTL, s.LoopWait, s.SyncMode, s.MaxLagOnFailover, s.UsePgRewind && w.cfg.canRewind, s.PrimaryStartTimeout, w.cfg.safety)
	for i, f := range faults {
		w.tracef("  fault %d: %s", i, f)
	}
}

// String is the trace as text.
func (t *trace) String() string { return strings.Join(t.lines, "\n") }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
