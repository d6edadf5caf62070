package lease

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/dcs"
)

// TestClockStepNeedsAFreshProof: a wall clock that was stepped against the boot
// clock may mean that the host stood still and nobody noticed.
func TestClockStepNeedsAFreshProof(t *testing.T) {
	t.Run("the store confirms it", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			w.take()
			time.Sleep(7300 * time.Millisecond) // a renewal was confirmed, the next is due in 2.7 s, and nobody looks at the clocks in this instant
			_, before := w.store.count()
			w.clock.step(-90 * time.Minute)
			if s := w.holds(true); s.Certain(w.clock.Now()) || !s.Live(w.clock.Now()) {
				t.Fatalf("seen with the first look: %+v", s)
			}
			synctest.Wait()
			s := w.holds(true)
			if _, after := w.store.count(); after != before+1 || !s.Certain(w.clock.Now()) || s.Store.Sent != w.clock.Now() {
				t.Errorf("renewed %d times at once: %+v", after-before, s)
			}
			if w.guard.armed() != s.Store.Hard {
				t.Errorf("the guard is armed for %d, the lease lasts until %d", w.guard.armed(), s.Store.Hard)
			}
			for range 50 { // the new offset is what the next looks compare with
				time.Sleep(5 * time.Second)
				if !w.holds(true).Certain(w.clock.Now()) {
					t.Fatal("in doubt again")
				}
			}
		})
	})
	t.Run("it is gone", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			w.take()
			ctx := w.k.Context()
			time.Sleep(7 * time.Second)
			w.store.mu.Lock()
			for id := range w.store.live {
				w.store.kill(id)
			}
			w.store.mu.Unlock()
			w.clock.step(time.Minute)
			w.k.State()
			synctest.Wait()
			w.holds(false)
			if ctx.Err() == nil {
				t.Error("whoever works under the lease was not told")
			}
		})
	})
	t.Run("the store is silent", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			w.take()
			time.Sleep(7 * time.Second)
			w.store.setFaults(func(op string) fault { return hangBefore })
			at := w.clock.Now()
			w.clock.step(2 * time.Second)
			w.k.State()
			synctest.Wait()
			if hard := w.guard.armed(); hard > at.Add(11*time.Second) {
				t.Errorf("the guard would kill %v after the step", hard.Sub(at))
			}
			time.Sleep(time.Second)
			if _, err := w.k.Take(t.Context()); err != nil {
				t.Errorf("it is held still: %v", err)
			}
			time.Sleep(8 * time.Second)
			if s := w.holds(true); s.Live(w.clock.Now()) {
				t.Errorf("live on an old proof, %v after the step", w.clock.Now().Sub(at))
			}
			time.Sleep(3 * time.Second)
			w.holds(false)
		})
	})
	t.Run("nothing is taken on an old proof", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			w.store.setFaults(on("renew", hangBefore, 1000))
			w.clock.step(2 * time.Second)
			w.k.State()
			if _, err := w.k.Take(t.Context()); !errors.Is(err, dcs.ErrUnavailable) {
				t.Errorf("taken: %v", err)
			}
			w.store.setFaults(nil)
			time.Sleep(10 * time.Second) // a renewal that hangs already is given up
			w.take()
		})
	})
	t.Run("another generation of the machine", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			w.take()
			_, before := w.store.count()
			w.k.Doubt("the virtual machine is another generation")
			synctest.Wait()
			if _, after := w.store.count(); after != before+1 {
				t.Errorf("renewed %d times", after-before)
			}
		})
	})
	t.Run("no step", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			w.take()
			for range 20 {
				w.clock.step(900 * time.Millisecond) // as far as clocks are slewed, and further
				if !w.holds(true).Certain(w.clock.Now()) {
					t.Fatal("in doubt")
				}
			}
			w.clock.jump(10 * time.Second) // stopped: both clocks ran on
			if !w.holds(true).Certain(w.clock.Now()) {
				t.Error("in doubt although both clocks agree")
			}
		})
	})
	// The process was held up between two readings.
	var c clocks
	at := time.Unix(1e6, 0)
	c.look(1e9, at, 1e9+1)
	if by := c.look(2e9, at.Add(time.Minute), boot.Instant(62*time.Second)); by != 0 {
		t.Errorf("a step of %v where there was none", by)
	}
}

// The members' word is counted by the same clock: it is doubted with the session
// and without one, and no session that ends or is opened, nor what the store
// confirms, makes it last again.
func TestClockStepDoubtsTheMembersWord(t *testing.T) {
	most := func(w *world) time.Duration { return w.k.State().Word.Hard.Sub(w.clock.Now()) }
	const short = 10 * time.Second
	mustDoubt := func(t *testing.T, w *world) {
		t.Helper()
		if s := w.holds(true); !s.Adrift || s.Certain(w.clock.Now()) || most(w) > short {
			t.Errorf("in doubt %v, for another %v: %+v", s.Doubted, most(w), s)
		}
	}
	open := func(t *testing.T, w *world) {
		t.Helper()
		w.store.setFaults(on("put", down, 1e9))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if w.k.State().Session == "" {
			t.Fatal("no session")
		}
	}
	t.Run("the session ends after the step", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			outlive(t, w)
			time.Sleep(time.Millisecond)
			w.clock.step(time.Minute)
			w.k.State()
			open(t, w)
			mustDoubt(t, w)
		})
	})
	t.Run("there is no session", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			outlive(t, w)
			w.store.setFaults(on("open", down, 1e9))
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if s := w.holds(true); !s.Adrift || s.Session != "" {
				t.Fatalf("%+v", s)
			}
			w.clock.step(time.Minute)
			mustDoubt(t, w)
			open(t, w)
			mustDoubt(t, w)
			w.extend(t)
			if s := w.holds(true); !s.Certain(w.clock.Now()) || most(w) <= short {
				t.Errorf("they gave it anew: %+v", s)
			}
		})
	})
	t.Run("the store confirms the session", func(t *testing.T) {
		run(t, nil, func(t *testing.T, w *world) {
			w.take()
			w.extend(t)
			time.Sleep(time.Millisecond)
			w.clock.step(time.Minute)
			w.k.State()
			synctest.Wait()
			if s := w.holds(true); !s.Certain(w.clock.Now()) || most(w) > short {
				t.Errorf("the members' word lasts for another %v: %+v", most(w), s)
			}
		})
	})
}
