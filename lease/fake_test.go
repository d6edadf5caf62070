package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

// testClock follows the bubble's time; jump moves it on as a stopped process
// sees it: CLOCK_BOOTTIME advanced, no timer of the process fired.
type testClock struct {
	mu    sync.Mutex
	start time.Time
	extra time.Duration
	set   time.Duration // by how much somebody set the wall clock
}

func newClock() *testClock { return &testClock{start: time.Now()} }

func (c *testClock) Now() boot.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return boot.Instant(time.Hour + time.Since(c.start) + c.extra)
}

func (c *testClock) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.extra + c.set)
}

// step sets the wall clock.
func (c *testClock) step(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set += by
}

func (c *testClock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.extra += d
}

// fault is what happens to one call.
type fault int

const (
	none       fault = iota
	down             // refused before it had an effect
	lostReply        // took effect, the caller learns nothing
	lostAsk          // no effect, the caller learns nothing
	hangAfter        // took effect, then no answer until the context ends
	hangBefore       // no effect, no answer until the context ends
)

// fakeStore is a small linearizable store whose sessions expire by the clock.
type fakeStore struct {
	clock *testClock
	mu    sync.Mutex
	rev   int64
	keys  map[string]dcs.KV
	live  map[string]*fakeSession
	opens int
	renew int
	// faults decides about a call: "open", "renew", "put", "delete", "load", "end".
	faults  func(op string) fault
	granted time.Duration // instead of what is asked for, when not zero
}

func newStore(c *testClock) *fakeStore {
	return &fakeStore{clock: c, keys: map[string]dcs.KV{}, live: map[string]*fakeSession{}}
}

func (f *fakeStore) setFaults(fn func(op string) fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = fn
}

// call runs effect under the store's lock, with the fault chosen for op.
func (f *fakeStore) call(ctx context.Context, op string, effect func() error) error {
	f.mu.Lock()
	what := none
	if f.faults != nil {
		what = f.faults(op)
	}
	f.expire()
	var err error
	if what == none || what == lostReply || what == hangAfter {
		err = effect()
	}
	f.mu.Unlock()
	switch what {
	case down:
		return dcs.ErrUnavailable
	case lostReply, lostAsk:
		return dcs.ErrUnknown
	case hangAfter, hangBefore:
		<-ctx.Done()
		return errors.Join(ctx.Err(), dcs.ErrUnknown)
	}
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), dcs.ErrUnknown)
	}
	return err
}

func (f *fakeStore) expire() {
	for id, s := range f.live {
		if f.clock.Now() >= s.until {
			f.kill(id)
		}
	}
}

func (f *fakeStore) kill(id string) {
	delete(f.live, id)
	for k, kv := range f.keys {
		if kv.Session == id {
			delete(f.keys, k)
			f.rev++
		}
	}
}

func (f *fakeStore) Load(ctx context.Context) (dcs.Snapshot, error) {
	var snap dcs.Snapshot
	err := f.call(ctx, "load", func() error {
		snap = dcs.Snapshot{StoreID: "s", Revision: f.rev}
		for _, kv := range f.keys {
			snap.Keys = append(snap.Keys, kv)
		}
		return nil
	})
	return snap, err
}

// view is what an agent would make of the store now.
func (f *fakeStore) view() cluster.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire()
	kv := f.keys[leaderKey]
	return cluster.View{StoreID: "s", Revision: f.rev,
		Leader: cluster.Leader{Name: kv.Value, Session: kv.Session, Version: kv.Version}}
}

func (f *fakeStore) put(key, value, session string, c dcs.Condition) (cluster.Version, error) {
	if _, ok := f.keys[key]; ok && c.IsAbsent() {
		return "", dcs.ErrConflict
	}
	f.rev++
	v := cluster.Version(fmt.Sprint(f.rev))
	f.keys[key] = dcs.KV{Key: key, Value: value, Version: v, Session: session}
	return v, nil
}

// foreign puts the leader key under another's session, replacing any.
func (f *fakeStore) foreign(value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = f.put(leaderKey, value, "foreign", dcs.Always())
}

func (f *fakeStore) Open(ctx context.Context, ttl time.Duration) (dcs.Session, error) {
	var s *fakeSession
	sent := f.clock.Now()
	err := f.call(ctx, "open", func() error {
		f.opens++
		if f.granted != 0 {
			ttl = f.granted
		}
		s = &fakeSession{f: f, id: fmt.Sprintf("session-%d", f.opens), ttl: ttl, until: f.clock.Now().Add(ttl)}
		s.opened = dcs.Confirmation{Sent: sent, Granted: ttl}
		f.live[s.id] = s
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (f *fakeStore) Resume(ctx context.Context, h dcs.Handle) (dcs.Session, error) {
	f.mu.Lock()
	s := f.live[h.ID]
	f.mu.Unlock()
	if s == nil {
		return nil, dcs.ErrSessionGone
	}
	c, err := s.Renew(ctx)
	if err != nil {
		return nil, err
	}
	return resumed{s, c}, nil
}

// resumed is a session as another process has it.
type resumed struct {
	*fakeSession
	opened dcs.Confirmation
}

func (r resumed) Opened() dcs.Confirmation { return r.opened }

func (f *fakeStore) Watch(context.Context) <-chan dcs.Update { panic("not used") }
func (f *fakeStore) Put(context.Context, string, string, dcs.Condition) (cluster.Version, error) {
	panic("not used")
}
func (f *fakeStore) Delete(context.Context, string, dcs.Condition) error { panic("not used") }
func (f *fakeStore) DeleteAll(context.Context) error                     { panic("not used") }
func (f *fakeStore) Close() error                                        { return nil }

func (f *fakeStore) count() (opens, renewals int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opens, f.renew
}

type fakeSession struct {
	f      *fakeStore
	id     string
	ttl    time.Duration
	until  boot.Instant
	opened dcs.Confirmation
}

func (s *fakeSession) ID() string               { return s.id }
func (s *fakeSession) Handle() dcs.Handle       { return dcs.Handle{ID: s.id, Granted: s.ttl} }
func (s *fakeSession) Opened() dcs.Confirmation { return s.opened }
func (s *fakeSession) Slack() time.Duration     { return 0 }

func (s *fakeSession) Renew(ctx context.Context) (dcs.Confirmation, error) {
	sent := s.f.clock.Now()
	err := s.f.call(ctx, "renew", func() error {
		s.f.renew++
		if s.f.live[s.id] == nil {
			return dcs.ErrSessionGone
		}
		s.until = s.f.clock.Now().Add(s.ttl)
		return nil
	})
	return dcs.Confirmation{Sent: sent, Granted: s.ttl}, err
}

func (s *fakeSession) Put(ctx context.Context, key, value string, c dcs.Condition) (v cluster.Version, err error) {
	err = s.f.call(ctx, "put", func() error {
		if s.f.live[s.id] == nil {
			return dcs.ErrSessionGone
		}
		v, err = s.f.put(key, value, s.id, c)
		return err
	})
	return v, err
}

func (s *fakeSession) Delete(ctx context.Context, key string) error {
	return s.f.call(ctx, "delete", func() error {
		if s.f.live[s.id] == nil {
			return dcs.ErrSessionGone
		}
		if kv, ok := s.f.keys[key]; !ok || kv.Session != s.id {
			return dcs.ErrConflict
		}
		delete(s.f.keys, key)
		s.f.rev++
		return nil
	})
}

func (s *fakeSession) End(ctx context.Context) error {
	return s.f.call(ctx, "end", func() error {
		s.f.kill(s.id)
		return nil
	})
}

// fakeGuard acknowledges unless told otherwise, and remembers.
type fakeGuard struct {
	clock  *testClock
	mu     sync.Mutex
	hard   boot.Instant
	arms   int
	deaf   bool
	fences int // words that came with a deadline that had
}

func (g *fakeGuard) Arm(ctx context.Context, d fence.Deadlines, session []byte) error {
	g.mu.Lock()
	g.arms++
	deaf := g.deaf
	late := g.clock != nil && d.Hard <= g.clock.Now()
	switch {
	case deaf:
	case late:
		g.hard = 0
		g.fences++
	default:
		g.hard = d.Hard
	}
	g.mu.Unlock()
	switch {
	case deaf:
		<-ctx.Done()
		return errors.New("no acknowledgement")
	case late:
		return fence.ErrFenced
	}
	return nil
}

func (g *fakeGuard) fenced() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fences
}

func (g *fakeGuard) Disarm(context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hard = 0
	return nil
}

func (g *fakeGuard) armed() boot.Instant {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hard
}

func (g *fakeGuard) setDeaf(deaf bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deaf = deaf
}

// world is a keeper at work in a bubble.
type world struct {
	t     *testing.T
	clock *testClock
	store *fakeStore
	guard *fakeGuard
	ttl   time.Duration
	log   *slog.Logger
	k     *Keeper
	left  []time.Duration // what Renewed was told
	watch func(granted time.Duration) (margin time.Duration, device bool)

	toldMu sync.Mutex
	told   []Event
}

// newWorld starts a keeper that renews every 5 s a lease of 30 s and waits for
// its first session.
func newWorld(t *testing.T, change func(*world)) *world {
	w := &world{t: t, clock: newClock(), ttl: 30 * time.Second}
	w.guard = &fakeGuard{clock: w.clock}
	w.store = newStore(w.clock)
	if change != nil {
		change(w)
	}
	w.k = New(Options{Store: w.store, Clock: w.clock, Budget: fence.DefaultBudget(), Member: "n1", Guard: w.guard, Logger: w.log, Watchdog: w.watch,
		Interval: func() time.Duration { return 5 * time.Second }, TTL: func() time.Duration { return w.ttl },
		Renewed: func(left time.Duration) { w.left = append(w.left, left) },
		Told: func(e Event) {
			w.toldMu.Lock()
			defer w.toldMu.Unlock()
			w.told = append(w.told, e)
		}})
	done := make(chan struct{})
	go func() { defer close(done); _ = w.k.Run(t.Context()) }()
	t.Cleanup(func() { _ = w.k.Close(context.Background(), false); <-done })
	return w
}

func (w *world) take() {
	w.t.Helper()
	if _, err := w.k.Take(w.t.Context()); err != nil {
		w.t.Fatalf("Take: %v", err)
	}
}

func (w *world) holds(want bool) State {
	w.t.Helper()
	s := w.k.State()
	if s.Held != want {
		w.t.Fatalf("held %v, want %v; %+v", s.Held, want, s)
	}
	return s
}

// remove deletes a key whatever it belongs to, as a person would.
func (f *fakeStore) remove(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, key)
	f.rev++
}
