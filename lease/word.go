package lease

import (
	"context"
	"fmt"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

// A lease outlives the store's silence where every member that could take it has
// promised not to (failsafe mode). Such a lease may also outlive the session
// under which its key was created; it is adrift then, until Take has created the
// key again. While it is adrift the session's deadlines say nothing about it.

// Extend lets the held lease last on although the store is silent: each member
// that could lead was asked at sent or later, and has promised not to take the
// lease for that long. It returns when the guard has acknowledged.
//
// The answers must have come while the lease was held: then nobody can have
// taken it before they were given.
func (k *Keeper) Extend(ctx context.Context, sent boot.Instant, promised time.Duration) error {
	d := fence.Compute(sent, promised, k.budget(promised, 0))
	k.mu.Lock()
	now := k.o.Clock.Now()
	k.expire(now)
	if !k.held {
		k.mu.Unlock()
		return fmt.Errorf("extend the leader lease: %w", ErrNotHeld)
	}
	k.term.Promise(d)
	k.settle()
	k.revive(now)
	k.mu.Unlock()
	return k.armGuard(ctx)
}

// promised: the members' word alone keeps the lease still; k.mu is held.
func (k *Keeper) promised() bool {
	return k.term.Promised(k.o.Clock.Now())
}

// drift notes that the key of a held lease is not in the store; k.mu is held.
func (k *Keeper) drift() {
	if k.term.Adrift {
		return
	}
	k.term.Adrift, k.version, k.sight, k.suspect = true, "", fence.Sight{}, false
	k.o.Logger.Warn("the leader key is gone from the store, and the members' word alone keeps the lease: taking the key again",
		"left", k.term.Word.Soft.Sub(k.o.Clock.Now()))
	poke(k.changed)
	poke(k.watch)
}

// moor notes that the key of a lease that was adrift is under the current session
// again; k.mu is held.
func (k *Keeper) moor(v cluster.Version) {
	k.term.Adrift, k.version, k.refused, k.suspect, k.unclaimed = false, v, false, false, false
	k.holding++ // what was found out about the former key is void
	k.revive(k.o.Clock.Now())
	poke(k.changed)
	poke(k.kick)
}
