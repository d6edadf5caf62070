package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/lease"
)

// guards sees to it that a guard runs: it is started before the server may
// become a primary, and started again when it ends.
type guards struct {
	start  func(ctx context.Context) (Guard, error)
	keeper *lease.Keeper
	log    *slog.Logger
	wake   func()

	mu     sync.Mutex
	guard  Guard
	paused bool
	closed bool
}

func (g *guards) run(ctx context.Context) {
	for g.start != nil && ctx.Err() == nil {
		guard, err := g.start(ctx)
		if err != nil {
			g.log.Error("cannot start the guard: this member cannot become primary until it runs", "error", err)
			if !pause(ctx, time.Second) {
				return
			}
			continue
		}
		g.set(guard)
		select {
		case <-ctx.Done():
			return
		case <-guard.Done():
			g.mu.Lock()
			closed := g.closed
			g.mu.Unlock()
			if closed {
				return
			}
			g.log.Error("the guard ended; starting another")
			g.set(nil)
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (g *guards) set(guard Guard) {
	g.mu.Lock()
	g.guard = guard
	paused := g.paused
	g.mu.Unlock()
	if guard != nil && !paused {
		g.keeper.SetGuard(guard)
	}
	g.wake()
}

// pause takes the guard off (or puts it back): while a person paused the
// cluster, a primary runs on without a lease.
func (g *guards) pause(ctx context.Context, paused bool) {
	g.mu.Lock()
	guard, was := g.guard, g.paused
	g.paused = paused
	g.mu.Unlock()
	switch {
	case guard == nil || was == paused:
	case paused:
		g.keeper.SetGuard(nil)
		if err := guard.Disarm(ctx); err != nil {
			g.log.Error("the guard cannot be disarmed for the pause", "error", err)
		}
	default:
		g.keeper.SetGuard(guard)
	}
}

func (g *guards) state(st lease.State) ha.Guard {
	g.mu.Lock()
	defer g.mu.Unlock()
	return ha.Guard{Required: g.start != nil && !g.paused, Running: g.guard != nil && st.GuardError == "", Armed: st.Armed}
}

// replaceMute kills a guard that does not answer, so that another is started.
func (g *guards) replaceMute(st lease.State) {
	g.mu.Lock()
	guard := g.guard
	g.mu.Unlock()
	if guard != nil && st.GuardError != "" {
		guard.Kill()
	}
}

// close lets the guard go: it ends by itself when it is not armed.
func (g *guards) close() {
	g.mu.Lock()
	guard := g.guard
	g.guard, g.closed = nil, true
	g.mu.Unlock()
	if guard != nil {
		_ = guard.Close()
	}
}
