package dcstest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// carried is a handle as another process gets it.
func carried(t *testing.T, h dcs.Handle) dcs.Handle {
	t.Helper()
	b, err := h.MarshalBinary()
	must(t, "encode the handle", err)
	var got dcs.Handle
	must(t, "decode the handle", got.UnmarshalBinary(b))
	return got
}

// sessionResumed: cut off for good, a session is gone on with elsewhere, by its
// handle alone, and ended there, which takes its keys along at once.
func (s *suite) sessionResumed(t *testing.T) {
	prefix := s.prefixes.next()
	first, link := s.OpenLinked(t, prefix)
	closeAfter(t, first)
	st, observer := s.openAt(t, prefix), s.openAt(t, prefix)
	a := s.session(t, first)
	v, err := a.Put(ctx(t), "leader", "n1", dcs.Absent())
	must(t, "put", err)
	_, err = a.Put(ctx(t), "members/n1", "{}", dcs.Absent())
	must(t, "put", err)
	h := carried(t, a.Handle())
	link.Cut()

	asked := clock.Real{}.Now()
	b, err := st.Resume(ctx(t), h)
	must(t, "resume", err)
	o := b.Opened()
	if b.ID() != a.ID() || o.Granted != a.Opened().Granted || o.Sent < asked || o.Sent > (clock.Real{}).Now() {
		t.Errorf("session %s of %v was resumed at %v as %s with %+v", a.ID(), a.Opened().Granted, asked, b.ID(), o)
	}
	if c, err := b.Renew(ctx(t)); err != nil || c.Sent < o.Sent || c.Granted != o.Granted {
		t.Errorf("renewed: %+v %v", c, err)
	}
	w, err := b.Put(ctx(t), "leader", "n1", dcs.Unchanged(v))
	must(t, "put over the session's own key", err)
	if kv, ok := get(t, observer, "leader"); !ok || kv.Session != a.ID() || kv.Version != w {
		t.Errorf("leader key of the resumed session: %+v", kv)
	}
	must(t, "delete a key that the first one made", b.Delete(ctx(t), "members/n1"))
	// A handle of the resumed session is as good as the first.
	c, err := st.Resume(ctx(t), carried(t, b.Handle()))
	must(t, "resume once more", err)
	must(t, "end", c.End(ctx(t)))
	if snap, err := observer.Load(ctx(t)); err != nil || len(snap.Keys) != 0 {
		t.Errorf("keys after the end: %+v %v", snap.Keys, err)
	}
	_, err = b.Renew(ctx(t))
	wantErr(t, "renew after the end", err, dcs.ErrSessionGone)
	for _, over := range []dcs.Handle{h, b.Handle()} {
		_, err = st.Resume(ctx(t), over)
		wantErr(t, "resume what is over", err, dcs.ErrSessionGone)
	}
}

// sessionResumedIsKept: the one who resumed it keeps a session beyond what its
// first owner was granted, and it runs out when nobody does.
func (s *suite) sessionResumedIsKept(t *testing.T) {
	st := s.open(t)
	for !s.resumedKeptOnce(t, st) {
		t.Log("the machine was too slow to renew in time")
	}
}

func (s *suite) resumedKeptOnce(t *testing.T, st dcs.Store) bool {
	a := s.shortSession(t, st, s.TTL)
	told := time.Now()
	slow := func(err error) bool {
		return errors.Is(err, dcs.ErrSessionGone) && time.Since(told) > a.Opened().Granted/2
	}
	_, err := a.Put(ctx(t), "leader", "n1", dcs.Absent())
	if slow(err) {
		return false
	}
	must(t, "put", err)
	b, err := st.Resume(ctx(t), a.Handle())
	if slow(err) {
		return false
	}
	must(t, "resume", err)
	last := b.Opened()
	told = time.Now()
	for end := told.Add(2 * last.Granted); told.Before(end); time.Sleep(last.Granted / 5) {
		c, err := b.Renew(ctx(t))
		if slow(err) {
			return false
		}
		must(t, "renew", err)
		last, told = c, time.Now()
	}
	h := b.Handle()
	eventually(t, "the key is gone", func() bool { _, there := get(t, st, "leader"); return !there })
	// Counted from after the confirmation, as in sessionRunsOut.
	if lived := time.Since(told); lived < last.Granted/2-b.Slack() {
		t.Errorf("the session lived %v of the confirmed %v", lived, last.Granted)
	}
	_, err = st.Resume(ctx(t), h)
	wantErr(t, "resume what ran out", err, dcs.ErrSessionGone)
	return true
}

// resumeRefused: what is no handle gives an error and harms nobody.
func (s *suite) resumeRefused(t *testing.T) {
	st := s.open(t)
	n := s.session(t, st)
	_, err := n.Put(ctx(t), "leader", "n1", dcs.Absent())
	must(t, "put", err)
	good := n.Handle()
	changed := func(change func(*dcs.Handle)) dcs.Handle {
		h := good
		h.Secret = bytes.Clone(h.Secret)
		change(&h)
		return h
	}
	for name, h := range map[string]dcs.Handle{
		"nothing":          {},
		"no secret, no id": changed(func(h *dcs.Handle) { h.ID, h.Secret = "", nil }),
		"a foreign id":     changed(func(h *dcs.Handle) { h.ID = "not an id" }),
		"a negative id":    changed(func(h *dcs.Handle) { h.ID = "-1" }),
		"a huge id":        changed(func(h *dcs.Handle) { h.ID = "fffffffffffffffff" }),
		"a foreign store":  changed(func(h *dcs.Handle) { h.Store = "somewhere" }),
		"no store":         changed(func(h *dcs.Handle) { h.Store = "" }),
		"a store of dots":  changed(func(h *dcs.Handle) { h.Store = ".." }),
		"a longer secret":  changed(func(h *dcs.Handle) { h.Secret = append(h.Secret, 'x') }),
		"a different secret": changed(func(h *dcs.Handle) {
			if len(h.Secret) == 0 {
				h.Secret = []byte{0}
			}
			h.Secret[0] ^= 1
		}),
	} {
		got, err := st.Resume(ctx(t), h)
		if got != nil || !errors.Is(err, dcs.ErrRefused) {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	if _, err := n.Renew(ctx(t)); err != nil {
		t.Errorf("the session was harmed: %v", err)
	}
	if kv, ok := get(t, st, "leader"); !ok || kv.Session != n.ID() {
		t.Errorf("its key: %+v %v", kv, ok)
	}
	ended, cancel := context.WithCancel(ctx(t))
	cancel()
	_, err = st.Resume(ended, good)
	wantErr(t, "resume in an ended context", err, dcs.ErrUnavailable)
}

// twoHolders: two processes go on with one session for a while. Both are
// confirmed, none in vain, and the end by one of them is the end for both.
func (s *suite) twoHolders(t *testing.T) {
	prefix := s.prefixes.next()
	first, second := s.openAt(t, prefix), s.openAt(t, prefix)
	a := s.session(t, first)
	_, err := a.Put(ctx(t), "leader", "n1", dcs.Absent())
	must(t, "put", err)
	b, err := second.Resume(ctx(t), carried(t, a.Handle()))
	must(t, "resume", err)
	for range 3 {
		for name, n := range map[string]dcs.Session{"the first": a, "the second": b} {
			if _, err := n.Renew(ctx(t)); err != nil {
				t.Errorf("%s renews: %v", name, err)
			}
			// The connection may just have moved to the other one.
			eventually(t, name+" writes", func() bool {
				_, err := n.Put(ctx(t), "members/n1", name, dcs.Always())
				if errors.Is(err, dcs.ErrSessionGone) {
					t.Fatalf("%s writes: %v", name, err)
				}
				return err == nil
			})
			if kv, ok := get(t, first, "leader"); !ok || kv.Session != a.ID() {
				t.Fatalf("after %s renewed: %+v %v", name, kv, ok)
			}
		}
	}
	must(t, "end", b.End(ctx(t)))
	if snap, err := first.Load(ctx(t)); err != nil || len(snap.Keys) != 0 {
		t.Errorf("keys after the end: %+v %v", snap.Keys, err)
	}
	_, err = a.Renew(ctx(t))
	wantErr(t, "the first renews after the end", err, dcs.ErrSessionGone)
	_, err = a.Put(ctx(t), "leader", "n1", dcs.Absent())
	wantErr(t, "the first writes after the end", err, dcs.ErrSessionGone)
	must(t, "the first ends what is over", a.End(ctx(t)))
}
