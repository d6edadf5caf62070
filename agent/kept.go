package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/postgres"
)

const (
	// ReplacedProof is for how long a new copy must have served before what it
	// replaced is removed.
	ReplacedProof = 24 * time.Hour
	// tendPace is how often the count is written down; as much is forgotten when the
	// agent ends.
	tendPace = 5 * time.Minute
	// longestTurn is what one turn adds at most: a host that stood still for hours did
	// not stream meanwhile.
	longestTurn = time.Minute
)

// tending counts for how long the server has served, for what it replaced. It is
// owned by the loop.
type tending struct {
	pid    int // the postmaster that it is counted of
	at     boot.Instant
	served time.Duration
	next   boot.Instant
	busy   bool
	ended  chan error
}

// tendReplaced counts, and now and then has the count written down and what it is
// enough for removed, beside the loop. A pause is for people to look around: nothing
// goes meanwhile. It is not waited for when the agent ends: the next one goes on.
func (a *Agent) tendReplaced(ctx context.Context, o ha.Observation) {
	t := &a.tending
	select {
	case err := <-t.ended:
		t.busy = false
		const trouble = "a replaced data directory cannot be removed"
		if err != nil {
			a.broken("replaced", trouble, err)
		} else {
			a.works("replaced", "settled: "+trouble)
		}
	default:
	}
	f := a.facts.last
	if f.PID != t.pid {
		t.pid, t.at, t.served = f.PID, 0, 0 // another copy may be under it
	}
	good := servesWell(o, f)
	if good && !t.at.IsZero() {
		t.served += min(o.Now.Sub(t.at), longestTurn)
	}
	if t.at = 0; good {
		t.at = o.Now
	}
	if t.busy || o.Now < t.next || o.Settings.Paused {
		return
	}
	served, enough := postgres.Service{PID: t.pid, For: t.served}, a.opt.KeepReplaced
	t.busy, t.served, t.next = true, 0, o.Now.Add(tendPace)
	go func() {
		t.ended <- safely(func() error { return a.removeReplaced(ctx, served, enough) })
	}()
}

// servesWell: what runs is a copy that is good for something: it streams from the
// cluster's leader, or leads.
func servesWell(o ha.Observation, f postgres.Facts) bool {
	if o.Settings.Paused || o.Task.Kind != "" || !proven(f) {
		return false
	}
	return f.Role != postgres.RolePrimary || o.Lease.Live(o.Now)
}

// removeReplaced runs beside the loop.
func (a *Agent) removeReplaced(ctx context.Context, served postgres.Service, enough time.Duration) error {
	r, err := a.opt.Postgres.TendReplaced(ctx, served, enough)
	if err != nil || r.Path == "" {
		return err
	}
	why := fmt.Sprintf("the replaced data directory %s was removed, %d bytes: what took its place has served for %s since", r.Path, r.Bytes, r.Served.Round(time.Second))
	if r.Rest {
		why = fmt.Sprintf("what an interrupted removal had left of a replaced data directory, %s, was removed: %d bytes", r.Path, r.Bytes)
	}
	a.log.Info(why)
	a.event(journal.ReplacedRemoved, why, func(e *journal.Event) {
		e.Removed = &journal.Removed{Path: r.Path, Bytes: uint64(r.Bytes)}
	})
	return nil
}
