package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/dcs/memory"
	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/lease"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/wal"
)

// bubbleClock follows the time of a synctest bubble.
type bubbleClock struct{ start time.Time }

func (c bubbleClock) Now() boot.Instant { return boot.Instant(time.Hour + time.Since(c.start)) }
func (c bubbleClock) Wall() time.Time   { return time.Now() }

// fakeServer is a PostgreSQL of a few lines: what it is, what it was told, and
// a hook per method for what goes wrong.
type fakeServer struct {
	mu     sync.Mutex
	facts  postgres.Facts
	calls  []string
	hooks  map[string]func(context.Context) error
	events chan postgres.Event
	conf   postgres.Config
	loss   *postgres.Loss

	served, enough time.Duration    // what TendReplaced was told
	removed        postgres.Removed // what it answers when it is enough
}

func newFakeServer() *fakeServer {
	return &fakeServer{hooks: map[string]func(context.Context) error{}, events: make(chan postgres.Event, 8),
		facts: postgres.Facts{Dir: postgres.DirEmpty, Process: postgres.ProcStopped}}
}

// primary, standby and stopped are the usual states.
func primary() postgres.Facts {
	return postgres.Facts{Dir: postgres.DirPresent, Process: postgres.ProcRunning, Role: postgres.RolePrimary, PID: 7, SystemID: "4711",
		Position: wal.Position{Timeline: 1, LSN: 0x3000000}, Control: control.Data{State: control.InProduction, Timeline: 1, SystemID: "4711"}}
}

func standby() postgres.Facts {
	f := primary()
	f.Role, f.Control.State, f.SignalFile, f.ReplayDone = postgres.RoleStandby, control.InArchiveRecovery, true, true
	f.Received, f.Replayed = f.Position.LSN, f.Position.LSN
	return f
}

func stopped(s control.State) postgres.Facts {
	f := primary()
	f.Process, f.Role, f.PID, f.SignalFile, f.Control.State = postgres.ProcStopped, postgres.RoleStandby, 0, true, s
	return f
}

func (f *fakeServer) set(facts postgres.Facts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.facts = facts
}

func (f *fakeServer) hook(name string, fn func(context.Context) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks[name] = fn
}

func (f *fakeServer) called(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if c == name {
			n++
		}
	}
	return n
}

// do notes a call and applies its effect unless the hook fails.
func (f *fakeServer) do(ctx context.Context, name string, effect func(*postgres.Facts)) error {
	f.mu.Lock()
	f.calls = append(f.calls, name)
	hook := f.hooks[name]
	f.mu.Unlock()
	if hook != nil {
		if err := hook(ctx); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if effect != nil {
		effect(&f.facts)
	}
	return nil
}

func become(to postgres.Facts) func(*postgres.Facts) {
	return func(f *postgres.Facts) { *f = to }
}

func (f *fakeServer) Observe(context.Context) postgres.Facts {
	f.mu.Lock()
	facts, meanwhile := f.facts, f.hooks["observe"]
	f.mu.Unlock()
	if meanwhile != nil {
		_ = meanwhile(context.Background())
	}
	return facts
}
func (f *fakeServer) Events() <-chan postgres.Event { return f.events }
func (f *fakeServer) SetConfig(c postgres.Config) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conf = c
}
func (f *fakeServer) ApplyConfig(ctx context.Context) ([]cluster.SettingChange, error) {
	return nil, f.do(ctx, "apply", nil)
}
func (f *fakeServer) Bootstrap(ctx context.Context, _ postgres.BootstrapOptions) error {
	made := stopped(control.ShutDown)
	made.Dir = postgres.DirBootstrapping
	return f.do(ctx, "bootstrap", become(made))
}
func (f *fakeServer) AcceptBootstrap() error {
	return f.do(context.Background(), "accept", func(s *postgres.Facts) { s.Dir = postgres.DirPresent })
}
func (f *fakeServer) DiscardBootstrap(ctx context.Context) error {
	return f.do(ctx, "discard", func(s *postgres.Facts) { s.Dir = postgres.DirEmpty })
}
func (f *fakeServer) Clone(ctx context.Context, _ postgres.Source, p postgres.Progress) error {
	p("copying")
	return f.do(ctx, "clone", become(stopped(control.InProduction)))
}
func (f *fakeServer) StartStandby(ctx context.Context, _ *postgres.Upstream, _ bool) error {
	return f.do(ctx, "start-standby", become(standby()))
}
func (f *fakeServer) StartPrimary(ctx context.Context, _ time.Duration) error {
	return f.do(ctx, "start-primary", become(primary()))
}
func (f *fakeServer) Follow(ctx context.Context, _ *postgres.Upstream) error {
	return f.do(ctx, "follow", nil)
}
func (f *fakeServer) StopReceiver(ctx context.Context) (wal.Position, error) {
	return wal.Position{}, f.do(ctx, "stop-receiver", nil)
}
func (f *fakeServer) SetSyncNames(ctx context.Context, names []string) error {
	return f.do(ctx, "set-sync", nil)
}
func (f *fakeServer) ReleaseSyncNames(ctx context.Context) error {
	return f.do(ctx, "release-sync", nil)
}
func (f *fakeServer) Checkpoint(ctx context.Context) error { return f.do(ctx, "checkpoint", nil) }
func (f *fakeServer) Promote(ctx context.Context, want wal.Timeline) (postgres.Promotion, error) {
	return postgres.Promotion{}, f.do(ctx, "promote", func(s *postgres.Facts) {
		*s = primary()
		s.Position.Timeline, s.Control.Timeline = want, want
		s.History = wal.History{{Timeline: want - 1, LSN: s.Position.LSN}}
		s.Identity = cluster.TimelineIdentity{Switch: s.Position.LSN, CRC: 1}
	})
}
func (f *fakeServer) Stop(ctx context.Context, _ postgres.StopMode, _ postgres.StopOptions) (postgres.StopReport, error) {
	return postgres.StopReport{}, f.do(ctx, "stop", func(s *postgres.Facts) {
		end := control.ShutDown
		if s.Role == postgres.RoleStandby {
			end = control.ShutDownRecovery
		}
		*s = stopped(end)
	})
}
func (f *fakeServer) Rewind(ctx context.Context, _ postgres.Source, _ postgres.Progress) error {
	return f.do(ctx, "rewind", nil)
}
func (f *fakeServer) RewindDone() error { return f.do(context.Background(), "rewind-done", nil) }
func (f *fakeServer) SyncSlots(ctx context.Context, _ []postgres.Slot) error {
	return f.do(ctx, "slots", nil)
}
func (f *fakeServer) SetIdentity(wal.Timeline, cluster.TimelineIdentity) error { return nil }
func (f *fakeServer) MarkStandby() error {
	return f.do(context.Background(), "mark-standby", nil)
}

func (f *fakeServer) LetWALGo(ctx context.Context) error {
	return f.do(ctx, "let-wal-go", func(f *postgres.Facts) { f.WALHeld = false })
}

func (f *fakeServer) TendReplaced(ctx context.Context, served postgres.Service, enough time.Duration) (postgres.Removed, error) {
	err := f.do(ctx, "tend", nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.served, f.enough = f.served+served.For, enough
	if f.served >= enough && f.removed.Path != "" {
		f.removed.Served = f.served
		return f.removed, err
	}
	return postgres.Removed{}, err
}

func (f *fakeServer) Loss() (postgres.Loss, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loss == nil {
		return postgres.Loss{}, false
	}
	return *f.loss, true
}
func (f *fakeServer) ProveCommit(ctx context.Context) error { return f.do(ctx, "prove-commit", nil) }
func (f *fakeServer) DropProof()                            {}
func (f *fakeServer) LossNoted() error {
	return f.do(context.Background(), "loss-noted", func(*postgres.Facts) { f.loss = nil })
}

// die is the end of its process, as the kernel tells of it.
func (f *fakeServer) die(e postgres.Event) {
	f.mu.Lock()
	e.PID = f.facts.PID
	f.facts = stopped(f.facts.Control.State)
	f.mu.Unlock()
	f.events <- e
}

// kill is what Options.Kill does to it.
func (f *fakeServer) kill(ctx context.Context) error {
	return f.do(ctx, "kill", func(s *postgres.Facts) {
		if s.Process != postgres.ProcStopped {
			*s = stopped(s.Control.State)
		}
	})
}

// fakeGuard is a guard process that obeys at once.
type fakeGuard struct {
	mu       sync.Mutex
	armed    fence.Deadlines
	disarmed int
	fail     error
	done     chan struct{}
	closed   bool
	kernel   guard.KernelState
	changed  chan struct{}
	state    guard.State
}

// fence is a fence by the guard.
func (g *fakeGuard) fence(p guard.Proof) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state.Fences++
	g.state.Proof = p
	g.changed <- struct{}{}
}
func (g *fakeGuard) Changed() <-chan struct{} { return g.changed }
func (g *fakeGuard) State() guard.State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

func (g *fakeGuard) Arm(_ context.Context, d fence.Deadlines, _ []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail == nil {
		g.armed = d
	}
	return g.fail
}
func (g *fakeGuard) Disarm(context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail == nil {
		g.armed, g.disarmed = fence.Deadlines{}, g.disarmed+1
		g.kernel.Barred = false
	}
	return g.fail
}
func (g *fakeGuard) Kernel() guard.KernelState {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.kernel
}
func (g *fakeGuard) Done() <-chan struct{} { return g.done }
func (g *fakeGuard) Kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.done:
	default:
		close(g.done)
	}
}
func (g *fakeGuard) Close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.Kill()
	return nil
}
func (g *fakeGuard) breaks(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail = err
}
func (g *fakeGuard) isArmed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.armed.Hard != 0
}

// rig is one agent with everything around it.
type rig struct {
	t      *testing.T
	clock  bubbleClock
	server *memory.Server
	store  *memory.Store
	pg     *fakeServer
	agent  *Agent

	mu     sync.Mutex
	guards []*fakeGuard
	ended  chan error // what Run returned
	cancel context.CancelFunc
}

var errBroken = errors.New("broken")

// inBubble runs a story with an agent that is not running yet.
func inBubble(t *testing.T, change func(*Options), f func(t *testing.T, r *rig)) {
	t.Helper()
	dir := t.TempDir()
	// The member knows the store: one that has data and does not waits for a ttl.
	if err := writeState(filepath.Join(dir, "store_seen.json"), known{Mark: dcs.Mark{StoreID: "memory"}}); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c := bubbleClock{time.Now()}
		f(t, newRig(t, memory.NewServer(c), c, dir, change))
	})
}

func newRig(t *testing.T, server *memory.Server, c bubbleClock, dir string, change func(*Options)) *rig {
	r := &rig{t: t, clock: c, server: server, store: server.Connect(), pg: newFakeServer()}
	settings := func() cluster.Settings {
		s := cluster.DefaultSettings()
		s.UseSlots = false
		return s
	}
	keeper := lease.New(lease.Options{Store: r.store, Clock: c, Budget: fence.DefaultBudget(), Member: "a",
		Interval: func() time.Duration { return settings().LoopWait }, TTL: func() time.Duration { return settings().TTL },
		Told: func(e lease.Event) { r.agent.Leased(e) }})
	o := Options{
		Name: "a", Version: "4", Own: "1", StateDir: dir,
		Store: r.store, Keeper: keeper, Postgres: r.pg, Kill: r.pg.kill,
		Reloadable: Reloadable{ConnURL: "postgres://a:5432/postgres", APIURL: "http://a:8008/patroni", CanBootstrap: true, Configure: func(json, role string) (Configured, error) {
			s := settings()
			switch json {
			case "bad":
				return Configured{}, errBroken
			case `{"pause":true}`:
				s.Paused = true
			}
			return Configured{Settings: s, Postgres: postgres.Config{CustomConf: role}}, nil
		}},
		StartGuard: func(context.Context) (Guard, error) {
			g := &fakeGuard{done: make(chan struct{}), changed: make(chan struct{}, 1)}
			r.mu.Lock()
			r.guards = append(r.guards, g)
			r.mu.Unlock()
			return g, nil
		},
		Peers: &http.Client{Transport: noPeers{}}, Clock: c, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	r.agent = New(o)
	return r
}

type noPeers struct{}

func (noPeers) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no such host")
}

// start runs the agent until the end of the test.
func (r *rig) start() {
	ctx, cancel := context.WithCancel(r.t.Context())
	r.cancel, r.ended = cancel, make(chan error, 1)
	go func() { r.ended <- r.agent.Run(ctx) }()
	r.t.Cleanup(func() { r.end() })
	synctest.Wait()
}

// end stops the agent as its death would: nothing is settled.
func (r *rig) end() {
	r.cancel()
	synctest.Wait()
}

// startKeeper runs what a single turn needs, without the loop.
func (r *rig) startKeeper() {
	ctx, cancel := context.WithCancel(r.t.Context())
	go func() { _ = r.agent.opt.Keeper.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); synctest.Wait() })
	synctest.Wait()
	r.agent.viewer.refresh(ctx)
}

func (r *rig) guard() *fakeGuard {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.guards) == 0 {
		return nil
	}
	return r.guards[len(r.guards)-1]
}

// until lets time pass until ok, at most a while.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for range 1000 {
		synctest.Wait()
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s := r.agent.Snapshot()
	r.t.Fatalf("waiting for %s: %s (%s), calls %v", what, s.Decision.Why, s.Decision.Rule, r.pg.calls)
}

func (r *rig) view() cluster.View {
	var v cluster.View
	r.server.Do(func(c *memory.Core) { v = layout.Decode(c.Snapshot()) })
	return v
}

func (r *rig) put(key, value string) {
	r.t.Helper()
	if _, err := r.server.Connect().Put(r.t.Context(), key, value, dcs.Always()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) leads() bool {
	return r.agent.Lease().Live(r.clock.Now()) && r.pg.Observe(r.t.Context()).Role == postgres.RolePrimary
}

// act executes actions as one decision of the present.
func (r *rig) act(acts ...ha.Action) (ok bool, exit *ErrExit) {
	o := r.agent.observe(r.t.Context())
	_, ok, exit = r.agent.execute(r.t.Context(), o, ha.Decision{Actions: acts})
	return ok, exit
}

func (r *rig) want(calls ...string) {
	r.t.Helper()
	r.pg.mu.Lock()
	defer r.pg.mu.Unlock()
	if !slices.Equal(r.pg.calls, calls) {
		r.t.Errorf("calls %v, want %v", r.pg.calls, calls)
	}
	r.pg.calls = nil
}
