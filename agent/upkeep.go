package agent

import (
	"context"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/postgres"
)

// upkeepTimeout bounds what is done for the data directory in one turn.
const upkeepTimeout = 5 * time.Second

// upkeep keeps the data directory small. It follows from what the server
// is, as it was seen in this turn, and is no part of any decision; a long action
// under way comes first.
func (a *Agent) upkeep(ctx context.Context, o ha.Observation) {
	if f := a.facts.last; o.Task.Kind != "" || !f.WALHeld || !proven(f) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	const trouble = "the server still keeps all its WAL"
	if err := a.opt.Postgres.LetWALGo(ctx); err != nil {
		a.broken("wal-held", trouble, err)
		return
	}
	a.works("wal-held", "settled: "+trouble)
}

// proven: the server's line is the cluster's, since it streams it or writes it.
func proven(f postgres.Facts) bool {
	return f.Process == postgres.ProcRunning && (f.Role == postgres.RolePrimary || f.Receiver.Status == "streaming")
}
