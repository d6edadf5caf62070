package lease

import (
	"context"
	"errors"

	"github.com/matriarch-ha/matriarch/ha/fence"
)

// robbed ends a holding before its deadline: another may lead already. The guard is
// told at once, since it would let the server write until the deadline that it
// knows, should this process die or stand still now; k.mu is held.
func (k *Keeper) robbed(cause error) {
	if !k.held {
		return
	}
	k.lose(cause)
	go k.void(k.holding, k.guardGen)
}

// void has the guard kill what still runs under a lease that is over, by a deadline
// that has come. The handle goes with no such word: the session may live on, and
// carries this member's other keys.
//
// Nothing is said to a guard that is not armed any more, or for another lease
// already: the server is a standby by then, or somebody else's word counts.
func (k *Keeper) void(holding, gen int) {
	k.arm <- struct{}{} // whoever talks to it waits for guardWait at most
	defer func() { <-k.arm }()
	k.mu.Lock()
	g, armed := k.guard, k.holding == holding && k.guardGen == gen && k.entrusted.until != 0
	k.mu.Unlock()
	if g == nil || !armed {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), guardWait)
	defer cancel()
	now := k.o.Clock.Now()
	err := g.Arm(ctx, fence.Deadlines{Sent: now, Soft: now, Hard: now}, nil)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil && !errors.Is(err, fence.ErrFenced) {
		// It may not have heard: then it acts at the deadline of before, with the
		// handle that it has.
		k.o.Logger.Warn("guard was not told that the lease is over", "error", err)
		return
	}
	k.o.Logger.Info("guard has ended the server of a lease that was lost before its deadline")
	if k.guardGen == gen && k.holding == holding {
		k.armed, k.entrusted = 0, entrusted{} // it is not armed after a fence
	}
}
