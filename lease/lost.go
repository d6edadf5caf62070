package lease

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
)

// Stopped lets the session of a lost lease be ended, as soon as the store answers:
// until it has ended or run out, nobody else can lead. A store that was away and
// comes back lets it last for its whole length again.
//
// The caller promises what a caller of Release does: the server is certainly not a
// writer, and nothing is under way that could make it one. While a lease is held
// this says nothing.
//
// It is safe because such a session is this process's alone, and dead to it: it
// was given up when its lease was lost, no later lease is ever taken under it, and
// the guard, whose deadline was no later, hands its handle to nobody any more.
func (k *Keeper) Stopped() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire(k.o.Clock.Now())
	if k.held || k.abandoned == nil {
		return
	}
	k.lost, k.abandoned = append(k.lost, k.abandoned), nil
	poke(k.kick)
}

// endLost ends the sessions of lost leases whose servers are known not to write,
// and keeps those that the store did not answer for.
func (k *Keeper) endLost(ctx context.Context, limit time.Duration) error {
	k.mu.Lock()
	lost := slices.Clone(k.lost)
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, s := range lost {
		if err := s.End(ctx); err != nil && !errors.Is(err, dcs.ErrSessionGone) {
			k.tellUnended(s, err)
			return err
		}
		k.mu.Lock()
		k.unended = ""
		k.lost = slices.DeleteFunc(k.lost, func(x dcs.Session) bool { return x == s })
		k.mu.Unlock()
		k.o.Logger.Info("session of the lost lease is ended", "lease", s.ID())
	}
	return nil
}

// tellUnended says once of each session that it stands yet: it is tried again every
// second.
func (k *Keeper) tellUnended(s dcs.Session, err error) {
	k.mu.Lock()
	told := k.unended == s.ID()
	k.unended = s.ID()
	k.mu.Unlock()
	if !told {
		k.o.Logger.Info("session of the lost lease could not be ended yet: trying again until it has run out", "lease", s.ID(), "error", dcs.Brief(err))
	}
}
