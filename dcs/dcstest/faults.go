package dcstest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
)

func (s *suite) watch(t *testing.T) {
	prefix := s.prefixes.next()
	st, writer := s.openAt(t, prefix), s.openAt(t, prefix)
	c, cancel := context.WithCancel(ctx(t))
	updates := st.Watch(c)
	awaitUpdate(t, updates, "the empty cluster", func(u dcs.Update) bool { return u.Err == nil && len(u.Snapshot.Keys) == 0 })
	sees := func(what string, fits func(dcs.Snapshot) bool) {
		t.Helper()
		awaitUpdate(t, updates, what, func(u dcs.Update) bool { return u.Err == nil && fits(u.Snapshot) })
	}
	for _, key := range []string{"config", "members/n1", "leader"} {
		for _, value := range []string{"1", "2"} {
			v, err := writer.Put(ctx(t), key, value, dcs.Always())
			must(t, "put", err)
			sees(key+" change", func(snap dcs.Snapshot) bool {
				kv, ok := find(snap, key)
				return ok && kv.Value == value && kv.Version == v
			})
		}
	}
	must(t, "delete", writer.Delete(ctx(t), "members/n1", dcs.Always()))
	sees("the delete", func(snap dcs.Snapshot) bool { return len(snap.Keys) == 2 })
	must(t, "delete all", writer.DeleteAll(ctx(t)))
	sees("that all is deleted", func(snap dcs.Snapshot) bool { return len(snap.Keys) == 0 })
	_, err := writer.Put(ctx(t), "members/n2", "x", dcs.Always())
	must(t, "put", err)
	sees("the first key again", func(snap dcs.Snapshot) bool { return len(snap.Keys) == 1 })
	// A watch and a load agree.
	loaded, err := st.Load(ctx(t))
	must(t, "load", err)
	_, err = writer.Put(ctx(t), "members/n2", "y", dcs.Always())
	must(t, "put", err)
	sees("a revision after the loaded one", func(snap dcs.Snapshot) bool {
		return snap.Revision > loaded.Revision && snap.StoreID == loaded.StoreID
	})
	cancel()
	for range updates {
		// Closed when its context ends.
	}
}

func (s *suite) watchSeesSessionsEnd(t *testing.T) {
	prefix := s.prefixes.next()
	st, other := s.openAt(t, prefix), s.openAt(t, prefix)
	n := s.shortSession(t, other, s.TTL)
	_, err := n.Put(ctx(t), "leader", "n1", dcs.Absent())
	must(t, "put", err)
	updates := st.Watch(ctx(t))
	awaitUpdate(t, updates, "the key", func(u dcs.Update) bool {
		kv, ok := find(u.Snapshot, "leader")
		return ok && kv.Session == n.ID()
	})
	awaitUpdate(t, updates, "the end of its session", func(u dcs.Update) bool {
		_, there := find(u.Snapshot, "leader")
		return u.Err == nil && !there
	})
}

// watchNewestOnly: a slow reader loses nothing but what was overtaken.
func (s *suite) watchNewestOnly(t *testing.T) {
	prefix := s.prefixes.next()
	st, writer := s.openAt(t, prefix), s.openAt(t, prefix)
	updates := st.Watch(ctx(t))
	awaitUpdate(t, updates, "anything", func(dcs.Update) bool { return true })
	const writes = 30
	for i := range writes {
		_, err := writer.Put(ctx(t), "status", fmt.Sprint(i), dcs.Always())
		must(t, "put", err)
	}
	read := 0
	awaitUpdate(t, updates, "the last write", func(u dcs.Update) bool {
		read++
		kv, _ := find(u.Snapshot, "status")
		return kv.Value == fmt.Sprint(writes-1)
	})
	if read > writes {
		t.Errorf("%d updates for %d writes that nobody read meanwhile", read, writes)
	}
}

func (s *suite) watchInterrupted(t *testing.T) {
	prefix := s.prefixes.next()
	st, link := s.OpenLinked(t, prefix)
	closeAfter(t, st)
	writer := s.openAt(t, prefix)
	updates := st.Watch(ctx(t))
	awaitUpdate(t, updates, "the beginning", func(u dcs.Update) bool { return u.Err == nil })
	for round := range 2 {
		link.Cut()
		u := awaitUpdate(t, updates, "the interruption", func(u dcs.Update) bool { return u.Err != nil })
		wantErr(t, "interruption", u.Err, dcs.ErrUnavailable)
		value := fmt.Sprint(round)
		_, err := writer.Put(ctx(t), "config", value, dcs.Always())
		must(t, "put", err)
		link.Mend()
		awaitUpdate(t, updates, "what was missed", func(u dcs.Update) bool {
			if u.Err != nil {
				t.Errorf("one interruption was reported twice: %v", u.Err)
			}
			kv, _ := find(u.Snapshot, "config")
			return kv.Value == value
		})
	}
}

// unavailable: without a connection every call fails, in time, and says that
// nothing happened; afterwards everything works again by itself.
func (s *suite) unavailable(t *testing.T) {
	prefix := s.prefixes.next()
	st, link := s.OpenLinked(t, prefix)
	closeAfter(t, st)
	direct := s.openAt(t, prefix)
	n, err := st.Open(ctx(t), 20*s.TTL)
	must(t, "open", err)
	other := s.session(t, direct)
	link.Cut()
	calls := []struct {
		name  string
		write bool
		call  func(context.Context) error
	}{
		{"load", false, func(c context.Context) error { _, err := st.Load(c); return err }},
		{"renew", false, func(c context.Context) error { _, err := n.Renew(c); return err }},
		{"put", true, func(c context.Context) error { _, err := st.Put(c, "config", "x", dcs.Always()); return err }},
		{"session put", true, func(c context.Context) error { _, err := n.Put(c, "leader", "x", dcs.Absent()); return err }},
		{"delete", true, func(c context.Context) error { return st.Delete(c, "config", dcs.Always()) }},
		{"open", true, func(c context.Context) error { _, err := st.Open(c, s.TTL); return err }},
		{"resume", false, func(c context.Context) error { _, err := st.Resume(c, other.Handle()); return err }},
	}
	for _, k := range calls {
		c, cancel := context.WithTimeout(ctx(t), 2*time.Second)
		begun := time.Now()
		err := k.call(c)
		took := time.Since(begun)
		cancel()
		// The first write may meet a connection whose end was not noticed yet.
		if !errors.Is(err, dcs.ErrUnavailable) && !(k.write && errors.Is(err, dcs.ErrUnknown)) {
			t.Errorf("%s without a connection: %v", k.name, err)
		}
		if took > patience/4 {
			t.Errorf("%s outlived its context of 2 s: it took %v", k.name, took)
		}
	}
	if snap, err := direct.Load(ctx(t)); err != nil || len(snap.Keys) != 0 {
		t.Errorf("something was written without a connection: %+v %v", snap.Keys, err)
	}
	link.Mend()
	for _, k := range calls {
		eventually(t, k.name+" works again", func() bool { return k.call(ctx(t)) == nil })
	}
}

// lostReply: the write may have happened, and the store says that it does not
// know; where it says that nothing happened, nothing did.
func (s *suite) lostReply(t *testing.T) {
	prefix := s.prefixes.next()
	st, link := s.OpenLinked(t, prefix)
	closeAfter(t, st)
	direct := s.openAt(t, prefix)
	n, err := st.Open(ctx(t), 30*s.TTL)
	must(t, "open", err)
	writes := []func(context.Context, string) error{
		func(c context.Context, key string) error { _, err := st.Put(c, key, "x", dcs.Absent()); return err },
		func(c context.Context, key string) error { _, err := n.Put(c, key, "x", dcs.Absent()); return err },
	}
	for i, write := range writes {
		happened := false
		for try := 0; try < 20 && !happened; try++ {
			key := fmt.Sprintf("k%d-%d", i, try)
			eventually(t, "the link works", func() bool {
				// Both connections, right before: a store may ask before it writes.
				if _, err := st.Load(ctx(t)); err != nil {
					return false
				}
				err := write(ctx(t), key+"-first")
				return err == nil || errors.Is(err, dcs.ErrConflict)
			})
			link.LoseReplies()
			c, cancel := context.WithTimeout(ctx(t), 3*time.Second)
			err := write(c, key)
			cancel()
			link.Mend()
			_, there := get(t, direct, key)
			switch {
			case errors.Is(err, dcs.ErrUnknown):
				wantErr(t, "lost reply", err, dcs.ErrUnknown)
				happened = there
			case errors.Is(err, dcs.ErrUnavailable):
				if there {
					t.Errorf("%s: %v, but the key is there", key, err)
				}
			default:
				t.Errorf("%s: a write without a reply gave %v", key, err)
			}
		}
		if !happened {
			t.Errorf("write %d: never was the write done and its outcome unknown", i)
		}
	}
}

// sessionSurvivesCut: a session belongs to the store, not to a connection.
func (s *suite) sessionSurvivesCut(t *testing.T) {
	prefix := s.prefixes.next()
	st, link := s.OpenLinked(t, prefix)
	closeAfter(t, st)
	n, err := st.Open(ctx(t), 20*s.TTL)
	must(t, "open", err)
	_, err = n.Put(ctx(t), "leader", "n1", dcs.Absent())
	must(t, "put", err)
	before, err := n.Renew(ctx(t))
	must(t, "renew", err)
	link.Cut()
	c, cancel := context.WithTimeout(ctx(t), time.Second)
	_, err = n.Renew(c)
	cancel()
	if !errors.Is(err, dcs.ErrUnavailable) && !errors.Is(err, dcs.ErrUnknown) {
		t.Errorf("renew without a connection: %v", err)
	}
	link.Mend()
	var after dcs.Confirmation
	eventually(t, "the renewal works again", func() bool {
		after, err = n.Renew(ctx(t))
		if errors.Is(err, dcs.ErrSessionGone) {
			t.Fatalf("the session went with its connection: %v", err)
		}
		return err == nil
	})
	if after.Sent <= before.Sent {
		t.Errorf("renewed from %v to %v", before.Sent, after.Sent)
	}
	if kv, ok := get(t, st, "leader"); !ok || kv.Session != n.ID() {
		t.Errorf("leader key: %+v %v", kv, ok)
	}
	must(t, "delete", n.Delete(ctx(t), "leader"))
}
