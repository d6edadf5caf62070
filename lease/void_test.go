package lease

import (
	"testing"
	"testing/synctest"
	"time"
)

// rob ends the lease before its deadline, in each way that there is.
var rob = map[string]func(w *world){
	"another holds the key": func(w *world) {
		w.store.foreign("b")
		w.k.Observed(w.store.view())
	},
	"the key is gone": func(w *world) {
		w.store.remove(leaderKey)
		w.k.Observed(w.store.view())
	},
	"the session has ended": func(w *world) {
		w.store.mu.Lock()
		defer w.store.mu.Unlock()
		for id := range w.store.live {
			w.store.kill(id)
		}
	},
}

// A guard that went by the deadline of before would let the server write on, if
// the agent died now.
func TestEarlyLossIsTheGuardsWordAtOnce(t *testing.T) {
	for name, lose := range rob {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, w *world) {
				w.take()
				session := w.holds(true).Session
				lose(w)
				time.Sleep(6 * time.Second) // a renewal is due every 5s
				synctest.Wait()
				w.holds(false)
				if w.guard.fenced() != 1 || w.guard.armed() != 0 {
					t.Fatalf("the guard ended the server %d times, and is armed for %d", w.guard.fenced(), w.guard.armed())
				}
				// The guard has no handle for a helper: the session is as good as before.
				lived := w.k.State().Session == session
				w.store.remove(leaderKey)
				w.take()
				time.Sleep(time.Minute)
				synctest.Wait()
				if s := w.holds(true); lived && s.Session != session {
					t.Errorf("session %s given up for %s", session, s.Session)
				}
				if w.guard.fenced() != 1 {
					t.Error("the word of the lost lease came to the next one")
				}
			})
		})
	}
}

// The word of a lease that is over must not kill a standby, nor a server under
// another lease.
func TestEarlyLossIsSaidOfItsOwnLeaseAlone(t *testing.T) {
	for name, then := range map[string]func(t *testing.T, w *world){
		"disarmed before it was said": func(t *testing.T, w *world) {
			if err := w.k.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"taken again before it was said": func(t *testing.T, w *world) {
			w.store.remove(leaderKey)
			w.take()
		},
		"no guard, in a pause": func(t *testing.T, w *world) { w.k.SetGuard(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, w *world) {
				w.take()
				w.store.foreign("b")
				w.k.mu.Lock()
				holding, gen := w.k.holding+1, w.k.guardGen
				w.k.lose(ErrTaken)
				w.k.mu.Unlock()
				then(t, w)
				w.k.void(holding, gen)
				if w.guard.fenced() != 0 {
					t.Error("the guard was told to end the server")
				}
			})
		})
	}
}
