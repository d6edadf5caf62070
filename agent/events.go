package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/lease"
	"github.com/matriarch-ha/matriarch/postgres"
)

// endWait is how long the loop, or the agent's end, waits to be told how a
// postmaster ended that is gone.
const endWait = 500 * time.Millisecond

// event journals what happened now; edit, if any, adds its facts.
func (a *Agent) event(name, why string, edit func(*journal.Event)) {
	a.eventAt(a.opt.Clock.Now(), name, why, edit)
}

// eventAt is event for what happened earlier.
func (a *Agent) eventAt(at boot.Instant, name, why string, edit func(*journal.Event)) {
	if a.opt.Journal == nil {
		return
	}
	wall := a.opt.Clock.Wall().Add(-a.opt.Clock.Now().Sub(at))
	r := journal.OfEvent(wall, a.opt.Name, name, why).At(at)
	if edit != nil {
		edit(r.Event)
	}
	a.opt.Journal.Append(r)
}

// Leased journals what the keeper tells of the lease.
func (a *Agent) Leased(e lease.Event) {
	names := map[lease.EventKind]string{lease.Trouble: journal.LeaseTrouble, lease.Confirmed: journal.LeaseConfirmed, lease.Ended: journal.LeaseEnded}
	a.eventAt(e.At, names[e.Kind], e.Why, nil)
}

// Requested journals that somebody asked for something.
func (a *Agent) Requested(r journal.Request, text string) {
	a.event(journal.Requested, text, func(e *journal.Event) { e.Request = &r })
}

// serverFenced journals a fence by the guard.
func (a *Agent) serverFenced(p guard.Proof) {
	a.eventAt(p.Began, journal.ServerFenced, fencedWhy(p), func(e *journal.Event) {
		e.Took, e.Fence = p.Took, &journal.Fence{Processes: p.Processes, Dying: p.Dying}
	})
}

func fencedWhy(p guard.Proof) string {
	if p.Processes == 0 {
		return "the lease was over, and the guard found no process of the server"
	}
	return fmt.Sprintf("the guard killed the server at the end of its lease: %d processes, proven dead after %s", p.Processes, p.Took.Round(time.Microsecond))
}

// guardNote journals what the guard did while there was no agent to be told.
func (a *Agent) guardNote() {
	path := filepath.Join(a.opt.StateDir, guard.NoteName)
	n, err := guard.ReadNote(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil && !a.fenceTold(n.Proof.Began) {
		a.fencedBefore(n)
	}
	if rm := os.Remove(path); err != nil || rm != nil {
		a.log.Warn("the guard's note on what it did", "file", path, "error", errors.Join(err, rm))
	}
}

// fenceTold: the journal has the guard's own word already.
func (a *Agent) fenceTold(began boot.Instant) bool {
	recent, _ := a.opt.Journal.Since(journal.Query{Limit: 200}) // unread, it is told twice
	return slices.ContainsFunc(recent, func(r journal.Record) bool {
		return r.Event != nil && r.Event.Name == journal.ServerFenced && r.Event.Now == began
	})
}

// notedWhy is fencedWhy for what the guard did without its agent: the lease need
// not have been over.
func notedWhy(n guard.Note) string {
	switch {
	case n.Shutdown:
		return "the guard, whose agent was gone and not started again in time, had the server shut down"
	case n.Ended && n.Proof.Processes == 0:
		return "the agent that was started again could not go on with the server: the guard found no process of it"
	case n.Ended:
		return fmt.Sprintf("the agent that was started again could not go on with the server: the guard killed it, %d processes, proven dead after %s",
			n.Proof.Processes, n.Proof.Took.Round(time.Microsecond))
	}
	return fencedWhy(n.Proof)
}

func (a *Agent) fencedBefore(n guard.Note) {
	r := journal.OfEvent(n.Wall, a.opt.Name, journal.ServerFenced, notedWhy(n))
	r.Event.Took, r.Event.Fence = n.Proof.Took, &journal.Fence{Processes: n.Proof.Processes, Dying: n.Proof.Dying}
	if n.Current() {
		r.Event.Now = n.Proof.Began
	}
	a.opt.Journal.Append(r)
	if !n.Released && n.Trouble == "" {
		return // there was none to be ended
	}
	text := "the guard had the session of the lease ended, so that another could lead at once"
	switch {
	case !n.Released:
		text = "the guard could not have the session of the lease ended; it runs out by itself"
	case n.Ended:
		text = "the agent that was started again gave the lease up, so that another could lead at once"
	}
	r = journal.OfEvent(n.Wall, a.opt.Name, journal.LeaseReleased, text)
	r.Event.Error = n.Trouble
	if n.Current() {
		r.Event.Now = n.Proof.Began
	}
	a.opt.Journal.Append(r)
}

// started journals that the agent runs from now on, and what it found.
func (a *Agent) started(ctx context.Context) {
	if a.opt.Journal == nil {
		return
	}
	before := a.formerEnd()
	f := a.probe(ctx)
	why := fmt.Sprintf("version %s started; %s; the data directory is %s, the server is %s", a.opt.Own, before, f.Dir, f.Process)
	if f.PID != 0 {
		why += fmt.Sprintf(" (process %d)", f.PID)
	}
	if f.Position.Known() {
		why += " at " + f.Position.String()
	}
	a.guardNote()
	a.event(journal.AgentStarted, why, nil)
	if a.tookOver != "" {
		a.event(journal.TakenOver, a.tookOver, nil)
	}
	// A rewind that came to its end, but whose agent did not live to tell.
	a.recordLoss()
}

// formerEnd is how the agent before this one ended, as far as its journal tells.
func (a *Agent) formerEnd() string {
	last, err := a.opt.Journal.Since(journal.Query{Limit: 1})
	switch {
	case err != nil:
		return "the journal cannot be read: " + err.Error()
	case len(last) == 0:
		return "there is no journal of an earlier one"
	case last[0].Event != nil && last[0].Event.Name == journal.AgentEnded:
		return "the one before it had ended in order"
	}
	return "the one before it did not end in order: its last record is of " + last[0].Time.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// recordLoss journals what a rewind or a clone has taken out of the data. It is
// forgotten only after that: an agent that ends in between tells it twice.
func (a *Agent) recordLoss() {
	l, ok := a.opt.Postgres.Loss()
	if !ok {
		return
	}
	why := fmt.Sprintf("%d bytes of log from %s to %s are on no other member and were taken out of the data", l.Bytes, l.From, l.To)
	if l.Readable {
		why += fmt.Sprintf("; %d transactions were committed by them", l.Commits)
	}
	a.event(journal.RecordsLost, why+"; they are kept in "+l.Kept, func(e *journal.Event) {
		e.Loss = &journal.Loss{From: l.From, To: l.To, Bytes: l.Bytes, TransactionsKnown: l.Readable, Transactions: l.Commits, Kept: l.Kept}
	})
	if err := a.opt.Postgres.LossNoted(); err != nil {
		a.log.Warn("a loss of records that was told may be told again", "error", err)
	}
}

// ends remembers which postmasters ended, and how: the loop sees that one is gone
// and is told how by another road.
type ends struct {
	mu    sync.Mutex
	told  []int // the newest process ids, oldest first
	last  string
	fence int // the postmaster that was killed by this agent
	news  chan struct{}
}

func newEnds() *ends { return &ends{news: make(chan struct{})} }

// note takes an end down; text says how, if that is news to anybody.
func (e *ends) note(pid int, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.told = append(e.told, pid); len(e.told) > 16 {
		e.told = e.told[1:]
	}
	e.last = text
	close(e.news)
	e.news = make(chan struct{})
}

// killed notes that this agent kills the postmaster.
func (e *ends) killed(pid int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fence = pid
}

func (e *ends) byUs(pid int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fence == pid
}

// of is how the postmaster ended that ran last, empty when it was told to, or
// runs.
func (e *ends) of() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

// runs forgets the last end: another postmaster lives.
func (e *ends) runs() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = ""
}

// await waits until the end of a postmaster is known, for a moment at most.
func (e *ends) await(ctx context.Context, pid int) bool {
	timer := time.NewTimer(endWait)
	defer timer.Stop()
	for {
		e.mu.Lock()
		known, news := slices.Contains(e.told, pid), e.news
		e.mu.Unlock()
		if known {
			return true
		}
		select {
		case <-news:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// serverExited journals the end of a postmaster, and says one that nobody here had
// asked for.
func (a *Agent) serverExited(e postgres.Event) {
	asked := e.Asked || a.ends.byUs(e.PID) || killedByGuard(e, a.opt.Keeper.State().Armed, a.opt.Clock.Now())
	text, level := "PostgreSQL "+e.Exit.String(), slog.LevelWarn
	if asked || e.Bootstrap {
		level = slog.LevelDebug
	}
	if e.Bootstrap && asked {
		return // the making of a database starts and stops servers; its own end is told
	}
	a.log.Log(context.Background(), level, text, "pid", e.PID)
	a.event(journal.ServerExited, text, func(ev *journal.Event) {
		ev.Exit = &journal.Exit{PID: e.PID, Asked: asked, Known: e.Known, Code: e.Code, Signal: e.Signal}
	})
	if asked || e.Bootstrap {
		text = ""
	}
	a.ends.note(e.PID, text)
}

// killedByGuard: the deadline that the guard was armed with had come. Its own word
// of it may come later.
func killedByGuard(e postgres.Event, armed, now boot.Instant) bool {
	return (e.Signal == "SIGKILL" || !e.Known) && !armed.IsZero() && now >= armed
}

// lastEnds takes down what ended while the loop came to its own end, and which
// nobody will hear any more.
func (a *Agent) lastEnds() {
	for {
		select {
		case e := <-a.opt.Postgres.Events():
			a.serverExited(e)
			continue
		default:
		}
		// The relay may have it in hand.
		if pid := a.facts.pid; pid == 0 || a.facts.last.Process != postgres.ProcStopped || a.ends.await(context.Background(), pid) {
			return
		}
		select {
		case e := <-a.opt.Postgres.Events():
			a.serverExited(e)
		default:
			return
		}
	}
}
