package lease

import (
	"testing"
	"testing/synctest"
	"time"
)

// lapse lets a lease run out while the store is away, and brings the store back
// with its sessions as long as ever, as a new leader of a store does.
func lapse(t *testing.T, w *world, away time.Duration) (session string) {
	t.Helper()
	w.take()
	session = w.holds(true).Session
	w.store.setFaults(func(string) fault { return down })
	time.Sleep(away)
	synctest.Wait()
	if s := w.holds(false); !s.Lost {
		t.Fatalf("no lost session: %+v", s)
	}
	return session
}

func back(w *world) {
	w.store.mu.Lock()
	for _, s := range w.store.live {
		s.until = w.clock.Now().Add(s.ttl)
	}
	w.store.mu.Unlock()
	w.store.setFaults(nil)
}

// The store was away for longer than the lease, and the agent lived on: once its
// server is known to be down, its former session does not stand in the way of the
// next leader for another ttl.
func TestLostSessionIsEndedWhenTheStoreIsBack(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		former := lapse(t, w, 29*time.Second)
		w.k.Stopped()
		back(w)
		began := w.clock.Now()
		for w.store.view().Leader.Held() {
			time.Sleep(100 * time.Millisecond)
		}
		if took := w.clock.Now().Sub(began); took > 2*time.Second {
			t.Errorf("the key of session %s stood for %s", former, took)
		}
		// A later lease is under another session, and nothing ends that.
		w.take()
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := w.holds(true); s.Session == former || s.Lost {
			t.Errorf("%+v", s)
		}
	})
}

// Nobody has said that the server is down: it may write still, and the session runs
// out by itself.
func TestLostSessionStandsWhileTheServerMayWrite(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		lapse(t, w, 29*time.Second)
		back(w)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if !w.store.view().Leader.Held() {
			t.Error("the session was ended over a server that may write")
		}
	})
}

// Stopped says nothing about the session of a lease that is held.
func TestStoppedEndsNoHeldLease(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.take()
		w.k.Stopped()
		time.Sleep(time.Minute)
		synctest.Wait()
		w.holds(true)
	})
}

// A store that does not answer the end never keeps the next lease's renewals back.
func TestLostSessionNeverDelaysARenewal(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		lapse(t, w, 29*time.Second)
		w.k.Stopped()
		w.store.remove(leaderKey)
		w.store.setFaults(func(op string) fault { return map[string]fault{"end": hangBefore}[op] })
		for w.k.State().Session == "" {
			time.Sleep(100 * time.Millisecond)
		}
		w.take()
		for range 600 {
			time.Sleep(time.Second)
			synctest.Wait()
			// Nor is it a trouble of the store's, which serves the lease.
			if s := w.k.State(); s.LastError != "" {
				t.Fatalf("the lease is said to be in trouble: %s", s.LastError)
			}
		}
		w.holds(true)
	})
}
