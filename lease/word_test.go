package lease

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// outlive takes the lease, takes the store away and has the members' word keep
// the lease until the session is over in the store.
func outlive(t *testing.T, w *world) {
	t.Helper()
	w.take()
	w.store.setFaults(func(string) fault { return down })
	for range 10 {
		time.Sleep(5 * time.Second)
		synctest.Wait()
		w.extend(t)
	}
}

func (w *world) extend(t *testing.T) {
	t.Helper()
	if err := w.k.Extend(t.Context(), w.clock.Now(), 30*time.Second); err != nil {
		t.Fatal(err)
	}
}

// The session ended while the store was silent: the lease goes on, and the key is
// taken again under another session.
func TestLeaseOutlivesItsSession(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		outlive(t, w)
		before := w.holds(true)
		ctx := w.k.Context()
		w.store.setFaults(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		s := w.holds(true)
		if !s.Adrift || s.Session == before.Session || s.Session == "" || !s.Live(w.clock.Now()) || s.Until() != s.Word {
			t.Fatalf("not adrift under a new session: %+v", s)
		}
		v, err := w.k.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		view := w.store.view()
		if s = w.holds(true); s.Adrift || view.Leader.Session != s.Session || view.Leader.Version != v || ctx.Err() != nil {
			t.Fatalf("not taken again: %+v, %+v, %v", s, view.Leader, ctx.Err())
		}
		if w.guard.armed() != s.Until().Hard {
			t.Fatalf("the guard has %v, want %v", w.guard.armed(), s.Until().Hard)
		}
		w.k.Observed(view)
		time.Sleep(time.Hour)
		synctest.Wait()
		w.holds(true)
	})
}

// A session's deadlines say nothing about a lease whose key is not under it.
func TestLeaseAdriftEndsWithTheMembersWord(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		outlive(t, w)
		w.store.setFaults(func(op string) fault {
			if op == "put" {
				return down
			}
			return none
		})
		end := w.holds(true).Word
		time.Sleep(end.Soft.Sub(w.clock.Now()) + time.Millisecond)
		synctest.Wait()
		if s := w.k.State(); s.Live(w.clock.Now()) || !s.Held {
			t.Fatalf("live after the members' word: %+v", s)
		}
		time.Sleep(end.Hard.Sub(w.clock.Now()) + time.Millisecond)
		synctest.Wait()
		w.holds(false)
	})
}

func TestLeaseAdriftEndsWhenAnotherHoldsTheKey(t *testing.T) {
	for name, find := range map[string]func(*testing.T, *world){
		"by a take": func(t *testing.T, w *world) {
			if _, err := w.k.Take(t.Context()); err == nil {
				t.Error("taken over")
			}
		},
		"by a view": func(t *testing.T, w *world) { w.k.Observed(w.store.view()) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, w *world) {
				outlive(t, w)
				w.store.setFaults(nil)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				w.holds(true)
				w.store.foreign("b")
				ctx := w.k.Context()
				find(t, w)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if w.holds(false); ctx.Err() == nil {
					t.Error("long actions go on")
				}
			})
		})
	}
}

// The answer of the second take is lost: the key is recognised by its session.
func TestLeaseAdriftWithALostReply(t *testing.T) {
	for name, settle := range map[string]func(*testing.T, *world){
		"another take": func(t *testing.T, w *world) {
			if _, err := w.k.Take(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"a view": func(_ *testing.T, w *world) { w.k.Observed(w.store.view()) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, w *world) {
				outlive(t, w)
				w.store.setFaults(nil)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				w.store.setFaults(func(op string) fault {
					switch op {
					case "put":
						return lostReply
					case "load":
						return down
					}
					return none
				})
				_, _ = w.k.Take(t.Context())
				w.store.setFaults(nil)
				settle(t, w)
				time.Sleep(time.Minute)
				synctest.Wait()
				if s := w.holds(true); s.Adrift || w.store.view().Leader.Session != s.Session {
					t.Errorf("lost: %+v, %+v", s, w.store.view().Leader)
				}
			})
		})
	}
}

// The key vanished and the session lives: with the members' word it is taken
// again, without it the lease is over.
func TestLeaderKeyVanishes(t *testing.T) {
	for _, promised := range []bool{false, true} {
		run(t, nil, func(t *testing.T, w *world) {
			w.take()
			w.k.Observed(w.store.view())
			if promised {
				w.extend(t)
			}
			w.store.remove(leaderKey)
			w.k.Observed(w.store.view())
			time.Sleep(2 * time.Second)
			synctest.Wait()
			s := w.k.State()
			if s.Held != promised || s.Adrift != promised {
				t.Errorf("promised %v: %+v", promised, s)
			}
		})
	}
}

// A lease that ended is not brought back by promises that come late.
func TestPromisesThatComeTooLate(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.store.setFaults(func(string) fault { return down })
		sent := w.clock.Now()
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if err := w.k.Extend(t.Context(), sent.Add(30*time.Second), 30*time.Second); !errors.Is(err, ErrNotHeld) {
			t.Errorf("extended: %v", err)
		}
		w.holds(false)
	})
}

// Releasing a lease adrift leaves nothing behind.
func TestReleaseAdrift(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		outlive(t, w)
		w.store.setFaults(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := w.k.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := w.holds(false); s.Adrift || w.guard.armed() != 0 || w.store.view().Leader != (cluster.Leader{}) {
			t.Errorf("left behind: %+v", s)
		}
	})
}

// A lease that goes adrift may end earlier than the session that is gone: the guard
// is told, although there is no session to go on with.
func TestLeaseAdriftShortensTheGuardsDeadline(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.extend(t)
		time.Sleep(11 * time.Second) // the store confirms the session for longer
		synctest.Wait()
		w.store.mu.Lock()
		for id := range w.store.live {
			w.store.kill(id)
		}
		w.store.mu.Unlock()
		w.store.setFaults(on("open", down, 1e9))
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if s := w.holds(true); !s.Adrift || w.guard.armed() != s.Until().Hard {
			t.Errorf("the guard lets the server write %v after the lease: %+v", w.guard.armed().Sub(s.Until().Hard), s)
		}
	})
}
