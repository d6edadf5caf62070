package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/lease"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/wal"
	"github.com/matriarch-ha/matriarch/watchdog"
)

// Postgres is the local server; *postgres.Server is one.
type Postgres interface {
	Observe(ctx context.Context) postgres.Facts
	Events() <-chan postgres.Event
	SetConfig(c postgres.Config)
	ApplyConfig(ctx context.Context) ([]cluster.SettingChange, error)
	Bootstrap(ctx context.Context, o postgres.BootstrapOptions) error
	AcceptBootstrap() error
	DiscardBootstrap(ctx context.Context) error
	Clone(ctx context.Context, src postgres.Source, p postgres.Progress) error
	StartStandby(ctx context.Context, up *postgres.Upstream, wait bool) error
	StartPrimary(ctx context.Context, timeout time.Duration) error
	Follow(ctx context.Context, up *postgres.Upstream) error
	StopReceiver(ctx context.Context) (wal.Position, error)
	SetSyncNames(ctx context.Context, names []string) error
	ReleaseSyncNames(ctx context.Context) error
	Checkpoint(ctx context.Context) error
	Promote(ctx context.Context, want wal.Timeline) (postgres.Promotion, error)
	Stop(ctx context.Context, mode postgres.StopMode, o postgres.StopOptions) (postgres.StopReport, error)
	Rewind(ctx context.Context, src postgres.Source, p postgres.Progress) error
	RewindDone() error
	SyncSlots(ctx context.Context, want []postgres.Slot) error
	SetIdentity(tl wal.Timeline, id cluster.TimelineIdentity) error
	MarkStandby() error
	// LetWALGo ends what Facts.WALHeld tells of.
	LetWALGo(ctx context.Context) error
	// TendReplaced counts for how long what replaced a data directory has served, and
	// removes that directory when it is enough. It may take minutes.
	TendReplaced(ctx context.Context, served postgres.Service, enough time.Duration) (postgres.Removed, error)
	// Loss is what a finished rewind or clone took out of the data, until LossNoted.
	Loss() (l postgres.Loss, ok bool)
	LossNoted() error
	// ProveCommit shows that the primary can commit; DropProof closes what it keeps.
	ProveCommit(ctx context.Context) error
	DropProof()
}

// Guard is a running guard process; *guard.Client is one.
type Guard interface {
	lease.Guard
	Done() <-chan struct{}
	// Changed has a value after a fence; State tells of it.
	Changed() <-chan struct{}
	State() guard.State
	Close() error
	Kill()
	// Kernel is what is known about the kernel-timed fence.
	Kernel() guard.KernelState
}

// Configured is the dynamic configuration as this member understands it, for
// the role it plays.
type Configured struct {
	Settings cluster.Settings
	Postgres postgres.Config
	Warnings []string
	Notes    []string // what was understood otherwise than written, and harms nothing
}

// Recorder counts what happened. Its methods return at once.
type Recorder interface {
	// Turn: a turn took so long, and this rule decided in it.
	Turn(took time.Duration, rule ha.RuleID)
	// Task: a long action ended; err is nil when it succeeded.
	Task(kind ha.TaskKind, took time.Duration, err error)
}

// nobody is the Recorder where there is none.
type nobody struct{}

func (nobody) Turn(time.Duration, ha.RuleID)          {}
func (nobody) Task(ha.TaskKind, time.Duration, error) {}

// Reloadable is what may change while an agent runs; see Reconfigure.
type Reloadable struct {
	Tags    cluster.Tags
	ConnURL string // as published
	APIURL  string // as published, with the path /patroni

	CanBootstrap bool
	Bootstrap    postgres.BootstrapOptions
	// InitialConfig is the dynamic configuration to store when there is none.
	InitialConfig string
	// Configure understands a dynamic configuration for a role ("primary",
	// "replica"). An error rejects it as a whole: the former one stays.
	Configure func(json, role string) (Configured, error)
	// PeerUser and PeerPassword are for what peers let nobody ask without; no user:
	// nothing is sent.
	PeerUser, PeerPassword string
	// KeepReplaced is for how long a copy must have served before what it replaced is
	// removed: ReplacedProof, or 0.
	KeepReplaced time.Duration
	// MaxIdle caps the time between turns instead of loop_wait; 0: loop_wait.
	MaxIdle time.Duration
}

// Options are what an agent is made of. All fields are required unless said
// otherwise.
type Options struct {
	Name     string
	Version  string // compatibility level, as published
	Own      string // our own version
	StateDir string
	Reloadable
	// Remember keeps the dynamic configuration beside the data, for a start
	// without it; optional.
	Remember func(json string) error

	Store    dcs.Store
	Keeper   *lease.Keeper
	Postgres Postgres
	// StartGuard starts a guard process; nil where there is none.
	StartGuard func(ctx context.Context) (Guard, error)
	// Watchdog is why the watchdog device, which is required, does not work, for a
	// lease of this length and with a guard that says so much of it; empty: it does,
	// or is not required. It is asked at each turn. nil: there is none.
	Watchdog func(granted time.Duration, st watchdog.State) string
	// Kill ends every process of the server at once and proves it.
	Kill func(ctx context.Context) error
	// OnLead is called, beside the loop, now and then while this member leads;
	// optional.
	OnLead func(ctx context.Context)

	// Writable asks the server at an address itself whether it accepts writes;
	// optional. It is for members that no guard stops.
	Writable func(ctx context.Context, host, port string) (bool, error)

	// Recorder is told what happened, for statistics; nil: nobody is.
	Recorder Recorder

	Peers   *http.Client // with the credentials and certificates for peers
	Journal *journal.Journal
	Clock   clock.Clock
	Logger  *slog.Logger
	// Heartbeat is told once per loop_wait how this member stands, for logs that
	// are searched for such lines; optional.
	Heartbeat func(text string)
}

// Agent runs one member. Make it with New, then Run it once.
type Agent struct {
	opt     Options
	log     *slog.Logger
	wake    chan struct{}
	viewer  *viewer
	peers   *peers
	task    *tasks
	guards  *guards
	prover  *prover
	trouble *repeats

	failsafe *failsafe
	promises *promises
	requests *requests
	ends     *ends // of postmasters

	stop     context.Context // ends when Stop is called, with the reason
	stopNow  context.CancelCauseFunc
	leadBusy chan struct{} // one OnLead at a time

	// Owned by the goroutine of Run.
	memory    ha.Memory
	last      ha.Decision
	facts     factsMemory
	clocks    clocks
	config    configState
	published publishedState
	warned    map[string]bool
	told      told
	beating   heartbeat
	readUnder string // the session under which the store was read before a take
	tookOver  string // what was taken over from a former agent
	sibling   sibling
	tending   tending

	mu   sync.Mutex
	snap Snapshot
	next *Reloadable // for the next turn
}

// ErrExit is how Run ends when a rule says that the agent must end.
type ErrExit struct {
	Code int
	Why  string
}

// Error is the reason, for a person.
func (e *ErrExit) Error() string { return e.Why }

// New makes an agent. It starts nothing.
func New(o Options) *Agent {
	if o.Recorder == nil {
		o.Recorder = nobody{}
	}
	a := &Agent{opt: o, log: o.Logger, wake: make(chan struct{}, 1), leadBusy: make(chan struct{}, 1), warned: map[string]bool{}}
	a.stop, a.stopNow = context.WithCancelCause(context.Background())
	a.ends = newEnds()
	a.tending.ended = make(chan error, 1)
	a.viewer = newViewer(o, a.Wake)
	a.peers = newPeers(o, a.Wake)
	a.prover = &prover{opt: o}
	a.task = &tasks{clock: o.Clock, wake: a.Wake, record: o.Recorder.Task}
	a.trouble = newRepeats(o.Clock)
	a.failsafe = &failsafe{opt: o, wake: a.Wake}
	a.promises = newPromises(o)
	a.requests = newRequests(o)
	a.guards = &guards{start: o.StartGuard, keeper: o.Keeper, log: o.Logger, wake: a.Wake, fenced: a.serverFenced, watchdog: o.Watchdog}
	return a
}

// TookOver says what was taken over from a former agent, and how its running
// primary was seen last: until the first turn that is what others are told, who
// must not take this member for one that does not lead. Before Run.
func (a *Agent) TookOver(what string, f postgres.Facts) {
	a.tookOver = what
	a.mu.Lock()
	defer a.mu.Unlock()
	a.snap = Snapshot{Facts: f, State: cluster.StateRunning, Role: cluster.RolePrimary}
}

// Wake makes the loop take a turn now.
func (a *Agent) Wake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Stop asks the agent to settle the server, hand the lease over, and end. Run
// returns when that is done. why says by what it was told to; only the first is
// heard.
func (a *Agent) Stop(why string) {
	if a.stop.Err() == nil {
		a.event(journal.AgentStopping, why, nil)
	}
	a.stopNow(errors.New(why))
	a.Wake()
}

// Run takes turns until a rule ends the agent (after Stop, or because going on
// would be wrong), or until ctx ends, which leaves everything as it is. The
// error is an *ErrExit in the first case.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer a.task.abandon()
	defer a.requests.close()
	run := func(f func(context.Context)) { wg.Go(func() { f(ctx) }) }
	// The first turn must know what the store says: a server that runs already in
	// a paused cluster would be fenced for want of a lease.
	a.started(ctx)
	a.viewer.refresh(ctx)
	run(a.viewer.run)
	run(func(ctx context.Context) { _ = a.opt.Keeper.Run(ctx) })
	run(a.guards.run)
	run(a.prover.run)
	run(a.relay)
	for {
		exit, wait := a.turn(ctx)
		if exit != nil {
			a.lastEnds()
			a.finish(exit)
			return exit
		}
		if err := a.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// relay turns the events of others into wake-ups.
func (a *Agent) relay(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.opt.Keeper.Changed():
		case e := <-a.opt.Postgres.Events():
			a.serverExited(e)
		}
		a.Wake()
	}
}

func (a *Agent) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-a.wake:
	case <-timer.C:
	}
	return nil
}

// retryWait is when the loop looks again at the latest after an action failed.
const retryWait = time.Second

// turn is one pass: observe, decide, act, publish.
func (a *Agent) turn(ctx context.Context) (exit *ErrExit, wait time.Duration) {
	begin := a.opt.Clock.Now()
	o := a.observe(ctx)
	a.watch(a.facts.last)
	before := a.memory
	d := ha.Decide(o, before)
	defer func() { a.opt.Recorder.Turn(a.opt.Clock.Now().Sub(begin), d.Rule) }()
	a.memory = d.Memory
	a.viewer.learned(o.Store, d.Memory.Longest.TTL, d.Memory.StoreSure)
	a.snapshot(o, d)
	a.tell(o, before, d)
	a.beat(o, d)
	wrote, ok, exit := a.execute(ctx, o, d)
	if exit != nil {
		return exit, 0
	}
	a.publish(ctx, o, d)
	if wrote {
		// What was written is seen by the next turn, and the next turn is now:
		// most writes are one step of several. A refused one is tried again when
		// the decision asked for it, or when the view shows why: a loop that wakes
		// itself after failures would only keep the store busy.
		a.viewer.refresh(ctx)
		if ok {
			a.Wake()
		}
	}
	a.onLead(ctx, o)
	a.upkeep(ctx, o)
	a.tendReplaced(ctx, o)
	if !ok {
		return nil, min(d.WakeAfter, retryWait)
	}
	return nil, d.WakeAfter
}

// finish ends the session of an agent that ends on purpose, unless it leaves a
// primary running under it (pause).
func (a *Agent) finish(exit *ErrExit) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	end := exit.Code == 0 && !a.opt.Keeper.State().Held
	if err := a.opt.Keeper.Close(ctx, end); err != nil && !errors.Is(err, context.Canceled) {
		a.log.Warn("could not end the session in the store; it runs out by itself", "error", err)
	}
	a.guards.close()
	a.event(journal.AgentEnded, exit.Why, nil) // the last record of all
}

// onLead runs the leader's side job beside the loop.
func (a *Agent) onLead(ctx context.Context, o ha.Observation) {
	if a.opt.OnLead == nil || !o.Lease.Live(o.Now) {
		return
	}
	select {
	case a.leadBusy <- struct{}{}:
		go func() {
			defer func() { <-a.leadBusy }()
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			a.opt.OnLead(ctx)
		}()
	default:
	}
}
