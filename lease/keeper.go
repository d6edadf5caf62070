package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// The reasons why there is no lease, as causes of Context and errors of Take.
var (
	ErrNotHeld   = errors.New("the leader lease is not held")
	ErrNoSession = errors.New("no session with the store is open")
	ErrSoft      = errors.New("the soft deadline of the lease was reached without a newer confirmation")
	ErrExpired   = errors.New("the hard deadline of the lease was reached without a newer confirmation")
	ErrTaken     = errors.New("the leader key is not under this member's session any more")
	ErrReleased  = errors.New("the leader lease was released")
	ErrClosed    = errors.New("the lease keeper is closed")
)

// leaderKey is the leader key's name below the store's prefix.
const leaderKey = "leader"

// Guard stops the server when a deadline passes; guard.Client is one. Both
// calls return when the guard process has acknowledged.
type Guard interface {
	// Arm hands over deadlines, and the handle of the session that they come from,
	// so that the guard can end it when the server is dead and nobody else does.
	Arm(ctx context.Context, d fence.Deadlines, session []byte) error
	Disarm(ctx context.Context) error
}

// Options are what a Keeper needs; all but Guard and Logger are required.
type Options struct {
	Store  dcs.Store
	Clock  clock.Clock
	Budget fence.Budget // StoreSlack is taken from each session instead
	// Watchdog says how long before the end of a lease of this length a watchdog
	// device resets the host, and whether there is one. It returns at once and may
	// not call the Keeper. nil: there is none.
	Watchdog func(granted time.Duration) (margin time.Duration, device bool)
	Member   string // the value of the leader key
	Guard    Guard  // nil: nothing to guard (a witness)
	// Interval is the wanted time between renewals (loop_wait); a third of what
	// the store granted is the upper limit.
	Interval func() time.Duration
	// TTL is the lease length to ask for. After a change a new session is opened
	// as soon as this member does not lead: the keys of a session cannot move to
	// another at once, so a leader keeps the length that it was granted.
	TTL func() time.Duration
	// Renewed is told, at each renewal of a held lease, how much of it was left
	// before the soft deadline. It returns at once; nil: nobody is told.
	Renewed func(left time.Duration)
	// Told is given what happens to a held lease, as it happens: it returns at
	// once and may not call the Keeper. nil: nobody is told.
	Told   func(Event)
	Logger *slog.Logger // nil discards
}

// EventKind is what happened to a held lease.
type EventKind string

// The kinds of events.
const (
	// Trouble: the first renewal of a row that was not confirmed, or was not sent
	// because the guard does not answer. Confirmed: the first after that which was.
	Trouble   EventKind = "trouble"
	Confirmed EventKind = "confirmed"
	// Ended: the lease was released, refused, or ran out.
	Ended EventKind = "ended"
)

// Event is one of them, with the reason.
type Event struct {
	Kind EventKind
	At   boot.Instant
	Why  string
}

// State is a copy of what the Keeper knows.
type State struct {
	Session string // id of the open session, empty when there is none
	// Held: the leader key is ours as far as is known. It does not say that the
	// lease still lasts: see Live.
	Held bool
	// Term says until when the lease lasts that is held. Adrift: by the members'
	// word alone (see Extend); the session under which the key was taken has ended, or
	// the key is gone, and Take creates it again.
	fence.Term
	// Granted is the session's length as granted by the store.
	Granted time.Duration
	// LastConfirmed is when the last confirmation was received; zero never.
	LastConfirmed boot.Instant
	// Doubted: this host may have stood still without noticing, and no renewal was
	// confirmed since: nothing may be begun under the lease. See Certain.
	Doubted bool
	// Lost: the session of a lost lease still runs, and may be ended once the server
	// is proven not to write. See Stopped.
	Lost bool
	// Refused: the key was lost to, or never won from, another holder.
	Refused bool
	// Armed is the hard deadline that the guard acknowledged last for this
	// holding; GuardError is why it did not acknowledge a newer one. While it is
	// set no renewal is sent: start another guard and hand it to SetGuard.
	Armed      boot.Instant
	GuardError string
	// LastError is the store's last failure; empty when the last call succeeded.
	LastError string
}

// Live reports whether the server may write at now.
func (s State) Live(now boot.Instant) bool {
	return s.Held && s.Until().Live(now)
}

// Certain reports whether something may be begun, or written, as the leader.
func (s State) Certain(now boot.Instant) bool { return s.Live(now) && !s.Doubted }

// Keeper keeps one member's session and leader lease. Run does the work; all
// other methods may be called from several goroutines.
type Keeper struct {
	o       Options
	changed chan struct{} // for the agent
	kick    chan struct{} // wakes Run
	watch   chan struct{} // wakes the deadline watcher

	// role is held by whoever is changing whether this member holds the key, and
	// arm by whoever talks to the guard, so that older deadlines never follow
	// newer ones. Order: role, arm, mu.
	role, arm chan struct{}

	mu        sync.Mutex
	stop      context.CancelCauseFunc // set while Run runs
	stopped   chan struct{}
	closed    bool
	session   dcs.Session
	openTTL   time.Duration // what was asked for when session was opened
	replaced  dcs.Session   // a former session that still has to be ended
	abandoned dcs.Session   // of a lost lease, whose server may write still: see Stopped
	lost      []dcs.Session // of lost leases whose servers do not: to be ended
	unended   string        // id of the one whose failed end was told
	granted   time.Duration
	term      fence.Term // of the session, and of the lease that is held
	confirmed boot.Instant
	clocks    clocks
	doubt     boot.Instant // nothing was proven since; 0: none
	renewing  context.CancelFunc

	held      bool
	holding   int // counts changes of held: results of older holdings are void
	version   cluster.Version
	taking    bool
	refused   bool
	suspect   bool        // a view contradicts held: read the key again
	unclaimed bool        // the key is ours but nobody was told
	sight     fence.Sight // the newest view in which the key was ours
	softTold  bool        // the soft deadline was signalled for the current deadlines
	troubled  bool        // that renewals are not confirmed was told
	ctx       context.Context
	cancel    context.CancelCauseFunc

	guard      Guard
	guardGen   int
	armed      boot.Instant
	entrusted  entrusted
	guardError string
	lastError  string
}

// New returns a Keeper that does nothing until Run is called.
func New(o Options) *Keeper {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{o: o, guard: o.Guard,
		changed: make(chan struct{}, 1), kick: make(chan struct{}, 1), watch: make(chan struct{}, 1),
		role: make(chan struct{}, 1), arm: make(chan struct{}, 1)}
	k.ctx, k.cancel = context.WithCancelCause(context.Background())
	k.cancel(ErrNotHeld)
	return k
}

// acquire takes one of the Keeper's long locks.
func acquire(ctx context.Context, lock chan struct{}) error {
	select {
	case lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// State returns a copy of what is known now.
func (k *Keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire(k.o.Clock.Now())
	s := State{Held: k.held, Term: k.term, Granted: k.granted,
		LastConfirmed: k.confirmed, Doubted: k.doubt != 0, Lost: k.abandoned != nil && !k.held, Refused: k.refused, Armed: k.armed,
		GuardError: k.guardError, LastError: k.lastError}
	if k.session != nil {
		s.Session = k.session.ID()
	}
	return s
}

// Changed has a value after the lease was gained or lost, a session was opened
// or lost, the soft deadline was reached, or the guard failed or recovered.
// Several events may share one value.
func (k *Keeper) Changed() <-chan struct{} { return k.changed }

// Context returns a context that ends, with its cause, when the lease that is
// held now is lost, released, or reaches its soft deadline. It has ended
// already when no lease is held.
func (k *Keeper) Context() context.Context {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire(k.o.Clock.Now())
	return k.ctx
}

// Session returns the open session, nil when there is none. It may be replaced
// at any time; keys that belong to a former session must be written again.
func (k *Keeper) Session() dcs.Session {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.session
}

// PutOwned writes a key that dies with the current session.
func (k *Keeper) PutOwned(ctx context.Context, key, value string, c dcs.Condition) (cluster.Version, error) {
	s := k.Session()
	if s == nil {
		return "", fmt.Errorf("write %s: %w: %w", key, ErrNoSession, dcs.ErrUnavailable)
	}
	v, err := s.Put(ctx, key, value, c)
	if errors.Is(err, dcs.ErrSessionGone) {
		k.gone(s, err)
	}
	if err != nil {
		return "", fmt.Errorf("write %s: %w", key, err)
	}
	return v, nil
}

// SetGuard replaces the guard: after the former one ended, or nil when the
// server shall not be guarded (pause). A held lease's deadlines are handed to
// the new guard at once. When SetGuard returns the former guard is not spoken to
// any more: it may be disarmed or closed.
func (k *Keeper) SetGuard(g Guard) {
	k.arm <- struct{}{} // at most guardWait
	defer func() { <-k.arm }()
	k.mu.Lock()
	k.expire(k.o.Clock.Now())
	if g == nil || g != k.guard {
		k.entrusted = entrusted{}
	}
	k.guard, k.armed, k.guardError = g, 0, ""
	if g == nil {
		k.term.Guard = 0
	}
	k.guardGen++
	k.mu.Unlock()
	poke(k.kick)
}

// expire applies the deadlines at now; k.mu is held.
func (k *Keeper) expire(now boot.Instant) {
	k.lookAtClocks(now)
	if !k.held {
		k.overdue(now)
		return
	}
	switch k.term.Until().Phase(now) {
	case fence.Lost:
		k.lose(ErrExpired)
		k.abandon()
	case fence.Stopping:
		if k.softTold {
			return
		}
		k.softTold = true
		k.cancel(ErrSoft)
		poke(k.changed)
	}
}

// lose ends the holding; k.mu is held.
func (k *Keeper) lose(cause error) {
	if !k.held {
		return
	}
	k.held, k.version, k.suspect, k.troubled = false, "", false, false
	k.holding++
	k.sight = fence.Sight{}
	k.term.End()
	k.cancel(cause)
	poke(k.changed)
	poke(k.watch)
	k.o.Logger.Info("leader lease ended", "cause", cause)
	k.tell(Ended, cause.Error())
}

// tell passes an event on; k.mu is held.
func (k *Keeper) tell(kind EventKind, why string) {
	if k.o.Told != nil {
		k.o.Told(Event{Kind: kind, At: k.o.Clock.Now(), Why: why})
	}
}

// unconfirmed notes that a renewal of a held lease did not come about; k.mu is
// held.
func (k *Keeper) unconfirmed(why string) {
	if k.held && !k.troubled {
		k.troubled = true
		left := k.term.Until().Soft.Sub(k.o.Clock.Now())
		k.tell(Trouble, fmt.Sprintf("%s; without a newer confirmation the server is stopped in %s", why, max(left, 0).Round(time.Millisecond)))
	}
}

// abandon forgets the session, so that it runs out by itself: it is neither
// renewed nor ended any more. k.mu is held.
func (k *Keeper) abandon() {
	if k.session == nil {
		return
	}
	k.abandoned, k.session = k.session, nil
	k.term.Store, k.granted, k.unclaimed = fence.Deadlines{}, 0, false
	if !k.held { // else it is adrift, and in doubt by itself
		k.doubt = 0
	}
	poke(k.changed)
	poke(k.kick)
}

// gone records that session s has certainly ended.
func (k *Keeper) gone(s dcs.Session, cause error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.session != s {
		return
	}
	k.lastError = cause.Error()
	if k.held && k.promised() {
		// Nobody else can have taken the key: the lease goes on, and is taken again
		// under another session.
		k.drift()
	} else {
		k.robbed(cause)
	}
	k.abandon()
	k.abandoned = nil
}
