package dcstest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
)

// Harness says how to reach the store under test.
type Harness struct {
	// Open connects to the cluster at prefix. The suite closes the store.
	Open func(t *testing.T, prefix string) dcs.Store
	// OpenLinked connects through a link that the suite can damage.
	OpenLinked func(t *testing.T, prefix string) (dcs.Store, Link)
	// TTL is the session length to ask for: as short as the server allows.
	TTL time.Duration
}

// Link is a connection that can be damaged.
type Link interface {
	// Cut ends all connections and refuses new ones.
	Cut()
	// LoseReplies forwards requests, and loses what is answered.
	LoseReplies()
	// Mend makes everything as it was.
	Mend()
}

// patience bounds every wait for something that must happen: far above what is
// usual, so that a busy machine does not fail a test.
const patience = 60 * time.Second

// prefixes counts the clusters, so that no two tests share one.
type prefixes struct{ n atomic.Int64 }

func (p *prefixes) next() string {
	return fmt.Sprintf("/dcstest/c%d-%d", time.Now().UnixNano(), p.n.Add(1))
}

// suite is one run over one store.
type suite struct {
	Harness
	prefixes prefixes
}

// open connects to a cluster of its own.
func (s *suite) open(t *testing.T) dcs.Store { t.Helper(); return s.openAt(t, s.prefixes.next()) }

func (s *suite) openAt(t *testing.T, prefix string) dcs.Store {
	t.Helper()
	return closeAfter(t, s.Open(t, prefix))
}

func closeAfter(t *testing.T, st dcs.Store) dcs.Store {
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return st
}

// ctx ends with the test, or when nothing happens for too long.
func ctx(t *testing.T) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return c
}

// session opens a session that does not run out during a test about something
// else, however busy the machine is.
func (s *suite) session(t *testing.T, st dcs.Store) dcs.Session {
	t.Helper()
	return s.shortSession(t, st, 30*s.TTL)
}

func (s *suite) shortSession(t *testing.T, st dcs.Store, ttl time.Duration) dcs.Session {
	t.Helper()
	n, err := st.Open(ctx(t), ttl)
	if err != nil {
		t.Fatalf("open a session: %v", err)
	}
	return n
}

// get returns one key as the store has it now.
func get(t *testing.T, st dcs.Store, key string) (dcs.KV, bool) {
	t.Helper()
	snap, err := st.Load(ctx(t))
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return find(snap, key)
}

func find(snap dcs.Snapshot, key string) (dcs.KV, bool) {
	for _, kv := range snap.Keys {
		if kv.Key == key {
			return kv, true
		}
	}
	return dcs.KV{}, false
}

// wantErr checks the class of an error: exactly this one of the contract's.
func wantErr(t *testing.T, what string, err, class error) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("%s: got %v, want %v", what, err, class)
		return
	}
	for _, c := range classes() {
		if c != class && errors.Is(err, c) {
			t.Errorf("%s: %v belongs to two classes, also to %v", what, err, c)
		}
	}
}

func classes() []error {
	return []error{dcs.ErrConflict, dcs.ErrUnavailable, dcs.ErrUnknown, dcs.ErrSessionGone, dcs.ErrRefused}
}

// must fails the test on an error.
func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// awaitUpdate reads updates until one fits.
func awaitUpdate(t *testing.T, updates <-chan dcs.Update, what string, fits func(dcs.Update) bool) dcs.Update {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case u, open := <-updates:
			if !open {
				t.Fatalf("the watch ended before %s", what)
			}
			if fits(u) {
				return u
			}
		case <-limit:
			t.Fatalf("waited %v in vain for the watch to see %s", patience, what)
		}
	}
}
