package dcstest

import (
	"errors"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
)

func (s *suite) sessionKeys(t *testing.T) {
	st := s.open(t)
	n := s.session(t, st)
	if o := n.Opened(); o.Granted <= 0 || o.Sent.IsZero() || n.ID() == "" || n.Slack() < 0 || n.Slack() >= o.Granted {
		t.Errorf("opened: %+v id %q slack %v", o, n.ID(), n.Slack())
	}
	v, err := n.Put(ctx(t), "leader", "n1", dcs.Absent())
	must(t, "put", err)
	kv, ok := get(t, st, "leader")
	if !ok || kv.Session != n.ID() || kv.Version != v || kv.Value != "n1" {
		t.Errorf("leader key of session %s at version %s: %+v", n.ID(), v, kv)
	}
	w, err := n.Put(ctx(t), "leader", "n1b", dcs.Unchanged(v))
	must(t, "put unchanged", err)
	_, err = n.Put(ctx(t), "leader", "x", dcs.Unchanged(v))
	wantErr(t, "put with an old version", err, dcs.ErrConflict)
	if kv, _ := get(t, st, "leader"); kv.Version != w || kv.Session != n.ID() {
		t.Errorf("after a conditional put: %+v", kv)
	}
	must(t, "delete", n.Delete(ctx(t), "leader"))
	wantErr(t, "delete an absent key", n.Delete(ctx(t), "leader"), dcs.ErrConflict)
	if _, err := n.Renew(ctx(t)); err != nil {
		t.Errorf("the session did not survive the removal of a key: %v", err)
	}
}

// sessionConditions: who may replace whose key.
func (s *suite) sessionConditions(t *testing.T) {
	st := s.open(t)
	a, b := s.session(t, st), s.session(t, st)
	va, err := a.Put(ctx(t), "leader", "a", dcs.Absent())
	must(t, "first", err)
	_, err = b.Put(ctx(t), "leader", "b", dcs.Absent())
	wantErr(t, "put absent over another session's key", err, dcs.ErrConflict)
	wantErr(t, "delete another session's key", b.Delete(ctx(t), "leader"), dcs.ErrConflict)
	if kv, _ := get(t, st, "leader"); kv.Session != a.ID() || kv.Version != va {
		t.Errorf("the key was touched: %+v", kv)
	}
	for _, key := range []string{"members/n1", "members/n2"} {
		_, err = a.Put(ctx(t), key, "a", dcs.Always())
		must(t, "put a", err)
	}
	_, err = b.Put(ctx(t), "members/n1", "b", dcs.Always())
	must(t, "put always over another session's key", err)
	if kv, _ := get(t, st, "members/n1"); kv.Session != b.ID() || kv.Value != "b" {
		t.Errorf("the key did not change hands: %+v", kv)
	}
	wantErr(t, "delete a key that changed hands", a.Delete(ctx(t), "members/n1"), dcs.ErrConflict)

	_, err = st.Put(ctx(t), "members/n3", "permanent", dcs.Always())
	must(t, "put", err)
	wantErr(t, "delete a permanent key", a.Delete(ctx(t), "members/n3"), dcs.ErrConflict)
	_, err = a.Put(ctx(t), "members/n3", "a", dcs.Always())
	must(t, "put always over a permanent key", err)
	must(t, "end", a.End(ctx(t)))
	snap, err := st.Load(ctx(t))
	must(t, "load", err)
	if len(snap.Keys) != 1 || snap.Keys[0].Key != "members/n1" {
		t.Errorf("after the end of one session: %+v", snap.Keys)
	}
}

// sessionsOfOneName: the end of one session never touches another's keys, even
// where both write the same values.
func (s *suite) sessionsOfOneName(t *testing.T) {
	prefix := s.prefixes.next()
	old, fresh := s.openAt(t, prefix), s.openAt(t, prefix)
	a := s.session(t, old)
	_, err := a.Put(ctx(t), "leader", "n1", dcs.Absent())
	must(t, "put", err)
	_, err = a.Put(ctx(t), "members/n1", "{}", dcs.Always())
	must(t, "put", err)

	b := s.session(t, fresh)
	if a.ID() == b.ID() {
		t.Fatalf("two sessions are both called %s", a.ID())
	}
	_, err = b.Put(ctx(t), "members/n1", "{}", dcs.Always())
	must(t, "put", err)
	_, err = b.Put(ctx(t), "leader", "n1", dcs.Absent())
	wantErr(t, "the namesake's lock", err, dcs.ErrConflict)
	must(t, "end", a.End(ctx(t)))
	_, err = b.Put(ctx(t), "leader", "n1", dcs.Absent())
	must(t, "put after the namesake's end", err)
	err = a.Delete(ctx(t), "leader")
	if !errors.Is(err, dcs.ErrConflict) && !errors.Is(err, dcs.ErrSessionGone) {
		t.Errorf("an ended session deletes its successor's lock: %v", err)
	}
	for _, key := range []string{"leader", "members/n1"} {
		if kv, ok := get(t, fresh, key); !ok || kv.Session != b.ID() {
			t.Errorf("%s: %+v %v", key, kv, ok)
		}
	}
}

// sessionRunsOut: a session that nobody renews ends, not before its time, and
// takes its keys along, and only its own.
func (s *suite) sessionRunsOut(t *testing.T) {
	prefix := s.prefixes.next()
	st, observer := s.openAt(t, prefix), s.openAt(t, prefix)
	n := s.shortSession(t, st, s.TTL)
	opened := time.Now() // later than Sent: the bound below is on the safe side
	_, err := n.Put(ctx(t), "leader", "n1", dcs.Absent())
	must(t, "put", err)
	_, err = st.Put(ctx(t), "config", "{}", dcs.Always())
	must(t, "put", err)
	o := n.Opened()
	eventually(t, "the key is gone", func() bool { _, there := get(t, observer, "leader"); return !there })
	// opened is taken after the store began to count, by at most the opening's
	// own duration, which is far below the allowance of a quarter.
	if lived := time.Since(opened); lived < o.Granted*3/4-n.Slack() {
		t.Errorf("the session lived %v of the granted %v", lived, o.Granted)
	}
	if _, there := get(t, observer, "config"); !there {
		t.Error("a permanent key went with the session")
	}
	_, err = n.Renew(ctx(t))
	wantErr(t, "renew", err, dcs.ErrSessionGone)
	_, err = n.Renew(ctx(t))
	wantErr(t, "renew once more", err, dcs.ErrSessionGone)
	_, err = n.Put(ctx(t), "leader", "n1", dcs.Absent())
	wantErr(t, "put", err, dcs.ErrSessionGone)
	err = n.Delete(ctx(t), "config")
	if !errors.Is(err, dcs.ErrSessionGone) && !errors.Is(err, dcs.ErrConflict) {
		t.Errorf("delete: %v", err)
	}
	must(t, "end what is over", n.End(ctx(t)))
	if snap, err := observer.Load(ctx(t)); err != nil || len(snap.Keys) != 1 {
		t.Errorf("afterwards: %+v %v", snap.Keys, err)
	}
}

// sessionIsKept: renewed in time, a session lives on, and every confirmation
// reaches further than the one before. Where the machine stood still for longer
// than the session's length, the end of the session says nothing: once more.
func (s *suite) sessionIsKept(t *testing.T) {
	st := s.open(t)
	for !s.keptOnce(t, st) {
		t.Log("the machine was too slow to renew in time")
	}
}

func (s *suite) keptOnce(t *testing.T, st dcs.Store) bool {
	n := s.shortSession(t, st, s.TTL)
	defer func() { must(t, "end", n.End(ctx(t))) }()
	_, err := n.Put(ctx(t), "leader", "n1", dcs.Absent())
	must(t, "put", err)
	last, told := n.Opened(), time.Now()
	for end := told.Add(3 * last.Granted); told.Before(end); time.Sleep(last.Granted / 5) {
		c, err := n.Renew(ctx(t))
		if errors.Is(err, dcs.ErrSessionGone) && time.Since(told) > last.Granted/2 {
			return false
		}
		must(t, "renew", err)
		if c.Sent < last.Sent || c.Granted <= 0 {
			t.Fatalf("confirmation %+v after %+v", c, last)
		}
		last, told = c, time.Now()
	}
	if last.Sent.Sub(n.Opened().Sent) < last.Granted {
		t.Errorf("after three lengths the confirmation reaches only from %v to %v", n.Opened().Sent, last.Sent)
	}
	if kv, ok := get(t, st, "leader"); !ok || kv.Session != n.ID() {
		t.Errorf("the key of a renewed session: %+v %v", kv, ok)
	}
	return true
}

// sessionOutlivesStore: closing the connection never ends a session.
func (s *suite) sessionOutlivesStore(t *testing.T) {
	prefix := s.prefixes.next()
	observer := s.openAt(t, prefix)
	st := s.Open(t, prefix)
	n, err := st.Open(ctx(t), 10*s.TTL)
	must(t, "open", err)
	_, err = n.Put(ctx(t), "leader", "n1", dcs.Absent())
	must(t, "put", err)
	must(t, "close", st.Close())
	if kv, ok := get(t, observer, "leader"); !ok || kv.Session != n.ID() {
		t.Errorf("after the store was closed: %+v %v", kv, ok)
	}
}

func (s *suite) sessionEnd(t *testing.T) {
	prefix := s.prefixes.next()
	st, observer := s.openAt(t, prefix), s.openAt(t, prefix)
	n, err := st.Open(ctx(t), 10*s.TTL)
	must(t, "open", err)
	for _, key := range []string{"leader", "members/n1"} {
		_, err := n.Put(ctx(t), key, "n1", dcs.Absent())
		must(t, "put", err)
	}
	must(t, "end", n.End(ctx(t)))
	if snap, err := observer.Load(ctx(t)); err != nil || len(snap.Keys) != 0 {
		t.Errorf("keys after the end: %+v %v", snap.Keys, err)
	}
	_, err = n.Renew(ctx(t))
	wantErr(t, "renew", err, dcs.ErrSessionGone)
}
