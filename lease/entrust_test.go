package lease

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
)

// When the deadline passes of a guard that has the session's handle, its helper may
// be ending that session: no lease is taken under it, though it lives still.
func TestSessionThatTheGuardMayEndIsNotUsed(t *testing.T) {
	lost := func(t *testing.T, w *world) string {
		t.Helper()
		w.take()
		s := w.holds(true).Session
		w.store.foreign("b")
		w.k.Observed(w.store.view())
		time.Sleep(time.Second)
		synctest.Wait()
		w.holds(false)
		w.store.remove(leaderKey)
		return s
	}
	taken := func(t *testing.T, w *world) string {
		t.Helper()
		time.Sleep(time.Second)
		synctest.Wait()
		w.take()
		return w.store.view().Leader.Session
	}
	t.Run("the guard was not disarmed", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			s := lost(t, w)
			time.Sleep(w.guard.armed().Sub(w.clock.Now()))
			if taken(t, w) == s {
				t.Error("a helper may end the session of this lease")
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			w.holds(true)
		})
	})
	t.Run("it was disarmed too late", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			s := lost(t, w)
			w.clock.jump(w.guard.armed().Sub(w.clock.Now())) // this process stood still
			if err := w.k.Disarm(t.Context()); err != nil {
				t.Fatal(err)
			}
			if taken(t, w) == s {
				t.Error("a helper may end the session of this lease")
			}
		})
	})
	t.Run("it was disarmed in time", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			s := lost(t, w)
			end := w.guard.armed()
			if err := w.k.Disarm(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(end.Sub(w.clock.Now()))
			if taken(t, w) != s {
				t.Error("nobody could have ended the session")
			}
		})
	})
	t.Run("the deadline passes while the key is created", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			lost(t, w)
			end := w.guard.armed()
			time.Sleep(end.Sub(w.clock.Now()) - time.Millisecond)
			w.store.setFaults(func(op string) fault {
				if op == "put" {
					w.clock.jump(time.Second)
				}
				return none
			})
			if _, err := w.k.Take(t.Context()); err == nil {
				t.Error("taken under a session that a helper may be ending")
			}
			w.holds(false)
		})
	})
}

// The guard may have heard of an earlier deadline although it did not acknowledge
// it: the lease ends there, unless it acknowledges a later one.
func TestGuardThatMayHaveHeardOfAShorterDeadline(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		time.Sleep(7 * time.Second)
		w.guard.setDeaf(true)
		at := w.clock.Now()
		w.clock.step(time.Minute)
		w.store.setFaults(on("renew", down, 1))
		w.k.State()
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		w.guard.mu.Lock()
		arms := w.guard.arms
		w.guard.mu.Unlock()
		for w.k.State().Doubted { // the store confirms the lease meanwhile
			w.k.mu.Lock()
			w.k.confirm(w.k.session, dcs.Confirmation{Sent: w.clock.Now(), Granted: w.ttl})
			w.k.mu.Unlock()
		}
		if s := w.holds(true); arms < 2 || s.Until().Hard > at.Add(w.k.patience()+w.k.o.Budget.CleanStop) {
			t.Errorf("%d words to the guard; it may kill %v before this lease ends", arms, s.Until().Hard.Sub(at.Add(w.k.patience()+w.k.o.Budget.CleanStop)))
		}
		w.guard.setDeaf(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := w.holds(true); s.Until().Hard != w.guard.armed() || s.Until().Hard < w.clock.Now().Add(20*time.Second) {
			t.Errorf("acknowledged again: %+v", s)
		}
	})
}
