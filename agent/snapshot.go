package agent

import (
	"context"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/lease"
	"github.com/matriarch-ha/matriarch/postgres"
)

// Snapshot is what the agent knew and decided in its last turn, for those who
// show it. Nobody may change what its slices point to.
type Snapshot struct {
	Observation ha.Observation
	Decision    ha.Decision
	Facts       postgres.Facts
	State       cluster.State
	Role        cluster.Role
	Next        boot.Instant // when the loop looks again at the latest
	// ConfigJSON is the dynamic configuration in force.
	ConfigJSON string
}

func (a *Agent) snapshot(o ha.Observation, d ha.Decision) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.snap = Snapshot{Observation: o, Decision: d, Facts: a.facts.last, State: stateOf(o, d.Memory), Role: roleOf(o, d.Memory),
		Next: o.Now.Add(d.WakeAfter), ConfigJSON: a.config.json}
}

// Snapshot returns the last turn. Before the first it is empty.
func (a *Agent) Snapshot() Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.snap
}

// Lease is the lease as it is now, not as of the last turn.
func (a *Agent) Lease() lease.State { return a.opt.Keeper.State() }

// Seen is when the view of the store was last known to be current, and the view.
//
// A store that changes nothing sends nothing: while the watch stands, each
// confirmed renewal shows that the view is current still.
func (a *Agent) Seen() (cluster.View, boot.Instant) {
	st := a.opt.Keeper.State()
	s := a.viewer.current(st.LastError)
	if s.Reachable {
		return s.View, max(s.Seen, st.LastConfirmed)
	}
	return s.View, s.Seen
}

// Cluster reads the store now.
func (a *Agent) Cluster(ctx context.Context) (cluster.View, error) { return a.viewer.load(ctx) }

// Fresh asks the local server again, beside the loop, for a question that
// needs positions of this moment. It is bounded by ctx and by probeTimeout.
func (a *Agent) Fresh(ctx context.Context) Snapshot {
	s := a.Snapshot()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	f := a.opt.Postgres.Observe(ctx)
	if f.Role == "" && f.Process == postgres.ProcRunning {
		f.SQLUnknown = true
		return s
	}
	s.Facts = f
	return s
}
