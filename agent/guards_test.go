package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/watchdog"
)

// leading gives a rig whose member holds the lease under a guard.
func leading(r *rig) {
	go r.agent.guards.run(r.t.Context())
	r.startKeeper()
	r.pg.set(stopped(control.ShutDown))
	r.act(ha.Action{Kind: ha.TakeLeader})
	r.pg.set(primary())
	if !r.guard().isArmed() {
		r.t.Fatal("the guard is not armed")
	}
}

func TestGuardThatEndsIsReplacedAndArmed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		leading(r)
		first := r.guard()
		first.Kill()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if g := r.guard(); g == first || !g.isArmed() {
			t.Error("no other guard, or it is not armed")
		}
	})
}

func TestMuteGuardIsKilledAndReplaced(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		leading(r)
		first := r.guard()
		first.breaks(errBroken)
		for range 20 {
			time.Sleep(time.Second)
			r.agent.observe(t.Context())
		}
		if g := r.guard(); g == first || !g.isArmed() {
			t.Error("no other guard, or it is not armed")
		}
		if !r.leads() {
			t.Error("the lease was lost over a guard that could be replaced")
		}
	})
}

// A guard that was killed leaves the kernel's fence behind. When the pause begins
// before the next one runs, nobody arms that one, so the fence must go with the
// pause.
func TestPauseOpensThePortThatAFormerGuardLeftBarred(t *testing.T) {
	inBubble(t, func(o *Options) {
		start := o.StartGuard
		o.StartGuard = func(ctx context.Context) (Guard, error) {
			g, err := start(ctx)
			g.(*fakeGuard).kernel.Barred = true // it found what the one before it left
			return g, err
		}
	}, func(t *testing.T, r *rig) {
		r.pg.set(primary())
		r.agent.guards.pause(t.Context(), true) // while there is no guard
		go r.agent.guards.run(t.Context())
		synctest.Wait()
		r.guard().breaks(errBroken) // cannot be disarmed at first
		r.agent.guards.pause(t.Context(), true)
		r.guard().breaks(nil)
		r.agent.guards.pause(t.Context(), true)
		if r.guard().Kernel().Barred {
			t.Error("the port stays closed all through the pause")
		}
	})
}

func TestGuardIsOffDuringAPause(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		leading(r)
		r.guard().breaks(errBroken) // cannot be disarmed at first
		r.agent.guards.pause(t.Context(), true)
		r.guard().breaks(nil)
		r.agent.guards.pause(t.Context(), true)
		if r.guard().isArmed() {
			t.Error("armed in the pause: it would kill the primary that the pause leaves alone")
		}
		r.guard().Kill() // and the next one, too, is left alone
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if r.guard().isArmed() {
			t.Error("a guard that started in the pause was armed")
		}
		r.agent.guards.pause(t.Context(), false)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if !r.guard().isArmed() {
			t.Error("not armed after the pause")
		}
	})
}

// The pause is seen while the first guard is still on its way to the keeper.
func TestPauseWhileTheGuardStarts(t *testing.T) {
	for range 50 {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			r.put("config", `{"pause":true}`)
			r.startKeeper()
			r.pg.set(primary())
			go r.agent.guards.run(t.Context())
			go r.agent.guards.pause(t.Context(), true)
			synctest.Wait()
			r.act(ha.Action{Kind: ha.TakeLeader})
			time.Sleep(20 * time.Second)
			synctest.Wait()
			if r.guard().isArmed() {
				t.Fatal("armed in a pause")
			}
		})
	}
}

func TestGuardsEndWithTheAgent(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		go r.agent.guards.run(t.Context())
		synctest.Wait()
		r.agent.guards.close()
		time.Sleep(time.Minute)
		if len(r.guards) != 1 || !r.guard().closed {
			t.Errorf("%d guards were started; the last is closed: %v", len(r.guards), r.guard().closed)
		}
	})
}

func TestGuardThatDoesNotStartIsTriedAgain(t *testing.T) {
	tries := 0
	inBubble(t, func(o *Options) {
		start := o.StartGuard
		o.StartGuard = func(ctx context.Context) (Guard, error) {
			if tries++; tries < 3 {
				return nil, errBroken
			}
			return start(ctx)
		}
	}, func(t *testing.T, r *rig) {
		go r.agent.guards.run(t.Context())
		synctest.Wait()
		if st := r.agent.guards.state(r.agent.Lease()); st.Ready() {
			t.Error("ready without a guard")
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if st := r.agent.guards.state(r.agent.Lease()); !st.Ready() {
			t.Error("not ready")
		}
	})
}

// barred gives a rig whose guard found the fence of a former one.
func barred(t *testing.T, r *rig) *fakeGuard {
	go r.agent.guards.run(t.Context())
	r.startKeeper()
	synctest.Wait()
	g := r.guard()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kernel.Barred = true
	return g
}

// The fence of a former guard is taken away as soon as the server is seen to be a
// standby, and never from a primary that may have lost its lease.
func TestFenceOfAFormerGuard(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		g := barred(t, r)
		for _, s := range []postgres.Facts{primary(), stopped(control.InProduction)} {
			r.pg.set(s)
			if r.agent.observe(t.Context()); !g.Kernel().Barred {
				t.Fatalf("taken away while the server is %s %s", s.Process, s.Role)
			}
		}
		r.pg.set(standby())
		r.agent.observe(t.Context())
		if g.Kernel().Barred {
			t.Error("the standby cannot be reached")
		}
	})
	t.Run("in a pause", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			g := barred(t, r)
			r.agent.guards.mu.Lock()
			r.agent.guards.paused = true
			r.agent.guards.mu.Unlock()
			r.agent.opt.Keeper.SetGuard(nil)
			r.agent.guards.unbar(t.Context(), true)
			if g.Kernel().Barred {
				t.Error("the standby cannot be reached")
			}
		})
	})
}

// A watchdog device that is required and does not work keeps this member from
// leading, whatever its guard does, but not while the cluster is paused; and the
// guard that says so is not taken for one that does not answer.
func TestWatchdogThatIsRequired(t *testing.T) {
	inBubble(t, func(o *Options) {
		o.Watchdog = func(granted time.Duration, st watchdog.State) string { return st.Trouble }
	}, func(t *testing.T, r *rig) {
		leading(r)
		g := r.guard()
		g.mu.Lock()
		g.state.Watchdog = watchdog.State{Failed: true, Trouble: "broken"}
		g.mu.Unlock()
		if got := r.agent.observe(t.Context()).Guard; got.Ready() || got.Watchdog != "broken" {
			t.Errorf("%+v", got)
		}
		g.breaks(guard.ErrWatchdog)
		time.Sleep(15 * time.Second) // a renewal, which the guard refuses
		st := r.agent.opt.Keeper.State()
		if st.GuardError == "" {
			t.Fatal("the guard was not asked")
		}
		r.agent.guards.replaceMute(st)
		synctest.Wait()
		if r.guard() != g {
			t.Error("a guard that answers was replaced")
		}
		r.agent.guards.pause(t.Context(), true)
		if got := r.agent.guards.state(st); !got.Ready() {
			t.Errorf("in a pause: %+v", got)
		}
	})
}

// The device that a former guard left running is disarmed as soon as the server
// is seen to be a standby.
func TestWatchdogOfAFormerGuard(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		g := barred(t, r)
		g.mu.Lock()
		g.kernel.Barred, g.state.Watchdog.Left = false, true
		before := g.disarmed
		g.mu.Unlock()
		r.pg.set(primary())
		r.agent.observe(t.Context())
		if g.disarmed != before {
			t.Fatal("disarmed although the server is a primary")
		}
		r.pg.set(standby())
		r.agent.observe(t.Context())
		if g.disarmed == before {
			t.Error("the host of a standby is going to be reset")
		}
	})
}
