package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Cluster is how the cluster is looked at and asked.
type Cluster interface {
	Look(context.Context) (Picture, error)
	// Switchover moves the leadership; an empty candidate leaves the choice to
	// the members. It returns when the request was accepted, or with the reason
	// why not.
	Switchover(ctx context.Context, leader, candidate string) error
}

// Table is where the drill writes: a schema and table of its own. The cluster was
// claimed for this drill before (see Postgres.Claim).
type Table interface {
	Make(context.Context) error
	// Undo drops what Make made.
	Undo() Undo
	// Rows reads all rows from the primary.
	Rows(context.Context) ([]RowID, error)
	// Close gives the claim back; whoever drops the table waits for it.
	Close()
}

// Writing is the client that writes without a pause.
type Writing interface {
	Start()
	// Stop ends it and waits until the last outcome is known, or until ctx ends:
	// what has no answer then stays unknown.
	Stop(ctx context.Context)
	Ledger() *Ledger
}

// Watch is the second process that undoes when this one cannot any more.
type Watch interface {
	// Arm hands it a way back; from its return on, it is gone for certain: when
	// this process ends, or hangs for longer than within (0: without end).
	Arm(u Undo, within time.Duration) (id int, err error)
	// Disarm says that the way was gone. expired: the second process has gone it
	// by itself before, since its time was over.
	Disarm(id int) (expired bool, err error)
}

// Progress tells what goes on: Say for good, Show until something else is shown.
type Progress interface {
	Say(text string)
	Show(text string)
}

// Timing is how long a run waits; tests wait less.
type Timing struct {
	Look     time.Duration // between two looks
	Before   time.Duration // of undisturbed writing before the fault
	After    time.Duration // of writing after everything is well again
	Effect   time.Duration // until the fault has shown and writes are back
	Whole    time.Duration // until all members follow again
	Fit      time.Duration // for a member to keep up, before anything is done to it
	Undo     time.Duration // for one way back
	Clean    time.Duration // for reading the rows, and for dropping the table
	PerRetry time.Duration
}

// UsualTiming is for a cluster whose leases last as long as ttl.
func UsualTiming(ttl time.Duration) Timing {
	return Timing{Look: 250 * time.Millisecond, Before: 3 * time.Second, After: 2 * time.Second,
		Effect: 3*ttl + time.Minute, Whole: 3*ttl + 5*time.Minute,
		Fit: 30 * time.Second, Undo: 3 * time.Minute, Clean: time.Minute, PerRetry: time.Second}
}

// Longest is how long a fault lasts at most before its undo is due: after that
// the second process goes the way back by itself.
func (t Timing) Longest() time.Duration { return t.Effect + t.After + 30*time.Second }

// Run is one drill, ready to begin: it was confirmed, and the cluster is healthy.
type Run struct {
	Scenario  Scenario
	Objective Objective
	Candidate string
	Return    bool // move the leadership back at the end
	Clients   int
	Before    Picture
	Where     string // how the members' processes are reached
	Steps     []Step

	Cluster  Cluster
	Table    Table
	Writing  Writing
	Undoers  Undoers
	Watch    Watch
	Progress Progress
	Timing   Timing

	report Report
	fault  time.Time
	unmet  []string // why no objective can be met, whatever is measured
	armed  []armed  // the ways back of faults, in the order in which they were made
	table  *armed
}

// armed is a way back that the second process knows too.
type armed struct {
	id   int
	undo Undo
}

// errInterrupted is the end by a person or a program.
var errInterrupted = errors.New("interrupted")

// Do runs the drill. When ctx ends, it goes the way back at once, waits for the
// members and ends without a verdict. When hurry ends, it waits for nothing any
// more and leaves what is still to be undone to the second process.
func (r *Run) Do(ctx, hurry context.Context) Report {
	r.begin()
	err := r.forward(ctx)
	if ctx.Err() != nil {
		r.report.Interrupted = true
		err = errInterrupted
	}
	r.back(hurry)
	if r.touched() {
		r.awaitWhole(hurry)
	}
	end := time.Now()
	r.Writing.Stop(hurry)
	if err == nil {
		err = r.verify(hurry, end)
	}
	r.Table.Close()
	r.drop(hurry)
	if err == nil && r.Return {
		r.giveBack(ctx)
	}
	r.Progress.Show("")
	if err != nil {
		r.report.Failed = err.Error()
	}
	r.report.Ended = time.Now()
	return r.report
}

func (r *Run) begin() {
	l, _ := r.Before.Leader()
	r.report = Report{Scenario: r.Scenario, What: r.Scenario.What(l.Name), Cluster: r.Before.Scope, Reach: r.Where, Began: time.Now(),
		LeaderBefore: l.Name, TimelineBefore: l.Timeline, Synchronous: r.Before.Synchronous, Left: []string{}}
}

// forward is everything up to the moment when the fault is to be taken back.
func (r *Run) forward(ctx context.Context) error {
	for _, part := range []func(context.Context) error{r.makeTable, r.writeUndisturbed, r.look, r.makeFault, r.awaitEffect} {
		if ctx.Err() != nil {
			return errInterrupted
		}
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// touched: a fault was made, or may have been.
func (r *Run) touched() bool { return !r.fault.IsZero() }

func (r *Run) makeTable(ctx context.Context) error {
	undo := r.Table.Undo()
	id, err := r.Watch.Arm(undo, 0)
	if err != nil {
		return err
	}
	r.table = &armed{id, undo}
	return r.Table.Make(ctx)
}

// writeUndisturbed writes until every client had a row acknowledged, and then
// for a while: what is usual has to be known first.
func (r *Run) writeUndisturbed(ctx context.Context) error {
	r.Writing.Start()
	begun := time.Now()
	r.say("writing through the entrypoint with %s", counted(r.Clients, "connection", "connections"))
	for {
		if err := r.wait(ctx, r.Timing.Look); err != nil {
			return err
		}
		_, clients := r.Writing.Ledger().AcksSince(0)
		switch all := clients == r.Clients; {
		case all && time.Since(begun) >= r.Timing.Before:
			return nil
		case time.Since(begun) > r.Timing.Before+r.Timing.Clean:
			return fmt.Errorf("the writing client did not get going: %d of %s had a row acknowledged%s", clients,
				counted(r.Clients, "connection", "connections"), firstError(r.Writing.Ledger()))
		}
	}
}

func firstError(l *Ledger) string {
	if list := l.Errors(); len(list) > 0 {
		return " (" + list[0].Text + ")"
	}
	return ""
}

// look makes sure that the cluster is still as it was when the drill was
// confirmed: nothing may be done to a member that does not lead any more, or to
// a cluster that lost a member meanwhile. The rows of the drill itself, or a
// segment that has just been switched, leave a replica behind for a moment, so
// it is waited for.
func (r *Run) look(ctx context.Context) error {
	for begun := time.Now(); ; {
		now, err := r.Cluster.Look(ctx)
		if err != nil {
			return err
		}
		if now.Disturbed(r.Before) {
			l, _ := now.Leader()
			return fmt.Errorf("the leader changed before anything was done: %s leads on timeline %d", l.Name, l.Timeline)
		}
		why := now.Unfit(r.Candidate)
		if len(why) == 0 {
			return nil
		}
		if time.Since(begun) >= r.Timing.Fit {
			return fmt.Errorf("the cluster is not healthy any more, nothing was done to it: %s", strings.Join(why, "; "))
		}
		if err := r.wait(ctx, r.Timing.Look); err != nil {
			return err
		}
	}
}

// makeFault goes the steps. The way back of each is with the second process
// before the step begins.
func (r *Run) makeFault(ctx context.Context) error {
	for _, s := range r.Steps {
		if ctx.Err() != nil {
			return errInterrupted
		}
		if s.Undo != nil {
			id, err := r.Watch.Arm(*s.Undo, r.Timing.Longest())
			if err != nil {
				return err
			}
			r.armed = append(r.armed, armed{id, *s.Undo})
		}
		if r.fault.IsZero() {
			r.fault = time.Now()
			r.report.Fault = r.fault
		}
		r.say("%s", s.Say)
		if err := s.Do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.Say, err)
		}
	}
	return nil
}

// awaitEffect waits until the fault has shown, and writes are acknowledged to
// every client again.
func (r *Run) awaitEffect(ctx context.Context) error {
	var since time.Time // when the fault had shown
	l := r.Writing.Ledger()
	for until := time.Now().Add(r.Timing.Effect); time.Now().Before(until); {
		if err := r.wait(ctx, r.Timing.Look); err != nil {
			return err
		}
		now, err := r.Cluster.Look(ctx)
		r.show(now)
		if err != nil {
			continue // it may be better at the next look
		}
		if since.IsZero() && r.shown(now) {
			since = time.Now()
			r.say("%s", now.effect(r.Before))
		}
		if since.IsZero() {
			continue
		}
		if _, clients := l.AcksSince(l.Since(since)); clients == r.Clients {
			return r.wait(ctx, r.Timing.After)
		}
	}
	r.withoutEffect(since)
	return nil
}

// shown: the fault has had the effect that it must have. An agent that is killed and
// started again in time takes its server over, and nothing else changes.
func (r *Run) shown(now Picture) bool {
	l, _ := now.Leader()
	if r.Scenario == KillAgent && now.AgentReplaced(r.Before) {
		return true
	}
	return now.Disturbed(r.Before) && (!r.Scenario.Moves() || l.Name != r.report.LeaderBefore)
}

// wait lets time pass, unless the drill is interrupted.
func (r *Run) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return errInterrupted
	case <-time.After(d):
		return nil
	}
}

// verify compares the rows on the primary with what was acknowledged, and
// judges.
func (r *Run) verify(hurry context.Context, end time.Time) error {
	var there []RowID
	err := r.insist(hurry, r.Timing.Clean, func(ctx context.Context) (err error) {
		there, err = r.Table.Rows(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("the rows could not be read, so nothing is known of losses: %w", err)
	}
	l := r.Writing.Ledger()
	fault := l.Since(r.fault)
	out := Outage(l.Acks(), fault, l.Since(end))
	m := &Measured{Outage: Seconds(out.Length()), Open: out.Open, From: Seconds(out.From - fault), To: Seconds(out.To - fault),
		Usual: Seconds(Usual(l.Acks(), fault)), Clients: r.Clients, Writes: l.Counts(), Errors: l.Errors(), Check: l.Compare(there),
		RTO: Seconds(r.Objective.RTO), RPO: r.Objective.RPO}
	v := Judge(r.Objective, out, m.Check)
	if len(r.unmet) > 0 {
		v.Met, v.Why = false, append(r.unmet, v.Why...)
	}
	r.report.Measured, r.report.Verdict = m, &v
	r.say("checked %s: %s lost", counted(m.Check.Rows, "row", "rows"), counted(m.Check.Lost, "acknowledged row", "acknowledged rows"))
	return nil
}

// say tells and records.
func (r *Run) say(format string, values ...any) {
	text := fmt.Sprintf(format, values...)
	r.report.Events = append(r.report.Events, Event{At: Seconds(time.Since(r.report.Began)), Text: text})
	r.Progress.Say(text)
}

func (r *Run) note(format string, values ...any) {
	text := fmt.Sprintf(format, values...)
	r.report.Notes = append(r.report.Notes, text)
	r.say("%s", text)
}

// left records in what the cluster is not as it was.
func (r *Run) left(format string, values ...any) {
	text := fmt.Sprintf(format, values...)
	if !slices.Contains(r.report.Left, text) {
		r.report.Left = append(r.report.Left, text)
		r.say("%s", text)
	}
}
