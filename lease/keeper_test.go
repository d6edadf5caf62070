package lease

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
)

// run runs f in a bubble with a keeper that has a session.
func run(t *testing.T, change func(*world), f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change)
		synctest.Wait()
		f(t, w)
	})
}

// on lets the first n calls of op fail as said.
func on(op string, what fault, n int) func(string) fault {
	return func(o string) fault {
		if o == op && n > 0 {
			n--
			return what
		}
		return none
	}
}

func TestHoldsForHoursWithTheGuardAlwaysArmed(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		ctx := w.k.Context()
		for range 1000 {
			time.Sleep(7 * time.Second)
			synctest.Wait()
			s := w.holds(true)
			if !s.Live(w.clock.Now()) || w.guard.armed() != s.Store.Hard || s.Armed != s.Until().Hard {
				t.Fatalf("not live or not armed: %+v, guard %d", s, w.guard.armed())
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("context ended: %v", context.Cause(ctx))
		}
		if opens, _ := w.store.count(); opens != 1 {
			t.Errorf("%d sessions opened, want 1", opens)
		}
	})
}

func TestTakeWithLostReply(t *testing.T) {
	for name, what := range map[string]fault{"effect, error": lostReply, "effect, silence": hangAfter} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, w *world) {
				w.store.setFaults(on("put", what, 1))
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				if _, err := w.k.Take(ctx); err != nil && what == lostReply {
					t.Fatalf("the key bears our session, yet Take failed: %v", err)
				} else if err != nil {
					// The caller's time was over: it must not have been told yes, and the
					// key must not stay.
					w.holds(false)
					w.k.Observed(w.store.view())
					synctest.Wait()
					if l := w.store.view().Leader; l.Held() {
						t.Fatalf("leader key of a take without answer stays: %+v", l)
					}
					return
				}
				w.holds(true)
				if w.guard.armed() == 0 {
					t.Error("guard not armed")
				}
			})
		})
	}
}

func TestTakeThatNeverArrivedIsNotHeld(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.store.setFaults(on("put", lostAsk, 1))
		if _, err := w.k.Take(t.Context()); !errors.Is(err, dcs.ErrUnknown) {
			t.Fatalf("Take: %v, want unknown", err)
		}
		w.holds(false)
		w.take() // the second attempt
	})
}

func TestTakeSettlesAnEarlierUnknownTake(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.store.setFaults(func(op string) fault {
			return map[string]fault{"put": lostReply, "load": down}[op]
		})
		if _, err := w.k.Take(t.Context()); !errors.Is(err, dcs.ErrUnknown) {
			t.Fatalf("Take: %v, want unknown", err)
		}
		w.store.setFaults(nil)
		w.take() // refused as existing, and found to be ours
		w.holds(true)
	})
}

func TestKeyThatTurnsUpUnderOurSessionIsDeleted(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.store.setFaults(func(op string) fault {
			return map[string]fault{"put": lostReply, "load": down}[op]
		})
		if _, err := w.k.Take(t.Context()); !errors.Is(err, dcs.ErrUnknown) {
			t.Fatalf("Take: %v, want unknown", err)
		}
		w.store.setFaults(on("delete", down, 2))
		w.k.Observed(w.store.view())
		time.Sleep(time.Second)
		synctest.Wait()
		w.holds(false)
		if l := w.store.view().Leader; l.Held() {
			t.Errorf("renewals keep a key that nobody uses: %+v", l)
		}
	})
}

// A renewal that was under way when the lease was released must not arm the
// guard over a server that is no writer.
func TestRenewalUnderWayDoesNotArmAfterRelease(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.store.setFaults(on("renew", hangAfter, 1))
		time.Sleep(6 * time.Second) // it hangs now
		synctest.Wait()
		if err := w.k.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if w.guard.armed() != 0 {
			t.Error("guard armed after the release")
		}
	})
}

func TestOwnNameUnderAnotherSessionIsNotMine(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.store.foreign("n1")
		w.k.Observed(w.store.view())
		if _, err := w.k.Take(t.Context()); !errors.Is(err, dcs.ErrConflict) {
			t.Fatalf("Take: %v, want conflict", err)
		}
		if !w.holds(false).Refused {
			t.Error("not marked as refused")
		}
		if err := w.k.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l := w.store.view().Leader; l.Session != "foreign" {
			t.Errorf("release removed another's key: %+v", l)
		}
	})
}

func TestRenewWithLostRepliesIsRetriedInTime(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.store.setFaults(on("renew", hangAfter, 2))
		time.Sleep(25 * time.Second)
		synctest.Wait()
		s := w.holds(true)
		if !s.Live(w.clock.Now()) || s.LastError != "" {
			t.Fatalf("lease was not kept: %+v", s)
		}
	})
}

// A store that is away: the context ends at the soft deadline, the lease at the
// hard one, both before the store could give it away.
func TestStoreAway(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		d := w.k.State().Store
		ctx := w.k.Context()
		w.store.setFaults(func(string) fault { return hangBefore })
		<-ctx.Done()
		if now := w.clock.Now(); now < d.Soft || now > d.Soft.Add(time.Millisecond) {
			t.Errorf("context ended %v after the soft deadline", now.Sub(d.Soft))
		}
		if !errors.Is(context.Cause(ctx), ErrSoft) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		if !w.holds(true).Live(d.Soft.Add(-1)) || w.k.State().Live(w.clock.Now()) {
			t.Error("live past the soft deadline")
		}
		for w.k.State().Held {
			<-w.k.Changed()
		}
		if now := w.clock.Now(); now < d.Hard || now > d.Hard.Add(time.Millisecond) {
			t.Errorf("lease lost %v after the hard deadline", now.Sub(d.Hard))
		}
		// Nothing that follows touches the old session; a new one is opened.
		w.store.setFaults(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := w.holds(false); s.Session == "" || s.Session == "session-1" {
			t.Errorf("session %q, want a new one", s.Session)
		}
		if w.guard.armed() != d.Hard {
			t.Error("guard was touched after the lease was lost")
		}
	})
}

func TestLateConfirmationRevives(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		ctx := w.k.Context()
		w.store.setFaults(func(string) fault { return down })
		<-ctx.Done()
		w.store.setFaults(nil)
		time.Sleep(1500 * time.Millisecond) // before the hard deadline
		synctest.Wait()
		if s := w.holds(true); !s.Live(w.clock.Now()) || w.k.Context().Err() != nil {
			t.Errorf("not live again: %+v", s)
		}
	})
}

// The process stands still beyond its deadline and goes on.
func TestStoppedProcess(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		ctx := w.k.Context()
		w.clock.jump(40 * time.Second)
		if s := w.holds(false); s.Live(w.clock.Now()) {
			t.Fatal("live")
		}
		if !errors.Is(context.Cause(ctx), ErrExpired) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		synctest.Wait()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := w.k.State(); s.Session != "session-2" {
			t.Errorf("session %q, want a new one", s.Session)
		}
	})
}

// The process stands still between the store's effect and the caller's answer.
func TestStoppedDuringTake(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.store.setFaults(func(op string) fault {
			if op == "put" {
				w.clock.jump(29 * time.Second)
			}
			return none
		})
		if _, err := w.k.Take(t.Context()); err == nil {
			t.Fatal("Take succeeded with a lease that is past")
		}
		w.holds(false)
		if l := w.store.view().Leader; l.Held() {
			t.Errorf("key stays: %+v", l)
		}
	})
}

func TestSessionGone(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		ctx := w.k.Context()
		w.store.mu.Lock()
		w.store.kill("session-1")
		w.store.mu.Unlock()
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), dcs.ErrSessionGone) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		synctest.Wait()
		if s := w.holds(false); s.Session != "session-2" {
			t.Errorf("session %q", s.Session)
		}
	})
}

func TestDeafGuardStopsRenewals(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.guard.setDeaf(true)
		time.Sleep(6 * time.Second) // one renewal goes out, its deadline is not acknowledged
		synctest.Wait()
		_, before := w.store.count()
		ctx := w.k.Context()
		<-ctx.Done()
		if _, after := w.store.count(); after != before {
			t.Errorf("%d renewals without the guard's acknowledgement", after-before)
		}
		// What was confirmed since is of no use: at its own deadline the guard kills.
		if s := w.k.State(); s.GuardError == "" || s.Armed != s.Until().Hard {
			t.Errorf("not reported: %+v", s)
		}
	})
}

func TestNewGuardResumesRenewals(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.guard.setDeaf(true)
		time.Sleep(8 * time.Second)
		synctest.Wait()
		g := &fakeGuard{}
		w.k.SetGuard(g)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if s := w.holds(true); !s.Live(w.clock.Now()) || g.armed() != s.Store.Hard || s.GuardError != "" {
			t.Errorf("not resumed: %+v", s)
		}
	})
}

func TestTakeWithoutGuardsWordGivesTheKeyBack(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.guard.setDeaf(true)
		if _, err := w.k.Take(t.Context()); err == nil {
			t.Fatal("Take succeeded unguarded")
		}
		w.holds(false)
		if w.store.view().Leader.Held() {
			t.Error("key stays")
		}
	})
}

func TestGrantedShorterThanAsked(t *testing.T) {
	run(t, func(w *world) { w.store.granted = 12 * time.Second }, func(t *testing.T, w *world) {
		w.take()
		s := w.holds(true)
		if s.Granted != 12*time.Second || s.Store.Hard.Sub(s.Store.Sent) >= 12*time.Second {
			t.Errorf("what was granted does not count: %+v", s)
		}
		_, before := w.store.count()
		time.Sleep(13 * time.Second)
		synctest.Wait()
		if _, after := w.store.count(); after-before < 3 {
			t.Errorf("%d renewals in 12 s, want one per third", after-before)
		}
	})
}

// TestRenewedTellsTheMargin: at each renewal of a held lease, and of no other,
// the time that was left is told.
func TestRenewedTellsTheMargin(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		time.Sleep(20 * time.Second)
		if synctest.Wait(); len(w.left) != 0 {
			t.Errorf("told %v without a lease", w.left)
		}
		w.take()
		time.Sleep(12 * time.Second)
		synctest.Wait()
		// 30 s, less 0.5 % and 1 s for the fence, 2 s for the clean stop, and the
		// 5 s since the renewal before.
		if want := 21850 * time.Millisecond; len(w.left) != 2 || w.left[0] != want || w.left[1] != want {
			t.Errorf("told %v, want %v twice", w.left, want)
		}
	})
}

// A watchdog device that resets the host makes the lease end earlier for this
// member, and renewals come often enough for that.
func TestWatchdogShortensTheLease(t *testing.T) {
	var used atomic.Bool
	used.Store(true)
	run(t, func(w *world) {
		w.watch = func(granted time.Duration) (time.Duration, bool) { return granted / 2, used.Load() }
	}, func(t *testing.T, w *world) {
		w.take()
		time.Sleep(10 * time.Second) // the second renewal is due in this instant
		synctest.Wait()
		s := w.holds(true)
		d := s.Store
		if want := d.Sent.Add(15*time.Second - 150*time.Millisecond); d.Reset != want || d.Hard != want.Add(-2*time.Second) || w.guard.armed() != d.Hard {
			t.Errorf("reset %v, hard %v after sent; the guard was told %v", d.Reset.Sub(d.Sent), d.Hard.Sub(d.Sent), w.guard.armed().Sub(d.Sent))
		}
		if got := w.k.interval(30 * time.Second); got > 5500*time.Millisecond {
			t.Errorf("renewals come every %v", got)
		}
		w.store.setFaults(func(string) fault { return down })
		time.Sleep(d.Hard.Sub(w.clock.Now()))
		w.holds(false)
		used.Store(false)
		w.store.setFaults(nil)
		time.Sleep(time.Minute)
		if d := w.k.State().Store; !d.Reset.IsZero() {
			t.Errorf("without a device: %+v", d)
		}
	})
}
