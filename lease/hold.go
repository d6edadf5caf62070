package lease

import (
	"context"
	"errors"
	"fmt"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

// Take creates the leader key under the current session and arms the guard.
// Only after it returned without error may the server be promoted. It is
// idempotent: a lease that is held already is success.
//
// dcs.ErrConflict means that another holds the key. After dcs.ErrUnknown the
// key may turn up as ours later; the Keeper deletes it then, unless another
// Take succeeds first.
func (k *Keeper) Take(ctx context.Context) (cluster.Version, error) {
	if err := acquire(ctx, k.role); err != nil {
		return "", fmt.Errorf("take the leader lease: %w", err)
	}
	defer func() { <-k.role }()
	v, err := k.take(ctx)
	if err != nil {
		return "", fmt.Errorf("take the leader lease: %w", err)
	}
	return v, nil
}

func (k *Keeper) take(ctx context.Context) (cluster.Version, error) {
	k.mu.Lock()
	now := k.o.Clock.Now()
	k.expire(now)
	s := k.session
	switch {
	case k.held && !k.term.Adrift:
		defer k.mu.Unlock()
		return k.version, nil
	case s == nil:
		k.mu.Unlock()
		return "", fmt.Errorf("%w: %w", ErrNoSession, dcs.ErrUnavailable)
	case k.doubt != 0 || !k.term.Store.Live(now):
		k.mu.Unlock()
		return "", fmt.Errorf("session %s was not confirmed in time: %w", s.ID(), dcs.ErrUnavailable)
	}
	k.taking = true
	adrift := k.held // else it is success already
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.taking = false
		k.mu.Unlock()
	}()

	v, err := k.create(ctx, s)
	if err != nil {
		k.mu.Lock()
		k.refused = errors.Is(err, dcs.ErrConflict)
		// A lease adrift ends when another holds the key: that is read once more.
		k.suspect = k.suspect || k.term.Adrift && k.refused
		// Should it have been created all the same, nobody must keep it.
		k.unclaimed = errors.Is(err, dcs.ErrUnknown) && k.session == s
		k.mu.Unlock()
		if errors.Is(err, dcs.ErrSessionGone) {
			k.gone(s, err)
		}
		return "", err
	}
	if err := k.hold(ctx, s, v, adrift); err != nil {
		return "", err
	}
	return v, nil
}

// create puts the leader key. When the answer is lost, or says that the key
// exists, the key may be ours by this or an earlier attempt: look.
func (k *Keeper) create(ctx context.Context, s dcs.Session) (cluster.Version, error) {
	v, err := s.Put(ctx, leaderKey, k.o.Member, dcs.Absent())
	if err == nil || !(errors.Is(err, dcs.ErrUnknown) || errors.Is(err, dcs.ErrConflict)) {
		return v, err
	}
	kv, lerr := k.look(ctx)
	switch {
	case lerr == nil && kv.Session == s.ID():
		return kv.Version, nil
	case lerr == nil && kv.Session != "":
		// Another holds it. Should our create still be on its way and succeed when
		// that key is gone, Observed finds it.
		return "", fmt.Errorf("key %s is under session %s: %w", leaderKey, kv.Session, dcs.ErrConflict)
	}
	return "", err
}

// look reads the leader key, linearizably. When ctx has ended it still gets one
// short attempt: what is unknown is worth a read.
func (k *Keeper) look(ctx context.Context) (dcs.KV, error) {
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, k.attempt())
	defer cancel()
	snap, err := k.o.Store.Load(ctx)
	if err != nil {
		return dcs.KV{}, err
	}
	kv, _ := leaderIn(snap)
	return kv, nil
}

// hold makes the created key a holding, with the guard armed; otherwise the key
// is given back. adrift: it was to be the key of a lease that was held already.
func (k *Keeper) hold(ctx context.Context, s dcs.Session, v cluster.Version, adrift bool) error {
	k.mu.Lock()
	if k.session != s {
		k.mu.Unlock()
		return fmt.Errorf("session %s was lost meanwhile: %w", s.ID(), dcs.ErrSessionGone)
	}
	if adrift && !k.held {
		// That lease was lost meanwhile: another has led in between, and the server,
		// which may not be down yet, must not go on under a new one. The session goes
		// with its key when the server is known to be down, or by itself.
		k.abandon()
		k.mu.Unlock()
		return fmt.Errorf("the lease that was to be kept was lost meanwhile: %w", ErrNotHeld)
	}
	if adrift {
		k.moor(v) // also if a view has told already
		k.mu.Unlock()
		k.o.Logger.Info("leader key taken again, after the members alone kept the lease", "lease", s.ID())
		return k.armGuard(ctx)
	}
	k.held, k.version, k.refused = true, v, false
	k.holding++
	k.unclaimed, k.suspect, k.softTold, k.troubled = false, false, false, false
	// A guard that is still armed for a former holding fences at that deadline, unless
	// it acknowledges another.
	k.sight, k.armed, k.term.Guard = fence.Sight{}, 0, k.entrusted.until
	k.ctx, k.cancel = context.WithCancelCause(context.Background())
	k.mu.Unlock()
	poke(k.watch)

	err := k.armGuard(ctx)
	if st := k.State(); err == nil && !st.Live(k.o.Clock.Now()) {
		err = ErrSoft
	}
	if err == nil {
		poke(k.changed)
		poke(k.kick)
		k.o.Logger.Info("leader lease taken", "lease", s.ID())
		return nil
	}
	if rerr := k.release(ctx); rerr != nil {
		err = errors.Join(err, rerr)
	}
	return err
}

// Release gives the leader key up by session and disarms the guard. The caller
// promises that the server is certainly not a writer and will not become one.
// It is right after a lost lease too: the abandoned session is ended, so that
// nobody has to wait until it runs out.
//
// After an error the key may still exist; it then vanishes with its session,
// which is not renewed any more.
func (k *Keeper) Release(ctx context.Context) error {
	if err := acquire(ctx, k.role); err != nil {
		return fmt.Errorf("release the leader lease: %w", err)
	}
	defer func() { <-k.role }()
	return k.release(ctx)
}

func (k *Keeper) release(ctx context.Context) error {
	k.mu.Lock()
	k.expire(k.o.Clock.Now()) // the session of a lost lease is not used again
	s := k.session
	k.lose(ErrReleased)
	k.mu.Unlock()
	// First of all: a guard that stayed armed would kill a replica.
	if err := k.Disarm(ctx); err != nil {
		k.o.Logger.Warn("guard was not disarmed", "error", err)
	}
	k.Stopped()
	_ = k.endLost(ctx, lastRetry) // it has told, and is tried again
	if s == nil {
		return nil
	}
	err := s.Delete(ctx, leaderKey)
	if err == nil || errors.Is(err, dcs.ErrConflict) {
		return nil // gone, or another's
	}
	if errors.Is(err, dcs.ErrSessionGone) {
		k.gone(s, err)
		return nil
	}
	if kv, lerr := k.look(ctx); lerr == nil && kv.Session != s.ID() {
		return nil
	}
	// Only the session's end is certain to take the key along.
	k.mu.Lock()
	if k.session == s {
		k.abandon()
		k.abandoned = nil // ended here
	}
	k.mu.Unlock()
	if eerr := s.End(ctx); eerr != nil {
		return fmt.Errorf("release the leader lease: key %s of session %s vanishes when the session runs out: %w",
			leaderKey, s.ID(), errors.Join(err, eerr))
	}
	return nil
}

// Disarm tells the guard that the server is certainly not a writer. While the
// lease is held it refuses: use Release, or SetGuard(nil) for a pause.
func (k *Keeper) Disarm(ctx context.Context) error {
	if err := acquire(ctx, k.arm); err != nil {
		return err
	}
	defer func() { <-k.arm }()
	k.mu.Lock()
	g, held := k.guard, k.held
	k.mu.Unlock()
	if held {
		return errors.New("disarm the guard: the leader lease is held; release it first")
	}
	if g == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), guardWait)
	defer cancel()
	err := g.Disarm(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.guardError = err.Error()
		return err
	}
	k.expire(k.o.Clock.Now()) // it may have fenced before it heard
	k.armed, k.guardError, k.entrusted = 0, "", entrusted{}
	return nil
}

// guarded reports whether the guard has acknowledged the newest deadlines, and
// hands them over if not.
func (k *Keeper) guarded(ctx context.Context) bool {
	k.mu.Lock()
	ok := !k.held || k.guard == nil || k.armed == k.term.Proven().Hard
	k.mu.Unlock()
	return ok || k.armGuard(ctx) == nil
}

// armGuard hands the newest deadlines of a held lease to the guard.
func (k *Keeper) armGuard(ctx context.Context) error {
	if err := acquire(ctx, k.arm); err != nil {
		return err
	}
	defer func() { <-k.arm }()
	k.mu.Lock()
	k.expire(k.o.Clock.Now())
	g, gen, held, holding, d := k.guard, k.guardGen, k.held, k.holding, k.term.Proven()
	handle := k.handle()
	if held && g != nil {
		k.entrust(d.Hard)
	}
	k.mu.Unlock()
	defer clear(handle)
	if !held {
		return ErrNotHeld
	}
	if g == nil {
		return nil
	}
	actx, cancel := context.WithTimeout(ctx, guardWait)
	defer cancel()
	err := g.Arm(actx, d, handle)
	k.mu.Lock()
	defer k.mu.Unlock()
	// Before what was acknowledged now counts: if that came only after the former
	// deadline, the guard has fenced in between.
	k.expire(k.o.Clock.Now())
	switch {
	case k.holding != holding:
		return errors.Join(err, ErrNotHeld)
	case errors.Is(err, fence.ErrFenced):
		k.lose(ErrExpired)
		k.abandon()
		return err
	}
	if k.guardGen != gen {
		return errors.Join(err, errors.New("the guard was replaced meanwhile"))
	}
	if err != nil {
		if k.guardError == "" {
			k.o.Logger.Error("guard does not answer: no renewal is sent until one does", "error", err)
			poke(k.changed)
		}
		k.guardError = err.Error()
		k.unconfirmed("no renewal is sent, because the guard does not answer: " + err.Error())
		return err
	}
	if k.guardError != "" {
		poke(k.changed)
	}
	k.armed, k.term.Guard, k.entrusted.until, k.guardError = d.Hard, d.Hard, d.Hard, ""
	k.revive(k.o.Clock.Now()) // the guard's deadline ended it as well
	return nil
}

// handle is the session's handle for the guard, nil when the store has none to
// give; k.mu is held.
func (k *Keeper) handle() []byte {
	if k.session == nil {
		return nil
	}
	b, err := k.session.Handle().MarshalBinary()
	if err != nil {
		k.o.Logger.Debug("the guard cannot end this session", "error", err)
		return nil
	}
	return b
}

// Observed tells the Keeper what a view of the cluster says about the leader
// key. The agent calls it for every new view.
func (k *Keeper) Observed(v cluster.View) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.session == nil {
		return
	}
	switch k.sight.Judge(fence.Reading{Held: k.held, Taking: k.taking, Adrift: k.term.Adrift, Promised: k.promised(), Free: !v.Leader.Held(),
		Ours: v.Leader.Held() && v.Leader.Session == k.session.ID(), Same: v.Leader.Version == k.version,
		Store: v.StoreID, Revision: v.Revision}) {
	case fence.Unclaimed:
		k.unclaimed = true
		poke(k.kick)
	case fence.Regained:
		k.moor(v.Leader.Version) // the answer of the take was lost
	case fence.Taken:
		k.refused = true
		k.robbed(ErrTaken)
	case fence.Suspect:
		k.suspect = true
		poke(k.kick)
	}
}

// verify reads the leader key again after a view that contradicts the holding.
func (k *Keeper) verify(ctx context.Context) error {
	k.mu.Lock()
	s, holding := k.session, k.holding
	k.mu.Unlock()
	kv, err := k.look(ctx)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.held || k.holding != holding {
		return nil
	}
	k.suspect = false
	switch {
	case s != nil && kv.Session == s.ID():
	case kv.Version == "" && k.promised():
		k.drift()
	default:
		k.refused = true
		k.robbed(ErrTaken)
	}
	return nil
}

// drop deletes a leader key that is under our session although nobody was told
// that it is ours: the answer of a take or release was lost. Otherwise the
// renewals would keep a key that nobody uses.
func (k *Keeper) drop(ctx context.Context) error {
	select {
	case k.role <- struct{}{}:
		defer func() { <-k.role }()
	default:
		return nil // a take or release is at work and settles it
	}
	k.mu.Lock()
	s, unclaimed := k.session, k.unclaimed && !k.held
	k.unclaimed = false
	k.mu.Unlock()
	if s == nil || !unclaimed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.attempt())
	defer cancel()
	// As a release does it: a delete whose outcome stays unknown could arrive
	// late and take away the key of a later holding under this session, so then
	// the session has to end.
	return k.release(ctx)
}
