package lease

import (
	"context"
	"fmt"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

const (
	// stepTolerance is how far the wall clock may move against the boot clock
	// between two looks before that counts as a step.
	stepTolerance = time.Second
	// readTolerance is how far apart two readings of the clocks may lie: this
	// process may be held up between them.
	readTolerance = 100 * time.Millisecond
	// proofWait is how long a lease in doubt lasts at least without a proof. A store
	// that proves one request by the next needs longer: see patience.
	proofWait = 3 * time.Second
)

// clocks compares the wall clock with the boot clock. A host that stood still
// without knowing it (a virtual machine that was paused, moved, or restored) finds
// its boot clock running on as if nothing had been, and its wall clock stepped as
// soon as somebody sets it.
type clocks struct {
	known  bool
	offset time.Duration // wall less boot
}

// look returns by how much the wall clock was stepped since the last look.
func (c *clocks) look(before boot.Instant, wall time.Time, after boot.Instant) (by time.Duration) {
	if after.Sub(before) > readTolerance {
		return 0
	}
	offset := time.Duration(wall.UnixNano()) - time.Duration(before)
	if c.known {
		by = offset - c.offset
	}
	c.known, c.offset = true, offset
	if by.Abs() <= stepTolerance {
		return 0
	}
	return by
}

// Doubt says that the time in which the lease was counted cannot be trusted from
// now back: nothing is begun under it until the store has confirmed a renewal that
// was sent after this, and a lease that is not confirmed soon ends.
func (k *Keeper) Doubt(why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.question(k.o.Clock.Now(), why)
}

// lookAtClocks raises doubt when the wall clock was stepped; k.mu is held.
func (k *Keeper) lookAtClocks(now boot.Instant) {
	if by := k.clocks.look(now, k.o.Clock.Wall(), k.o.Clock.Now()); by != 0 {
		k.question(now, fmt.Sprintf("the wall clock was stepped by %s", by.Round(time.Millisecond)))
	}
}

// question is Doubt; k.mu is held.
func (k *Keeper) question(now boot.Instant, why string) {
	if k.session == nil && !k.held {
		return
	}
	k.doubt = now
	k.term.Doubt(now, k.patience(), k.o.Budget.CleanStop)
	if k.renewing != nil {
		k.renewing() // it proves nothing any more, and may wait for a connection that is gone
	}
	poke(k.kick)
	poke(k.watch)
	if !k.held {
		return
	}
	k.o.Logger.Warn("this host may have stood still without noticing: the lease counts again when a renewal is confirmed that is sent from now on", "cause", why)
	k.unconfirmed(why)
	// Beside Run, which may be waiting for the store.
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), guardWait)
		defer cancel()
		_ = k.armGuard(ctx) // a failure is in the state, and is tried again
	}()
}

// settle ends the doubt when a newer proof is there; k.mu is held.
func (k *Keeper) settle() {
	if k.doubt != 0 && k.term.Sent() >= k.doubt {
		k.doubt = 0
		if k.held {
			k.o.Logger.Info("the lease was confirmed anew")
		}
		poke(k.changed)
	}
}

// patience is how long a lease in doubt lasts.
func (k *Keeper) patience() time.Duration { return max(proofWait, k.granted/4) }
