package lease

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

// heir is the keeper of an agent that was started anew, with the guard that the
// one before has left.
type heir struct {
	*world
	k    *Keeper
	left Inherited
}

// dies ends the world's keeper as SIGKILL does, in the middle of a holding, and
// makes the next agent's.
func (w *world) dies() *heir {
	w.t.Helper()
	st := w.holds(true)
	s := w.k.Session()
	b, err := s.Handle().MarshalBinary()
	if err != nil {
		w.t.Fatal(err)
	}
	_ = w.k.Close(context.Background(), false)
	h := &heir{world: w, left: Inherited{Session: b, Guard: w.guard,
		Deadlines: fence.Deadlines{Soft: st.Store.Soft, Hard: w.guard.armed()}}}
	h.k = New(Options{Store: w.store, Clock: w.clock, Budget: fence.DefaultBudget(), Member: "n1", Logger: w.log,
		Interval: func() time.Duration { return 5 * time.Second }, TTL: func() time.Duration { return w.ttl }})
	return h
}

func (h *heir) run() {
	done := make(chan struct{})
	go func() { defer close(done); _ = h.k.Run(h.t.Context()) }()
	h.t.Cleanup(func() { _ = h.k.Close(context.Background(), false); <-done })
}

func TestAdopt(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		time.Sleep(7 * time.Second)
		synctest.Wait()
		h := w.dies()
		time.Sleep(3 * time.Second)
		version := w.store.view().Leader.Version
		before := w.guard.armed()
		if err := h.k.Adopt(t.Context(), h.left); err != nil {
			t.Fatal(err)
		}
		s := h.k.State()
		if !s.Live(w.clock.Now()) || s.Armed <= before || w.guard.armed() != s.Armed || s.Armed != s.Store.Hard {
			t.Fatalf("after the handover: %+v; the guard ends at %d, before at %d", s, w.guard.armed(), before)
		}
		opens, _ := w.store.count()
		h.run()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s := h.k.State(); !s.Live(w.clock.Now()) || h.k.Context().Err() != nil {
			t.Fatalf("it is not kept: %+v", s)
		}
		if now, _ := w.store.count(); now != opens || w.store.view().Leader.Version != version {
			t.Error("a new session or a new key, where the old one was to go on")
		}
		// It is released as one that was taken here.
		if err := h.k.Release(t.Context()); err != nil || w.store.view().Leader.Held() || w.guard.armed() != 0 {
			t.Errorf("release: %v, %+v, guard %d", err, w.store.view().Leader, w.guard.armed())
		}
	})
}

// A store that is silent for a while is waited for, as long as the guard lets the
// server work.
func TestAdoptWaitsForTheStore(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		h := w.dies()
		w.store.setFaults(on("renew", down, 30))
		if err := h.k.Adopt(t.Context(), h.left); err != nil {
			t.Fatal(err)
		}
		if s := h.k.State(); !s.Live(w.clock.Now()) {
			t.Errorf("%+v", s)
		}
	})
}

// Whatever does not fit is refused, nothing is held, and the guard keeps the
// deadlines that it had.
func TestAdoptRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world, h *heir)
		want  error
	}{
		"session over":           {func(w *world, h *heir) { w.store.mu.Lock(); w.store.kill("session-1"); w.store.mu.Unlock() }, dcs.ErrSessionGone},
		"another's key":          {func(w *world, h *heir) { w.store.foreign("n2") }, ErrTaken},
		"my name, another's key": {func(w *world, h *heir) { w.store.foreign("n1") }, ErrTaken},
		"no key":                 {func(w *world, h *heir) { w.store.mu.Lock(); delete(w.store.keys, leaderKey); w.store.mu.Unlock() }, ErrTaken},
		"no handle":              {func(w *world, h *heir) { h.left.Session = []byte("x") }, dcs.ErrHandle},
		"store silent":           {func(w *world, h *heir) { w.store.setFaults(func(string) fault { return down }) }, ErrSoft},
		"store hangs":            {func(w *world, h *heir) { w.store.setFaults(func(string) fault { return hangBefore }) }, ErrSoft},
		"guard is deaf":          {func(w *world, h *heir) { w.guard.setDeaf(true) }, nil},
		"deadline passed":        {func(w *world, h *heir) { w.clock.jump(29 * time.Second) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, w *world) {
				w.take()
				h := w.dies()
				before := w.guard.armed()
				c.spoil(w, h)
				err := h.k.Adopt(t.Context(), h.left)
				if err == nil || c.want != nil && !errors.Is(err, c.want) {
					t.Fatalf("%v, want %v", err, c.want)
				}
				s := h.k.State()
				if s.Held || s.Session != "" || w.guard.armed() != before || h.k.Context().Err() == nil {
					t.Errorf("%+v, guard %d, before %d", s, w.guard.armed(), before)
				}
			})
		})
	}
}

// An agent that was stopped in the middle of a renewal reads the answer after its
// guard's deadline: the guard has killed the server and may have had the session
// ended, so the answer is worth nothing, however fresh it looks.
func TestConfirmationReadAfterTheGuardsDeadline(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		armed := w.guard.armed()
		w.guard.setDeaf(true) // what comes after that renewal does not reach it
		time.Sleep(5*time.Second + 100*time.Millisecond)
		synctest.Wait()
		if s := w.holds(true); s.LastConfirmed < armed.Add(-25*time.Second) || !s.Live(w.clock.Now()) {
			t.Fatalf("a renewal was to be confirmed: %+v", s)
		}
		w.clock.jump(armed.Sub(w.clock.Now())) // stopped, and continued
		if s := w.k.State(); s.Held || s.Live(w.clock.Now()) {
			t.Errorf("leads past its guard's deadline: %+v", s)
		}
		// Another guard changes nothing of that.
		w.k.SetGuard(&fakeGuard{})
		synctest.Wait()
		w.holds(false)
	})
}

// So it is when the guard that acts at the deadline was replaced meanwhile.
func TestDeadlineOfAGuardThatWasReplaced(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		armed := w.guard.armed()
		w.guard.setDeaf(true)
		time.Sleep(5*time.Second + 100*time.Millisecond)
		synctest.Wait()
		w.clock.jump(armed.Sub(w.clock.Now()))
		w.k.SetGuard(&fakeGuard{}) // the first thing that happens after the stop
		synctest.Wait()
		w.holds(false)
	})
}

// fencing is a guard that has fenced before it hears.
type fencing struct{ fakeGuard }

func (*fencing) Arm(context.Context, fence.Deadlines, []byte) error { return fence.ErrFenced }

func TestGuardThatHasFencedEndsTheLease(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.k.SetGuard(&fencing{})
		synctest.Wait()
		w.holds(false)
		if s := w.k.State(); s.GuardError != "" {
			t.Errorf("it answers; it is no guard to be replaced: %+v", s)
		}
	})
}

// A guard that could not be armed for the inherited lease limits no later one of
// an agent that does without it (pause).
func TestFailedAdoptionLimitsNoLaterLease(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		h := w.dies()
		w.guard.setDeaf(true)
		if err := h.k.Adopt(t.Context(), h.left); err == nil {
			t.Fatal("adopted without an acknowledgement")
		}
		h.k.SetGuard(nil)
		w.store.remove(leaderKey) // the guard has ended its session
		h.run()
		synctest.Wait()
		if _, err := h.k.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := h.k.State(); !s.Live(w.clock.Now()) || h.k.Context().Err() != nil {
			t.Errorf("not kept: %+v", s)
		}
	})
}
