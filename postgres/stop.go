package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/postmaster"
)

// silentAfter is how long a standby that nobody waits for may have been silent
// before a stop disconnects it; restGrace is what the rest get once the stop
// needs nobody any more.
const (
	silentAfter = 3 * time.Second
	restGrace   = 500 * time.Millisecond
)

// Stop stops the server and leaves standby.signal in place, so that a foreign
// start is read-only. When the context's deadline passes it goes on by force;
// when the context is cancelled otherwise it returns and the server goes on
// stopping. Stopping a stopped server is harmless.
func (s *Server) Stop(ctx context.Context, mode StopMode, o StopOptions) (StopReport, error) {
	p := s.process()
	if p == nil {
		s.closeHeart()
		return s.stopped(ctx, StopReport{})
	}
	if o.Checkpoint && mode != StopImmediate {
		s.say(o.Progress, "checkpoint before the stop")
		if err := s.Checkpoint(ctx); err != nil {
			s.log.Warn("checkpoint before the stop", "error", err)
		}
	}
	st := stopping{s: s, p: p, o: o, keep: map[int]string{}}
	if mode != StopImmediate {
		st.prepare(ctx)
		if o.KeepWAL {
			defer s.holdWAL(ctx)()
		}
	}
	s.closeHeart()
	s.say(o.Progress, "stopping ("+string(mode)+")")
	s.askEnd(p)
	if err := p.Signal(stopSignal(mode)); err != nil && !errors.Is(err, postmaster.ErrGone) {
		return StopReport{}, err
	}
	err := st.await(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		st.report.Killed = true
		err = st.force(bounded(ctx))
	}
	if err != nil {
		return st.report, err
	}
	return s.stopped(bounded(ctx), st.report)
}

// holdWAL makes the running server keep all its log; the returned function
// ends that for the next time the files are written. A failure is only logged,
// as nothing may hold up a stop.
func (s *Server) holdWAL(ctx context.Context) func() {
	set := func(on bool) {
		s.mu.Lock()
		s.keepWAL = on
		s.mu.Unlock()
	}
	set(true)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := s.writeMain(ctx, s.standbyMarked())
	if err == nil {
		err = s.reload(ctx)
	}
	if err != nil {
		s.log.Warn("the log could not be kept for a rewind", "error", err)
	}
	return func() { set(false) }
}

func stopSignal(mode StopMode) syscall.Signal {
	switch mode {
	case StopSmart:
		return syscall.SIGTERM
	case StopImmediate:
		return syscall.SIGQUIT
	}
	return syscall.SIGINT
}

// stopped finishes the report of a stopped server.
func (s *Server) stopped(ctx context.Context, r StopReport) (StopReport, error) {
	switch state, _ := s.dirState(); state {
	case DirPresent:
		if err := s.MarkStandby(); err != nil {
			return r, err
		}
	case DirBootstrapping: // not a cluster's yet: its first start is a primary's
	default:
		return r, nil
	}
	ctl, err := s.control(ctx)
	if err != nil {
		return r, nil
	}
	r.Clean = ctl.Clean()
	if pos, _, err := s.stoppedPosition(ctx, ctl); err == nil {
		r.Position = pos
	}
	return r, nil
}

func (s *Server) closeHeart() {
	s.probeMu.Lock()
	defer s.probeMu.Unlock()
	s.dropHeart()
}

// stopping is one stop under way.
type stopping struct {
	s      *Server
	p      *postmaster.Process
	o      StopOptions
	keep   map[int]string // walsender pid → standby that must get everything
	report StopReport

	controlKey string
	shutAt     time.Time // when the control file said "shut down"
	freeAt     time.Time // when nobody had to be waited for any more
	told       bool      // that the archiver is waited for
}

// prepare notes which walsenders must get the shutdown checkpoint and ends
// those that are not needed and do not answer: a single stopped receiver would
// hold the shutdown for wal_sender_timeout.
func (st *stopping) prepare(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	state, err := st.s.ask(ctx)
	if err != nil {
		return
	}
	var silent []string
	for _, w := range senders(state.Senders) {
		switch {
		case keeps(st.o.Keep, w.Application) && w.State != "backup":
			st.keep[w.PID] = w.Application
		case w.ReplyAge < 0 || w.ReplyAge > silentAfter || w.State == "backup":
			silent = append(silent, strconv.Itoa(w.PID))
		}
	}
	if len(silent) == 0 {
		return
	}
	st.s.say(st.o.Progress, fmt.Sprintf("disconnecting %d standbys that do not answer", len(silent)))
	if err := st.s.exec(ctx, "SELECT pg_catalog.pg_terminate_backend(p) FROM pg_catalog.unnest(ARRAY["+strings.Join(silent, ",")+"]) p"); err != nil {
		st.s.log.Warn("disconnecting silent standbys", "error", err)
	}
}

func keeps(names []string, app string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, app) })
}

// await waits for the end of the postmaster and looks after the rest meanwhile.
func (st *stopping) await(ctx context.Context) error {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-st.p.Done():
			st.confirm(ctx)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			st.look(ctx)
		}
	}
}

// look checks whether the shutdown checkpoint is written and, once those who
// must have it have it, hurries the rest.
func (st *stopping) look(ctx context.Context) {
	waiting := st.waiting() // before the control file is read: see dropLost
	if st.shutAt.IsZero() && !st.shutDown(ctx) {
		st.dropLost(waiting)
		return
	}
	st.confirmed(waiting)
	if len(waiting) > 0 {
		return
	}
	if st.freeAt.IsZero() {
		st.freeAt = time.Now()
	}
	if time.Since(st.freeAt) > restGrace {
		st.archiving()
		for _, c := range postmaster.Children(st.p.PID) {
			if strings.Contains(c.Title, "walsender") {
				_ = syscall.Kill(c.PID, syscall.SIGTERM)
			}
		}
	}
}

// shutDown reads the control file when it changed.
func (st *stopping) shutDown(ctx context.Context) bool {
	key, err := st.s.controlKey()
	if err != nil || key == st.controlKey {
		return false
	}
	ctl, err := st.s.control(ctx)
	if err != nil {
		return false
	}
	st.controlKey = key
	if ctl.Clean() {
		st.lastRecord()
	}
	return ctl.Clean()
}

// waiting lists the needed walsenders that still run: one ends as soon as its
// standby has confirmed everything.
func (st *stopping) waiting() map[int]bool {
	out := map[int]bool{}
	for pid := range st.keep {
		if postmaster.IsChild(pid, st.p.PID) {
			out[pid] = true
		}
	}
	return out
}

// dropLost forgets the needed walsenders that ended before the shutdown
// checkpoint was written: they were cut off and confirmed nothing.
func (st *stopping) dropLost(waiting map[int]bool) {
	for pid, name := range st.keep {
		if !waiting[pid] {
			delete(st.keep, pid)
			st.s.log.Warn("a standby that should receive the shutdown checkpoint is gone", "standby", name)
		}
	}
}

// confirmed notes whose walsenders ended after the shutdown checkpoint. It is
// the walsender's word; who decides by it also asks the standby where it is.
func (st *stopping) confirmed(waiting map[int]bool) {
	st.report.Confirmed = nil
	for pid, name := range st.keep {
		if !waiting[pid] && !slices.Contains(st.report.Confirmed, name) {
			st.report.Confirmed = append(st.report.Confirmed, name)
		}
	}
	slices.Sort(st.report.Confirmed)
}

// confirm settles the account when the postmaster has ended.
func (st *stopping) confirm(ctx context.Context) {
	if ctl, err := st.s.control(ctx); err == nil && ctl.Clean() {
		st.confirmed(nil)
	}
}

// lastRecord is called when the last record is on disk. What may take the lease
// from here on may also let this agent die before the postmaster ends, so that
// nobody would place standby.signal any more: it is placed now.
func (st *stopping) lastRecord() {
	st.shutAt = time.Now()
	if state, _ := st.s.dirState(); state != DirPresent {
		return // a bootstrap's first start is a primary's
	}
	if err := st.s.MarkStandby(); err != nil {
		// Not told then: who goes by the end of the stop sees the same error.
		st.s.log.Warn("marking the stopping server as a standby", "error", err)
		return
	}
	if st.o.OnShutdownCheckpoint != nil {
		st.o.OnShutdownCheckpoint()
	}
}

// archiving looks after an archiver that is still at work: it is ended, or
// said once to be waited for.
func (st *stopping) archiving() {
	for _, c := range postmaster.Children(st.p.PID) {
		switch {
		case !strings.Contains(c.Title, "archiver"):
		case st.o.EndArchiver:
			_ = syscall.Kill(c.PID, syscall.SIGKILL)
		case !st.told:
			st.told = true
			st.s.say(st.o.Progress, "the last record is written; waiting for the archiver")
		}
	}
}

// force ends the server whatever it does: first by its own immediate
// shutdown, then by killing every process.
func (st *stopping) force(ctx context.Context) error {
	limit := st.o.Force
	if limit <= 0 {
		limit = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	st.s.say(st.o.Progress, "the time is over: immediate shutdown")
	_ = st.p.Signal(syscall.SIGQUIT)
	soon, done := context.WithTimeout(ctx, limit/4)
	defer done()
	if st.p.Wait(soon) == nil {
		return nil
	}
	st.s.say(st.o.Progress, "killing every process of the server")
	if err := st.s.kill(ctx, st.p); err != nil {
		return fmt.Errorf("the server could not be killed: %w", err)
	}
	return st.p.Wait(ctx)
}

// kill ends every process of the server.
func (s *Server) kill(ctx context.Context, p *postmaster.Process) error {
	if s.opt.Kill != nil {
		return s.opt.Kill(ctx, s.opt.DataDir)
	}
	if err := p.Signal(syscall.SIGSTOP); err != nil { // no new children from here on
		return ignoreGone(err)
	}
	for range 50 {
		children := postmaster.Children(p.PID)
		if len(children) == 0 {
			break
		}
		for _, c := range children {
			_ = syscall.Kill(c.PID, syscall.SIGKILL)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return ignoreGone(p.Signal(syscall.SIGKILL))
}

func ignoreGone(err error) error {
	if errors.Is(err, postmaster.ErrGone) {
		return nil
	}
	return err
}
