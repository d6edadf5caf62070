package lease

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

func TestViews(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		empty := w.store.view()
		w.take()
		w.k.Observed(empty) // older than the take
		synctest.Wait()
		w.holds(true)
		w.k.Observed(w.store.view())
		w.k.Observed(empty) // delayed
		synctest.Wait()
		w.holds(true)

		w.store.foreign("n2") // somebody replaced the key
		w.store.setFaults(func(string) fault { return down })
		w.k.Observed(w.store.view())
		if s := w.holds(false); !s.Refused {
			t.Error("not marked as refused")
		}
	})
}

func TestSuspicionWithoutRevisionsIsReadAgain(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.store.setFaults(on("load", down, 3))
		w.store.foreign("n2")
		w.k.Observed(cluster.View{Leader: cluster.Leader{Name: "n2", Session: "foreign"}})
		synctest.Wait()
		w.holds(true) // not known yet
		time.Sleep(2 * time.Second)
		synctest.Wait()
		w.holds(false)
	})
}

// A view of the same session's earlier holding must not turn a view from
// between the two into a loss.
func TestViewsOfAnEarlierHolding(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		first := w.store.view()
		if err := w.k.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		between := w.store.view()
		w.take()
		w.k.Observed(first)
		w.k.Observed(between)
		synctest.Wait()
		w.holds(true)
	})
}

func TestRelease(t *testing.T) {
	for name, faults := range map[string]func(string) fault{
		"answered":               nil,
		"reply lost":             on("delete", lostReply, 1),
		"request lost":           on("delete", lostAsk, 1),
		"delete and read refuse": func(op string) fault { return map[string]fault{"delete": down, "load": down}[op] },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, w *world) {
				w.take()
				w.store.setFaults(faults)
				if err := w.k.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.holds(false)
				if l := w.store.view().Leader; l.Held() {
					t.Errorf("key stays: %+v", l)
				}
				if w.guard.armed() != 0 {
					t.Error("guard stays armed over a server that is no writer")
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if w.guard.armed() != 0 {
					t.Error("guard armed again by a renewal")
				}
			})
		})
	}
}

func TestReleaseWithTheStoreAwayStopsRenewing(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.store.setFaults(func(string) fault { return down })
		if err := w.k.Release(t.Context()); err == nil {
			t.Fatal("released without a store")
		}
		w.store.setFaults(nil)
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if l := w.store.view().Leader; l.Held() {
			t.Errorf("key is kept alive: %+v", l)
		}
	})
}

func TestReleaseAfterALossEndsTheAbandonedSession(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.store.setFaults(func(op string) fault { return map[string]fault{"renew": lostReply}[op] })
		ctx := w.k.Context()
		<-ctx.Done()
		for w.k.State().Held {
			<-w.k.Changed()
		}
		if !w.store.view().Leader.Held() {
			t.Fatal("the store should still hold the key: renewals took effect")
		}
		if err := w.k.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.store.view().Leader.Held() {
			t.Error("key stays after the fenced member released it")
		}
	})
}

func TestDisarmRefusesWhileHeld(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		if err := w.k.Disarm(t.Context()); err == nil || w.guard.armed() == 0 {
			t.Error("a leader's guard was disarmed")
		}
	})
}

func TestExtend(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.store.setFaults(func(string) fault { return down })
		for range 20 {
			time.Sleep(5 * time.Second)
			synctest.Wait()
			d := fence.Compute(w.clock.Now(), 30*time.Second, fence.DefaultBudget())
			if err := w.k.Extend(t.Context(), d.Sent, 30*time.Second); err != nil {
				t.Fatal(err)
			}
			if s := w.holds(true); !s.Live(w.clock.Now()) || w.guard.armed() != d.Hard {
				t.Fatalf("not extended: %+v", s)
			}
		}
	})
}

func TestChangedTTL(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.ttl = 20 * time.Second
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if s := w.holds(true); s.Session != "session-1" || s.Granted != 30*time.Second {
			t.Fatalf("a leader's session was replaced: %+v", s)
		}
		if err := w.k.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Second)
		synctest.Wait()
		if s := w.k.State(); s.Session != "session-2" || s.Granted != 20*time.Second {
			t.Errorf("ttl did not take effect: %+v", s)
		}
		w.store.mu.Lock()
		defer w.store.mu.Unlock()
		if w.store.live["session-1"] != nil {
			t.Error("former session was not ended")
		}
	})
}

func TestConfirmationsOutOfOrder(t *testing.T) {
	c := newClock()
	k := New(Options{Clock: c, Budget: fence.DefaultBudget()})
	s := &fakeSession{id: "x"}
	k.session = s
	now := c.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.confirm(s, dcs.Confirmation{Sent: now, Granted: 30 * time.Second})
	want := k.term.Store
	k.confirm(s, dcs.Confirmation{Sent: now.Add(-10 * time.Second), Granted: 30 * time.Second})
	if k.term.Store != want {
		t.Errorf("an older confirmation moved the deadlines: %+v, want %+v", k.term.Store, want)
	}
	k.confirm(&fakeSession{id: "y"}, dcs.Confirmation{Sent: now.Add(time.Second), Granted: time.Hour})
	if k.term.Store != want {
		t.Error("another session's confirmation counted")
	}
}

func TestCloseEndsTheSessionWhenAsked(t *testing.T) {
	for _, end := range []bool{false, true} {
		run(t, nil, func(t *testing.T, w *world) {
			if _, err := w.k.PutOwned(t.Context(), "members/n1", "{}", dcs.Always()); err != nil {
				t.Fatal(err)
			}
			if err := w.k.Close(t.Context(), end); err != nil {
				t.Fatal(err)
			}
			w.store.mu.Lock()
			defer w.store.mu.Unlock()
			if _, there := w.store.keys["members/n1"]; there == end {
				t.Errorf("end %v: member key there %v", end, there)
			}
		})
	}
}

func TestStoreAwayAtStart(t *testing.T) {
	n := 0
	run(t, func(w *world) {
		w.store.faults = func(op string) fault {
			if n++; n < 20 {
				return []fault{down, hangBefore, lostReply}[n%3]
			}
			return none
		}
	}, func(t *testing.T, w *world) {
		if _, err := w.k.Take(t.Context()); !errors.Is(err, ErrNoSession) {
			t.Errorf("Take without a session: %v", err)
		}
		for w.k.State().Session == "" {
			<-w.k.Changed()
		}
		w.take()
	})
}
