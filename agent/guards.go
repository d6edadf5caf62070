package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/lease"
	"github.com/matriarch-ha/matriarch/watchdog"
)

// guards sees to it that a guard runs: it is started before the server may
// become a primary, and started again when it ends.
type guards struct {
	start  func(ctx context.Context) (Guard, error)
	keeper *lease.Keeper
	log    *slog.Logger
	wake   func()
	// fenced is told of each fence, with the guard's proof.
	fenced func(guard.Proof)
	// watchdog is why the watchdog device, which is required, does not work. nil:
	// none is required.
	watchdog func(granted time.Duration, st watchdog.State) string

	// handing is held while the keeper is given a guard, or told to do without:
	// a guard that starts during that must not be armed in a pause.
	handing sync.Mutex

	mu     sync.Mutex
	guard  Guard
	paused bool
	// loose: the cluster is paused but this guard was not disarmed yet.
	loose  bool
	closed bool
	killed Guard // the one that was sent to its end last
}

func (g *guards) run(ctx context.Context) {
	said := ""
	for g.start != nil && ctx.Err() == nil {
		guard, err := g.start(ctx)
		if err != nil {
			if ctx.Err() == nil && err.Error() != said {
				said = err.Error()
				g.log.Error("cannot start the guard: this member cannot become primary until it runs", "error", err)
			}
			if !pause(ctx, time.Second) {
				return
			}
			continue
		}
		said = ""
		g.set(guard)
		if !g.attend(ctx, guard) {
			return
		}
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

// attend hears what a guard tells until it ends (true) or ctx does.
func (g *guards) attend(ctx context.Context, guard Guard) bool {
	fences := 0
	hear := func() {
		if st := guard.State(); st.Fences > fences {
			fences = st.Fences
			g.fenced(st.Proof)
		}
	}
	defer hear() // its last word may have come with its end
	for {
		select {
		case <-ctx.Done():
			return false
		case <-guard.Done():
			return true
		case <-guard.Changed():
			hear()
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
	g.handing.Lock()
	defer g.handing.Unlock()
	g.mu.Lock()
	g.guard = guard
	paused := g.paused
	// One that starts in a pause is disarmed too: the kernel-timed fence of the one
	// before it may stand, and would close the port of a primary that the pause
	// leaves alone.
	g.loose = paused && guard != nil
	g.mu.Unlock()
	if guard != nil && !paused {
		g.keeper.SetGuard(guard)
	}
	g.wake()
}

// pause takes the guard off (or puts it back): while a person paused the
// cluster, a primary runs on without a lease. It is called every turn, and tries
// again what failed.
func (g *guards) pause(ctx context.Context, paused bool) {
	g.handing.Lock()
	defer g.handing.Unlock()
	g.mu.Lock()
	guard, was := g.guard, g.paused
	g.paused = paused
	g.loose = paused && guard != nil && (g.loose || !was)
	loose := g.loose
	g.mu.Unlock()
	switch {
	case guard == nil || was == paused && !loose:
	case paused:
		g.keeper.SetGuard(nil)
		if err := guard.Disarm(ctx); err != nil {
			g.log.Error("the guard cannot be disarmed for the pause; trying again", "error", err)
			return
		}
		g.mu.Lock()
		g.loose = false
		g.mu.Unlock()
	default:
		g.keeper.SetGuard(guard)
	}
}

func (g *guards) state(st lease.State) ha.Guard {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := ha.Guard{Required: g.start != nil && !g.paused, Running: g.guard != nil && st.GuardError == "", Armed: st.Armed}
	var dog watchdog.State
	if g.guard != nil {
		out.Kernel = g.guard.Kernel().Active
		dog = g.guard.State().Watchdog
		out.Device = dog.Active
	}
	if g.watchdog != nil {
		out.Watchdog = g.watchdog(st.Granted, dog)
	}
	return out
}

// unbar has the kernel-timed fence taken away that a former guard left, so that
// a standby can be reached, and the watchdog device disarmed that would reset its
// host: one that this agent started was let go of before the
// start, one that it found running was not. notWriter: the server certainly
// takes no writes.
func (g *guards) unbar(ctx context.Context, notWriter bool) {
	g.mu.Lock()
	guard, paused := g.guard, g.paused
	g.mu.Unlock()
	if guard == nil || !notWriter || !guard.Kernel().Barred && !guard.State().Watchdog.Left || g.keeper.State().Held {
		return
	}
	disarm := g.keeper.Disarm
	if paused { // the keeper has no guard then
		disarm = guard.Disarm
	}
	if err := disarm(ctx); err != nil {
		g.log.Warn("the kernel-timed fence, or the watchdog device, that a former guard left cannot be taken away; trying again", "error", err)
	}
}

// replaceMute kills a guard that does not answer, so that another is started.
func (g *guards) replaceMute(st lease.State) {
	g.mu.Lock()
	defer g.mu.Unlock()
	guard := g.guard
	// One that refuses because of its watchdog device answers well.
	if guard != nil && st.GuardError != "" && guard != g.killed && !guard.State().Watchdog.Failed {
		// Beside the loop: a process that hangs on a disk does not die at once.
		g.killed = guard
		go guard.Kill()
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
