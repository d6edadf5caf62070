package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// trace is the readable story of a world. It is only written when asked for:
// a seed that fails is run again with it.
type trace struct {
	on    bool
	lines []line
}

// line is one line of the story; weight says how much it tells.
type line struct {
	text   string
	weight weight
}

type weight int

const (
	quiet weight = iota // waiting, and all is well
	told                // what a member decided or did
	fact                // what happened to it: kept in any story
)

func (w *world) tracef(format string, args ...any) { w.traceAs(fact, format, args...) }

func (w *world) traceAs(x weight, format string, args ...any) {
	if w.trace.on {
		w.trace.lines = append(w.trace.lines, line{fmt.Sprintf("%9.3fs  ", w.now.Seconds()) + fmt.Sprintf(format, args...), x})
	}
}

// weigh says how much a decision tells: rules that wait tell nothing.
func weigh(d *ha.Decision, acts int) weight {
	switch d.Rule {
	case ha.Idle, ha.TaskRunning, ha.NoData, ha.WaitForBootstrap, ha.CloneData, ha.BootstrapCluster:
		return quiet
	case ha.FollowLeader, ha.StoreUnknown, ha.Lead, ha.CrashedReplica:
		if acts == 0 {
			return quiet
		}
	}
	return told
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
	w.traceAs(weigh(d, len(acts)), "%s: [%s] %s | %s %s %s%s | %s", a.m.name, d.Rule, d.Why, s.Role, s.Process, s.Position, lease, strings.Join(acts, ", "))
}

func traceAction(x ha.Action) string {
	s := string(x.Kind)
	switch {
	case !x.Upstream.IsZero():
		s += "(" + x.Upstream.Name + ")"
	case len(x.Names) > 0:
		s += fmt.Sprint(x.Names)
	case x.Kind == ha.WriteSync || x.Kind == ha.RestoreSync:
		s += fmt.Sprintf("(%s %v)", x.Sync.Leader, x.Sync.Standbys)
	case x.Kind == ha.Promote:
		s += fmt.Sprintf("(%d)", x.Timeline)
	case x.Kind == ha.ClaimTimeline, x.Kind == ha.PublishIdentity:
		s += fmt.Sprintf("(%d)", x.Claim.Timeline)
	}
	return s
}

func (w *world) traceTask(a *agent, x ha.Action) {
	w.traceAs(quiet, "%s: %s begins", a.m.name, traceAction(x))
}

// describe says what world it is.
func (w *world) describe(seed uint64, faults []Fault) {
	if !w.trace.on {
		return
	}
	s := w.cfg.settings
	w.tracef("seed %d: %d members, ttl %s, loop_wait %s, synchronous_mode %s, maximum_lag_on_failover %d, rewind %t, primary_start_timeout %s, safety phase %s",
		seed, w.cfg.members, s.TTL, s.LoopWait, s.SyncMode, s.MaxLagOnFailover, s.UsePgRewind && w.cfg.canRewind, s.PrimaryStartTimeout, w.cfg.safety)
	if v := w.voters; v != nil {
		w.tracef("the store is an embedded one with %d voters (witnesses: %d)", len(v.at), len(v.at)-w.cfg.members)
	}
	for i, f := range faults {
		if !slices.Contains(w.opt.Drop, i) {
			w.traceAs(quiet, "  fault %d: %s", i, f)
		}
	}
}

// String is the trace as text.
func (t *trace) String() string {
	var b strings.Builder
	for i, l := range t.lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(l.text)
	}
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
