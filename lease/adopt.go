package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

// Inherited is a held lease whose agent is gone, as its guard hands it over.
type Inherited struct {
	// Session is the handle of the session that the leader key belongs to.
	Session []byte
	// Deadlines are those that the guard acts at.
	Deadlines fence.Deadlines
	// Guard is that guard, which has an agent again.
	Guard Guard
}

// Adopt goes on with a lease that a former agent of this member held: mine, since
// its guard handed it over. It proves that the session lives and that the leader
// key belongs to it, arms the guard with the new confirmation, and returns: from
// then on the lease is held as if it had been taken here. While the store does
// not answer it tries again, until ctx ends or the guard's soft deadline comes.
//
// After an error nothing is held, and the session is not used any more: it is the
// guard's to end. Call it before Run.
func (k *Keeper) Adopt(ctx context.Context, in Inherited) error {
	if err := acquire(ctx, k.role); err != nil {
		return fmt.Errorf("take the lease over: %w", err)
	}
	defer func() { <-k.role }()
	left := in.Deadlines.Soft.Sub(k.o.Clock.Now())
	ctx, cancel := context.WithTimeoutCause(ctx, left, ErrSoft)
	defer cancel()
	var h dcs.Handle
	err := h.UnmarshalBinary(in.Session)
	if err == nil {
		err = k.adopt(ctx, h, in)
	}
	if err != nil {
		return fmt.Errorf("take the lease over: %w", err)
	}
	k.o.Logger.Info("leader lease taken over from the former agent", "lease", h.ID)
	return nil
}

func (k *Keeper) adopt(ctx context.Context, h dcs.Handle, in Inherited) error {
	var s dcs.Session
	err := untilAnswered(ctx, func(ctx context.Context) (err error) {
		s, err = k.o.Store.Resume(ctx, h)
		return err
	})
	if err != nil {
		return err
	}
	var snap dcs.Snapshot
	if err := untilAnswered(ctx, func(ctx context.Context) (err error) {
		snap, err = k.o.Store.Load(ctx)
		return err
	}); err != nil {
		return err
	}
	kv, ok := leaderIn(snap)
	if !ok || kv.Session != s.ID() || kv.Value != k.o.Member {
		return fmt.Errorf("%w: it is of %q, under session %q", ErrTaken, kv.Value, kv.Session)
	}
	k.mu.Lock()
	now := k.o.Clock.Now()
	k.session, k.openTTL = s, 0 // what was asked for is not known; another is opened when this one does not lead
	k.held, k.version, k.refused = true, kv.Version, false
	k.holding++
	k.guard, k.armed = in.Guard, in.Deadlines.Hard
	k.guardGen++
	k.entrusted = entrusted{s, in.Deadlines.Hard}
	k.term.Store, k.term.Guard = in.Deadlines, in.Deadlines.Hard
	k.ctx, k.cancel = context.WithCancelCause(context.Background())
	k.confirm(s, s.Opened())
	k.expire(now)
	k.mu.Unlock()

	err = k.armGuard(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil && !(k.held && k.term.Until().Live(k.o.Clock.Now())) {
		err = ErrSoft
	}
	if err != nil {
		k.lose(err)
		k.abandon()
		k.abandoned = nil // the guard's to end
		k.guard, k.entrusted = nil, entrusted{}
		return err
	}
	poke(k.changed)
	poke(k.watch)
	return nil
}

// leaderIn finds the leader key.
func leaderIn(snap dcs.Snapshot) (dcs.KV, bool) {
	for _, kv := range snap.Keys {
		if kv.Key == leaderKey {
			return kv, true
		}
	}
	return dcs.KV{}, false
}

// untilAnswered repeats a call that changes nothing but the session's life until
// the store answers it, one way or another, or ctx ends.
func untilAnswered(ctx context.Context, call func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, longestOpen)
		err := call(attempt)
		cancel()
		if err == nil || errors.Is(err, dcs.ErrSessionGone) || errors.Is(err, dcs.ErrRefused) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(firstRetry):
		}
	}
}
