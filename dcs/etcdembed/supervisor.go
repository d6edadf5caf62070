package etcdembed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Options say how a Supervisor runs the store.
type Options struct {
	// Command is the program and its arguments that call Run; empty: this
	// binary with the argument `store`. No settings are on the command line.
	Command []string
	Env     []string // added to this process's environment
	// HasData, if set, answers at every start whether a PostgreSQL data
	// directory exists (Config.HasData is or-ed to it).
	HasData func() bool
	// Changed is told every new state; it must not block.
	Changed func(State)
	// Held, if set, is asked before every start: while it is true none is made. A
	// process that runs is not touched.
	Held func() bool
	Log  *slog.Logger // nil: none
}

// Supervisor keeps one store process running for a data directory. It adopts
// one that runs already, since the store outlives whoever started it, and
// starts one otherwise; it starts it again when it ends.
type Supervisor struct {
	cfg    Config
	opt    Options
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	state   State
	proc    *process             // nil while none runs
	said    map[string]time.Time // what was told since it was ready last
	changed chan struct{}        // closed at the next change of state
}

const (
	backoffFirst = 200 * time.Millisecond
	backoffMost  = 10 * time.Second
	// steadyAfter is how long a process must have run for its end to count as
	// the first in a row.
	steadyAfter = time.Minute
	// outsidePatience is how long an agent leaves the restart of a store to the
	// one outside who kept it.
	outsidePatience = 5 * time.Second
	// stopPatience is how long a store has between SIGTERM and SIGKILL: it
	// hands its leadership over first.
	stopPatience = 5 * time.Second
	pollState    = 50 * time.Millisecond
)

// NewSupervisor checks the configuration; nothing runs yet.
func NewSupervisor(c Config, opt Options) (*Supervisor, error) {
	c, err := c.absolute()
	if err != nil {
		return nil, err
	}
	if c.Keeper == "" {
		c.Keeper = KeptByAgent
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(opt.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		opt.Command = []string{self, "store"}
	}
	s := &Supervisor{said: map[string]time.Time{}, cfg: c, opt: opt, log: opt.Log, changed: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// Start adopts or starts the process, and keeps it running until Stop or Leave.
// It returns at once; see Wait. The error is for what starting again cannot
// mend: a directory that cannot be used.
func (s *Supervisor) Start() error {
	if err := prepareDir(s.cfg); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	go func() {
		defer close(s.done)
		s.keep(ctx)
	}()
	return nil
}

// State is the newest word of the store process; PID is 0 when none runs.
func (s *Supervisor) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Wait waits for a state that satisfies enough, and returns it. When ctx ends
// first, the error says how far the store has come.
func (s *Supervisor) Wait(ctx context.Context, enough func(State) bool) (State, error) {
	for {
		s.mu.Lock()
		st, changed := s.state, s.changed
		s.mu.Unlock()
		if enough(st) {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, fmt.Errorf("%w: the embedded store is %s: %s", ctx.Err(), st.Phase, st.Message)
		case <-changed:
		}
	}
}

// Ready waits until the store is a voter of a working majority.
func (s *Supervisor) Ready(ctx context.Context) error {
	st, err := s.Wait(ctx, func(st State) bool { return st.Phase == Ready })
	if err != nil && st.Phase == Refused {
		return fmt.Errorf("%w: %w", ErrNoMajority, err)
	}
	return err
}

// Leave ends the supervision and leaves the process running: for an upgrade of
// the agent.
func (s *Supervisor) Leave() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	<-s.done
}

// Stop ends the supervision and, where this supervisor's side keeps it, the
// store: by SIGTERM, by SIGKILL when it does not end before ctx or in 5 s.
func (s *Supervisor) Stop(ctx context.Context) error {
	s.Leave()
	s.mu.Lock()
	p, st := s.proc, s.state
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	if st.Keeper != s.cfg.Keeper {
		s.log.Info("the store is kept by somebody else and goes on", "pid", p.pid, "keeper", st.Keeper)
		return nil
	}
	return p.stop(ctx)
}

// keep is the life of the supervision.
func (s *Supervisor) keep(ctx context.Context) {
	pause := backoffFirst
	for ctx.Err() == nil {
		if s.opt.Held != nil && s.opt.Held() {
			if !sleep(ctx, backoffFirst) {
				return
			}
			continue
		}
		p, err := s.adoptOrLaunch(ctx)
		if err != nil {
			s.set(State{Phase: Failed, Message: err.Error()})
			if s.news(err.Error()) {
				s.log.Warn("the embedded store does not start; it is tried again", "error", err)
			}
		} else {
			begun := time.Now()
			ended := s.watch(ctx, p)
			if !ended {
				return
			}
			if time.Since(begun) > steadyAfter {
				pause = backoffFirst
			}
			last := s.ended()
			if s.news(last.Message) {
				s.log.Warn("the embedded store ended; it is started again", "pid", p.pid, "reason", last.Message)
			}
			if last.Keeper != s.cfg.Keeper {
				pause = max(pause, outsidePatience)
			}
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, backoffMost)
	}
}

func (s *Supervisor) adoptOrLaunch(ctx context.Context) (*process, error) {
	if p, st, err := findProcess(s.cfg); err == nil {
		s.setProcess(p)
		s.set(st)
		s.log.Info("adopted the running store", "pid", p.pid, "keeper", st.Keeper, "phase", st.Phase)
		if st.Settings != s.cfg.digest() {
			s.log.Warn("the running store was started with other settings; they hold once it is started again", "pid", p.pid)
		}
		return p, nil
	} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, os.ErrProcessDone) {
		return nil, err
	}
	c := s.cfg
	c.HasData = c.HasData || s.opt.HasData != nil && s.opt.HasData()
	p, err := launch(ctx, c, s.opt)
	if err != nil {
		return nil, err
	}
	s.setProcess(p)
	s.set(State{PID: p.pid, StartTime: p.started, Keeper: c.Keeper, Name: c.Name, Client: c.ClientURL(), Phase: Starting, Message: "starting", Of: len(c.Members)})
	return p, nil
}

// watch follows the process until it ends (true) or ctx does.
func (s *Supervisor) watch(ctx context.Context, p *process) bool {
	tick := time.NewTicker(pollState)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-p.ended:
			return true
		case <-tick.C:
			st, err := readState(s.cfg)
			if err != nil || st.PID != p.pid || st.StartTime != p.started {
				continue // not written yet, or of its predecessor
			}
			s.set(st)
			if st.Phase == Ready {
				// Nothing follows but the process's end.
				tick.Stop()
			}
		}
	}
}

// ended reads the last words of a process, and keeps them with PID 0.
func (s *Supervisor) ended() State {
	last := s.State()
	if st, err := readState(s.cfg); err == nil && st.PID == last.PID && st.Phase == Failed {
		last = st
	} else {
		last.Phase, last.Message = Failed, "the store process ended without a word; the last line of "+s.cfg.beside(".log")+": "+lastLine(s.cfg.beside(".log"))
	}
	s.setProcess(nil)
	pub := last
	pub.PID = 0
	s.set(pub)
	return last
}

func (s *Supervisor) setProcess(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc = p
}

func (s *Supervisor) set(st State) {
	s.mu.Lock()
	if s.state == st {
		s.mu.Unlock()
		return
	}
	s.state = st
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	s.progress(st)
	if s.opt.Changed != nil {
		s.opt.Changed(st)
	}
}

// remindAfter is when a trouble that lasts is told again.
const remindAfter = 10 * time.Minute

// progress logs what the process is doing; an end is told by keep. Attempts that
// fail one after the other are told once.
func (s *Supervisor) progress(st State) {
	if st.Phase == Ready {
		s.mu.Lock()
		clear(s.said)
		s.mu.Unlock()
	}
	if st.Phase != Failed && s.news(string(st.Phase)+": "+st.Message) {
		s.log.Info("embedded store", "phase", st.Phase, "message", st.Message, "pid", st.PID)
	}
}

// news reports whether a sentence was not told since the store was ready last.
func (s *Supervisor) news(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.said[text]; ok && time.Since(at) < remindAfter {
		return false
	}
	s.said[text] = time.Now()
	return true
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
