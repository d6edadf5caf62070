package agent

import (
	"context"
	"errors"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/election"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/postgres"
)

// standbyStop bounds the clean stop of a standby before it is stopped hard.
const standbyStop = 60 * time.Second

func upstream(u ha.Upstream) *postgres.Upstream {
	if u.IsZero() {
		return nil
	}
	return &postgres.Upstream{Name: u.Name, Host: u.Host, Port: u.Port}
}

func source(u ha.Upstream) postgres.Source {
	return postgres.Source{Name: u.Name, Host: u.Host, Port: u.Port}
}

func slots(in []cluster.SlotState) []postgres.Slot {
	var out []postgres.Slot
	for _, s := range in {
		out = append(out, postgres.Slot{Name: s.Name, LSN: s.LSN})
	}
	return out
}

// writes reports whether the server accepts writes or may soon.
func writes(f postgres.Facts) bool {
	return f.Process != postgres.ProcStopped && !f.ShutDown && f.Role == postgres.RolePrimary
}

// begin starts a long action. Those that make the server writable run under the
// lease: their context ends with it.
func (a *Agent) begin(ctx context.Context, s step) error {
	run := a.longAction(s)
	if run == nil {
		return errors.New("no such long action: " + string(s.Kind))
	}
	if s.Kind == ha.Promote || s.Kind == ha.StartPrimary {
		if !a.opt.Keeper.State().Certain(a.opt.Clock.Now()) {
			return errMoved
		}
		ctx = a.opt.Keeper.Context()
	}
	return a.task.begin(ctx, s.Kind, func(ctx context.Context, progress func(string)) error {
		began := a.opt.Clock.Now()
		err := run(ctx, progress)
		took := a.opt.Clock.Now().Sub(began)
		if a.opt.Journal != nil {
			a.opt.Journal.Append(journal.OfAction(a.opt.Clock.Wall(), a.opt.Name, s.Action, took, err).At(a.opt.Clock.Now()))
		}
		switch {
		case err == nil:
			a.trouble.succeeded(string(s.Kind))
			a.log.Info(string(s.Kind)+" done", "took", took)
		case a.trouble.failed(string(s.Kind), err):
			a.log.Error(string(s.Kind)+" failed", "took", took, "error", err)
		}
		return err
	})
}

// longAction returns what a task does. It runs beside the loop and may use
// nothing that the loop owns.
func (a *Agent) longAction(s step) func(context.Context, func(string)) error {
	pg := a.opt.Postgres
	switch s.Kind {
	case ha.Bootstrap:
		o := a.opt.Bootstrap
		return func(ctx context.Context, p func(string)) error {
			o.Progress, o.Claim = p, string(s.Version)
			return pg.Bootstrap(ctx, o)
		}
	case ha.Clone:
		return func(ctx context.Context, p func(string)) error {
			src := source(s.Upstream)
			src.Diverged, src.Timelines = diverged(s.o), s.o.Store.View.Timelines
			if err := pg.Clone(ctx, src, p); err != nil {
				return err
			}
			a.recordLoss()
			return a.inheritIdentity(s.o)
		}
	case ha.Rewind:
		return func(ctx context.Context, p func(string)) error {
			if err := pg.Rewind(ctx, source(s.Upstream), p); err != nil {
				return err
			}
			a.recordLoss()
			return a.inheritIdentity(s.o)
		}
	case ha.StartReplica:
		return func(ctx context.Context, _ func(string)) error {
			// A guard armed for a lease that is over must not meet this server.
			if err := a.opt.Keeper.Disarm(ctx); err != nil {
				return err
			}
			return pg.StartStandby(ctx, upstream(s.Upstream), true)
		}
	case ha.StartPrimary:
		return func(ctx context.Context, _ func(string)) error {
			return pg.StartPrimary(ctx, s.o.Settings.PrimaryStartTimeout)
		}
	case ha.Promote:
		return func(ctx context.Context, _ func(string)) error {
			_, err := pg.Promote(ctx, s.Timeline)
			return err
		}
	case ha.Stop:
		return func(ctx context.Context, p func(string)) error { return a.stopServer(ctx, s, p) }
	case ha.Checkpoint:
		return func(ctx context.Context, _ func(string)) error { return pg.Checkpoint(ctx) }
	}
	return nil
}

// diverged: the data here are not on the line of descent that the store knows.
func diverged(o ha.Observation) bool {
	s, v := o.Server, o.Store.View
	return election.DivergedFrom(election.Standing{Name: o.Self.Name, Position: s.Position, Identity: s.Identity, History: s.History},
		election.Ground{History: v.History, Timelines: v.Timelines}) != ""
}

// inheritIdentity records that the copied data are on the leader's branch, which
// their own files may not show any more.
func (a *Agent) inheritIdentity(o ha.Observation) error {
	lead, _ := o.Store.View.LeaderMember()
	if c, ok := o.Store.View.Timelines.Claim(lead.Timeline); ok && c.Identity.Known() {
		return a.opt.Postgres.SetIdentity(c.Timeline, c.Identity)
	}
	return nil
}

// stopServer shuts the server down cleanly. While the lease of a primary lasts
// there is time for a checkpoint first; after its soft deadline there is not,
// and at the hard one the guard ends the attempt.
func (a *Agent) stopServer(ctx context.Context, s step, p func(string)) error {
	opt := postgres.StopOptions{Keep: s.Names, Progress: p, OnShutdownCheckpoint: a.Wake, EndArchiver: s.EndArchiver}
	if s.o.Server.Role == ha.ServerPrimary {
		opt.Checkpoint = s.o.Lease.Live(s.o.Now)
		// One that loses its lease may have to be rewound: the log back to the last
		// common checkpoint must stay.
		opt.KeepWAL = !opt.Checkpoint
		if limit := s.o.Settings.PrimaryStopTimeout; limit > 0 && s.o.Settings.SyncMode != cluster.SyncOff {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
	} else {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, standbyStop)
		defer cancel()
	}
	_, err := a.opt.Postgres.Stop(ctx, postgres.StopFast, opt)
	return err
}
