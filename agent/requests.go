package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
)

// Refused says that what a person asked for was not begun; Text is for them.
type Refused struct{ Text string }

// Error is the text for the person.
func (r *Refused) Error() string { return r.Text }

// Failed says that what a person asked for was begun and did not come to a good
// end; Text is for them.
type Failed struct{ Text string }

// Error is the text for the person.
func (f *Failed) Error() string { return f.Text }

// ErrScheduled: a restart is scheduled already.
var ErrScheduled = errors.New("another restart is already scheduled")

// waiting is a request that has not had its last word, and who waits for it.
type waiting struct {
	id      int
	restart cluster.RestartConditions
	reinit  ha.ReinitRequest
	ended   chan ha.Action // the reply
}

// requests are what people want of this member. A request lies here until the
// turn that has its outcome; whoever asked may have gone away by then, which
// changes nothing.
type requests struct {
	path string // of the scheduled restart

	mu        sync.Mutex
	last      int // id given last
	restart   *waiting
	reinit    *waiting
	scheduled cluster.ScheduledRestart
	closed    bool
}

func newRequests(o Options) *requests {
	r := &requests{path: filepath.Join(o.StateDir, "scheduled_restart.json")}
	if err := readState(r.path, &r.scheduled); err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Logger.Error("a restart may have been scheduled here, and its file cannot be read: it will not take place", "file", r.path, "error", err)
		r.scheduled = cluster.ScheduledRestart{}
	}
	return r
}

// current is what is waiting, for a turn.
func (r *requests) current() ha.Requests {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := ha.Requests{Scheduled: r.scheduled}
	if w := r.restart; w != nil {
		out.Restart = ha.RestartRequest{ID: w.id, Conditions: w.restart}
	}
	if w := r.reinit; w != nil {
		out.Reinit = w.reinit
		out.Reinit.ID = w.id
	}
	return out
}

// add puts a request into its place, unless another lies there: of one kind only
// one is worked on.
func (r *requests) add(place **waiting, w *waiting, what string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return &Refused{"the agent is stopping"}
	case *place != nil:
		return &Refused{what + " already in progress"}
	}
	r.last++
	w.id, w.ended = r.last, make(chan ha.Action, 1)
	*place = w
	return nil
}

// reply passes the last word on to who waits for it, if anybody does.
func (r *requests) reply(act ha.Action) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, place := range []**waiting{&r.restart, &r.reinit} {
		if w := *place; w != nil && w.id == act.Request {
			w.ended <- act
			*place = nil
		}
	}
}

// close answers everybody when no turn will.
func (r *requests) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, place := range []**waiting{&r.restart, &r.reinit} {
		if w := *place; w != nil {
			w.ended <- ha.Action{Outcome: ha.Failed, Why: "the agent ended before the outcome was known"}
			*place = nil
		}
	}
}

// schedule keeps a restart for its time, also over an end of this agent.
func (r *requests) schedule(s cluster.ScheduledRestart) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.scheduled.Present() {
		return ErrScheduled
	}
	if err := writeState(r.path, s); err != nil {
		return err
	}
	r.scheduled = s
	return nil
}

// unschedule forgets the scheduled restart. A file that cannot be removed is
// reported; this agent will not carry it out any more.
func (r *requests) unschedule() (had bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	had = r.scheduled.Present()
	r.scheduled = cluster.ScheduledRestart{}
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return had, err
	}
	return had, nil
}

// Restart restarts PostgreSQL in its role if the conditions hold, and returns
// when it is up again: nil, a *Refused, a *Failed, or the context's error. A
// caller that goes away stops nothing.
func (a *Agent) Restart(ctx context.Context, c cluster.RestartConditions) error {
	w := &waiting{restart: c}
	if err := a.requests.add(&a.requests.restart, w, "restart"); err != nil {
		return err
	}
	return a.await(ctx, w)
}

// Reinitialize has this replica's data copied anew, and returns when that has
// begun: nil or a *Refused. force cancels what is in progress first; fromLeader
// copies from the leader and nobody else.
func (a *Agent) Reinitialize(ctx context.Context, force, fromLeader bool) error {
	w := &waiting{reinit: ha.ReinitRequest{Force: force, FromLeader: fromLeader}}
	if err := a.requests.add(&a.requests.reinit, w, "reinitialize"); err != nil {
		return err
	}
	return a.await(ctx, w)
}

func (a *Agent) await(ctx context.Context, w *waiting) error {
	a.Wake()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case reply := <-w.ended:
		switch reply.Outcome {
		case ha.Done:
			return nil
		case ha.Refused:
			return &Refused{reply.Why}
		}
		return &Failed{reply.Why}
	}
}

// ScheduleRestart keeps a restart for its time: ErrScheduled when there is one
// already, a *Refused in a pause.
func (a *Agent) ScheduleRestart(_ context.Context, r cluster.ScheduledRestart) error {
	s := a.Snapshot()
	if s.Observation.Settings.Paused {
		return &Refused{"Can't schedule restart in the paused state"}
	}
	if s.Observation.Server.Process == ha.ProcessRunning {
		r.PostmasterStart = s.Facts.PostmasterStart
	}
	if err := a.requests.schedule(r); err != nil {
		return err
	}
	a.note("restart-scheduled", "a restart is scheduled for "+r.At.Format(time.RFC3339))
	a.Wake()
	return nil
}

// CancelRestart forgets the scheduled restart and says whether there was one.
func (a *Agent) CancelRestart(context.Context) (had bool, err error) {
	had, err = a.requests.unschedule()
	if had {
		a.note("restart-cancelled", "the scheduled restart was deleted on request")
		a.Wake()
	}
	return had, err
}

// ScheduledRestart is the restart that waits for its time, as it is now.
func (a *Agent) ScheduledRestart() cluster.ScheduledRestart { return a.requests.current().Scheduled }

// note logs and journals what a person did.
func (a *Agent) note(event, text string) {
	a.log.Info(text)
	a.event(event, text, nil)
}

// answer carries out what is decided for people: the last word on a request,
// or the end of a scheduled one. It cannot fail.
func (a *Agent) answer(act ha.Action) {
	switch {
	case act.Kind == ha.DropScheduled:
		a.log.Info("the scheduled restart is taken off the list", "why", act.Why)
		if _, err := a.requests.unschedule(); err != nil {
			a.log.Warn("the file of the scheduled restart could not be removed", "file", a.requests.path, "error", err)
		}
		return
	case act.Outcome == ha.Done:
		a.log.Info("done on request: " + act.Why)
	case act.Detail != "":
		a.log.Warn("asked for, and "+string(act.Outcome)+": "+act.Why, "why", act.Detail)
	default:
		a.log.Warn("asked for, and " + string(act.Outcome) + ": " + act.Why)
	}
	a.requests.reply(act)
}
