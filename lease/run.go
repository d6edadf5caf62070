package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = time.Second
	// shortestAttempt is what a call to the store is given at least, longestOpen
	// what opening a session is given at most.
	shortestAttempt = 250 * time.Millisecond
	longestOpen     = 5 * time.Second
	// longestSleep bounds each sleep: Go's timers stand still while the host is
	// suspended, the deadlines do not.
	longestSleep = time.Second
	// guardWait is how long a guard may take to acknowledge.
	guardWait = time.Second
)

// turns is what Run's goroutine alone knows.
type turns struct {
	next  boot.Instant  // when the next renewal is due
	retry time.Duration // the last pause after a failure, 0 after a success
}

func (t *turns) failed() time.Duration {
	t.retry = min(max(2*t.retry, firstRetry), lastRetry)
	return t.retry
}

// Run keeps the session until ctx ends or Close is called. It leaves session,
// leader key and guard as they are.
func (k *Keeper) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	k.mu.Lock()
	if k.closed || k.stop != nil {
		k.mu.Unlock()
		return fmt.Errorf("run: %w or running already", ErrClosed)
	}
	k.stop, k.stopped = cancel, done
	k.mu.Unlock()

	var wg sync.WaitGroup
	wg.Go(func() { k.watchDeadlines(ctx) })
	defer wg.Wait()
	defer cancel(nil)
	var t turns
	for ctx.Err() == nil {
		sleep(ctx, k.turn(ctx, &t), k.kick)
	}
	return context.Cause(ctx)
}

// Close stops Run and waits for it. With end it also ends the session, and so
// gives up all its keys at once: only when the server is certainly no writer.
// Without it the session runs out by itself.
func (k *Keeper) Close(ctx context.Context, end bool) error {
	k.mu.Lock()
	k.closed = true
	stop, stopped := k.stop, k.stopped
	k.mu.Unlock()
	if stop != nil {
		stop(ErrClosed)
		select {
		case <-stopped:
		case <-ctx.Done():
			return fmt.Errorf("close the lease keeper: %w", context.Cause(ctx))
		}
	}
	if !end {
		return nil
	}
	k.mu.Lock()
	s := k.session
	k.lose(ErrClosed)
	k.abandon()
	if s != nil {
		k.abandoned = nil // ended here
	}
	k.mu.Unlock()
	if s == nil {
		k.Stopped()
		return k.endLost(ctx, lastRetry)
	}
	if err := s.End(ctx); err != nil && !errors.Is(err, dcs.ErrSessionGone) {
		return fmt.Errorf("end session %s: %w", s.ID(), err)
	}
	return nil
}

// sleep waits for d, a wake-up, or the end of ctx.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(min(d, longestSleep))
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// watchDeadlines applies the deadlines on time, also while a call to the store
// or the guard hangs.
func (k *Keeper) watchDeadlines(ctx context.Context) {
	for ctx.Err() == nil {
		k.mu.Lock()
		now := k.o.Clock.Now()
		k.expire(now)
		wait := longestSleep
		if k.held {
			d := k.term.Until()
			wait = d.Hard.Sub(now)
			if now < d.Soft {
				wait = d.Soft.Sub(now)
			}
		}
		k.mu.Unlock()
		sleep(ctx, max(wait, time.Millisecond), k.watch)
	}
}

// turn does the most urgent thing and returns how long nothing is due.
func (k *Keeper) turn(ctx context.Context, t *turns) time.Duration {
	k.mu.Lock()
	k.expire(k.o.Clock.Now())
	s, held, suspect, unclaimed, lost := k.session, k.held, k.suspect, k.unclaimed, len(k.lost) > 0
	stale := s != nil && !held && k.openTTL != k.o.TTL()
	k.mu.Unlock()
	// What fails beside the renewal is tried again soon, but never keeps the
	// renewal from being sent: not knowing is no reason to lose a lease.
	soon := longestSleep
	switch {
	case s == nil:
		// Adrift, the lease may end before that of the session would have. A guard that
		// is mute is in the state, and holds nothing up: there is nothing to renew.
		_ = k.guarded(ctx)
		if err := k.open(ctx, t); err != nil {
			k.failed(ctx, "open a session", err)
			return t.failed()
		}
	case stale:
		if err := k.open(ctx, t); err != nil {
			k.failed(ctx, "open a session of another length", err)
		}
	case held && !k.guarded(ctx):
		return t.failed()
	case held && suspect:
		if err := k.verify(ctx); err != nil {
			k.failed(ctx, "read the leader key again", err)
			soon = firstRetry
		}
	case unclaimed:
		if err := k.drop(ctx); err != nil {
			k.failed(ctx, "delete a leader key that nobody uses", err)
			soon = firstRetry
		}
	}
	if s = k.Session(); s == nil {
		return firstRetry
	}
	// There is time before the next renewal: never instead of it.
	if left := t.next.Sub(k.o.Clock.Now()); lost && left > 0 && !k.State().Doubted {
		if err := k.endLost(ctx, min(left, lastRetry)); err != nil {
			soon = lastRetry // no trouble of the lease's: that session runs out by itself
		}
	}
	if now := k.o.Clock.Now(); now < t.next && !k.State().Doubted {
		return min(t.next.Sub(now), soon)
	}
	if err := k.renew(ctx, s, t); err != nil {
		if errors.Is(err, dcs.ErrSessionGone) {
			k.o.Logger.Warn("session with the store is over", "lease", s.ID())
			k.gone(s, err)
			t.retry = 0
			return 0
		}
		k.failed(ctx, "renew the session", err)
		k.mu.Lock()
		k.unconfirmed("a renewal was not confirmed: " + dcs.Brief(err))
		k.mu.Unlock()
		return t.failed()
	}
	return k.after(ctx, s, t)
}

// after does what follows a successful renewal.
func (k *Keeper) after(ctx context.Context, s dcs.Session, t *turns) time.Duration {
	t.retry = 0
	k.endReplaced(ctx)
	if k.State().Held && !k.guarded(ctx) {
		return t.failed()
	}
	if k.State().Doubted {
		return firstRetry // what was confirmed was sent before the doubt
	}
	return t.next.Sub(k.o.Clock.Now())
}

// failed records a failure of the store and logs it when it is a new one. A call
// that the keeper's own end cut short is none.
func (k *Keeper) failed(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lastError == "" {
		k.o.Logger.Warn("store does not serve the lease", "action", what, "error", dcs.Brief(err))
	}
	k.lastError = dcs.Brief(err)
}

// open opens a session and makes it the current one.
func (k *Keeper) open(ctx context.Context, t *turns) error {
	// A take or release at work must not lose its session under its feet; and
	// while there is a session to renew, nothing waits for one.
	wait := ctx
	if k.Session() != nil {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, firstRetry)
		defer cancel()
	}
	if err := acquire(wait, k.role); err != nil {
		return err
	}
	defer func() { <-k.role }()
	if st := k.State(); st.Held && !st.Adrift {
		return nil // taken meanwhile
	}
	ttl := k.o.TTL()
	ctx, cancel := context.WithTimeout(ctx, min(max(ttl/3, shortestAttempt), longestOpen))
	defer cancel()
	s, err := k.o.Store.Open(ctx, ttl)
	if err != nil {
		return err
	}
	c := s.Opened()
	if c.Granted < ttl {
		k.o.Logger.Warn("store grants a shorter lease than ttl; the shorter one counts everywhere",
			"lease", s.ID(), "granted", c.Granted, "ttl", ttl)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.replaced, k.session, k.openTTL = k.session, s, ttl
	k.term.Store, k.unclaimed, k.refused = fence.Deadlines{}, false, false
	if !k.held { // a new session says nothing about a lease that is adrift
		k.doubt = 0
	}
	k.confirm(s, c)
	t.next, t.retry = c.Sent.Add(k.interval(c.Granted)), 0
	poke(k.changed)
	return nil
}

// interval returns the time between renewals. A watchdog device makes a lease
// end earlier, and two renewals have to fit in all the same.
func (k *Keeper) interval(granted time.Duration) time.Duration {
	b := k.budget(granted, 0)
	d := fence.Interval(k.o.Interval(), granted)
	if b.Device {
		life := fence.Compute(0, granted, b)
		d = min(d, life.Soft.Sub(life.Sent)/2)
	}
	return max(d, time.Millisecond)
}

// budget is what is subtracted from a lease of this length.
func (k *Keeper) budget(granted, slack time.Duration) fence.Budget {
	b := k.o.Budget
	b.StoreSlack = slack
	if k.o.Watchdog != nil {
		b.Margin, b.Device = k.o.Watchdog(granted)
	}
	return b
}

// endReplaced ends the session that a changed ttl made obsolete. A renewal lies
// between, time for the agent to write its keys again under the new one.
func (k *Keeper) endReplaced(ctx context.Context) {
	k.mu.Lock()
	s := k.replaced
	k.replaced = nil
	k.mu.Unlock()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastRetry)
	defer cancel()
	if err := s.End(ctx); err != nil {
		k.o.Logger.Debug("former session runs out by itself", "lease", s.ID(), "error", err)
	}
}

// renew renews the session once.
func (k *Keeper) renew(ctx context.Context, s dcs.Session, t *turns) error {
	ctx, cancel := context.WithTimeout(ctx, k.attempt())
	defer cancel()
	k.mu.Lock()
	k.renewing = cancel
	k.mu.Unlock()
	c, err := s.Renew(ctx)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.o.Renewed != nil && k.held && k.session == s {
		k.o.Renewed(k.term.Until().Soft.Sub(k.o.Clock.Now()))
	}
	k.confirm(s, c)
	t.next = c.Sent.Add(k.interval(c.Granted))
	return nil
}

// attempt returns how long one call may take: a third of the life that is left,
// so that two more attempts fit in.
func (k *Keeper) attempt() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fence.Attempt(k.term.Store.Soft.Sub(k.o.Clock.Now()), k.granted, shortestAttempt)
}

// confirm takes the store's word for session s; k.mu is held.
func (k *Keeper) confirm(s dcs.Session, c dcs.Confirmation) {
	if k.session != s {
		return // abandoned meanwhile: its word counts no more
	}
	now := k.o.Clock.Now()
	k.term.Confirm(fence.Compute(c.Sent, c.Granted, k.budget(c.Granted, s.Slack())))
	k.settle()
	before := k.confirmed
	k.granted, k.confirmed = c.Granted, now
	if k.held && k.troubled && !k.term.Adrift {
		k.troubled = false
		k.tell(Confirmed, fmt.Sprintf("a renewal was confirmed again, %s after the last one", now.Sub(before).Round(time.Millisecond)))
	}
	if k.lastError != "" {
		k.o.Logger.Info("store serves the lease again", "lease", s.ID())
		k.lastError = ""
		poke(k.changed)
	}
	k.revive(now)
}

// revive makes a holding live again whose soft deadline had passed before a
// newer proof came; k.mu is held.
func (k *Keeper) revive(now boot.Instant) {
	if k.held && k.term.Until().Live(now) {
		if k.softTold {
			k.softTold = false
			k.ctx, k.cancel = context.WithCancelCause(context.Background())
			poke(k.changed)
		}
	}
	poke(k.watch)
}
