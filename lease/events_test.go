package lease

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// wantEvents compares what was told with the kinds wanted, and returns it.
func (w *world) wantEvents(kinds ...EventKind) []Event {
	w.t.Helper()
	synctest.Wait()
	w.toldMu.Lock()
	defer w.toldMu.Unlock()
	var got []EventKind
	for _, e := range w.told {
		got = append(got, e.Kind)
	}
	if len(got) != len(kinds) {
		w.t.Fatalf("told %v, want %v", w.told, kinds)
	}
	for i := range kinds {
		if got[i] != kinds[i] {
			w.t.Fatalf("told %v, want %v", w.told, kinds)
		}
	}
	return w.told
}

func TestTellsOfTroubleOnceAndOfItsEnd(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.store.setFaults(on("renew", down, 1000))
		time.Sleep(12 * time.Second) // a session without the key is nobody's lease
		w.store.setFaults(nil)
		time.Sleep(12 * time.Second)
		w.take()
		w.wantEvents()
		for range 2 {
			w.store.setFaults(on("renew", down, 3))
			time.Sleep(14 * time.Second)
		}
		got := w.wantEvents(Trouble, Confirmed, Trouble, Confirmed)
		if !strings.Contains(got[0].Why, "was not confirmed") || !strings.Contains(got[0].Why, "is stopped in") || got[0].At >= got[1].At {
			t.Errorf("%+v", got)
		}
		w.store.setFaults(on("renew", down, 1000))
		time.Sleep(time.Minute)
		if got := w.wantEvents(Trouble, Confirmed, Trouble, Confirmed, Trouble, Ended); got[5].Why != ErrExpired.Error() {
			t.Errorf("%+v", got[5])
		}
	})
}

func TestTellsHowTheLeaseEnded(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		if err := w.k.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.wantEvents(Ended); got[0].Why != ErrReleased.Error() {
			t.Errorf("%+v", got)
		}
		w.take()
		if err := w.k.Close(context.Background(), false); err != nil {
			t.Fatal(err)
		}
		w.wantEvents(Ended) // it is left as it is
	})
}

func TestTellsOfAGuardThatDoesNotAnswer(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.guard.setDeaf(true)
		time.Sleep(12 * time.Second)
		got := w.wantEvents(Trouble)
		if !strings.Contains(got[0].Why, "guard does not answer") {
			t.Errorf("%+v", got)
		}
	})
}
