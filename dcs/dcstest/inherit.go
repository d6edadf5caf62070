package dcstest

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
)

// Processes holds a store to what is promised about sessions that outlive the
// process that opened them: a real one, that is killed, stopped, or ends. Its
// test binary calls Main. The owner connects to the first of the servers only,
// who inherits from it to the last.
func Processes(t *testing.T, ttl time.Duration, addrs []string, open OpenAt) {
	s := &inheritance{ttl: ttl, addrs: addrs, open: open, prefixes: &prefixes{}}
	t.Run("OwnerKilled", s.ownerKilled)
	t.Run("OwnerStopped", s.ownerStopped)
	t.Run("OwnerComesBack", s.ownerComesBack)
	t.Run("OwnerExits", func(t *testing.T) { s.ownerEnds(t, syscall.SIGTERM) })
	t.Run("OwnerPanics", func(t *testing.T) { s.ownerEnds(t, syscall.SIGINT) })
}

type inheritance struct {
	ttl   time.Duration
	addrs []string
	open  OpenAt
	*prefixes
}

// begin starts an owner, and connects who is to inherit.
func (s *inheritance) begin(t *testing.T) (*owner, dcs.Store) {
	t.Helper()
	prefix := s.next()
	st, err := s.open(ctx(t), prefix, s.addrs[len(s.addrs)-1:])
	must(t, "connect", err)
	closeAfter(t, st)
	return startOwner(t, prefix, s.ttl, s.addrs[:1]), st
}

// resume goes on with the owner's session.
func (s *inheritance) resume(t *testing.T, st dcs.Store, o *owner) dcs.Session {
	t.Helper()
	begun := time.Now()
	n, err := st.Resume(ctx(t), o.handle)
	must(t, "resume", err)
	t.Logf("resumed in %v", time.Since(begun).Round(100*time.Microsecond))
	if kv, ok := get(t, st, "leader"); !ok || kv.Session != o.handle.ID || n.ID() != kv.Session {
		t.Fatalf("the leader key of session %s: %+v %v", n.ID(), kv, ok)
	}
	return n
}

// end ends the session and sees its keys go.
func (s *inheritance) end(t *testing.T, st dcs.Store, n dcs.Session) {
	t.Helper()
	c, cancel := context.WithCancel(ctx(t))
	defer cancel()
	updates := st.Watch(c)
	awaitUpdate(t, updates, "the key", func(u dcs.Update) bool { _, there := find(u.Snapshot, "leader"); return there })
	begun := time.Now()
	ended := make(chan time.Duration, 1)
	go func() {
		if err := n.End(c); err != nil {
			t.Errorf("end: %v", err)
		}
		ended <- time.Since(begun)
	}()
	awaitUpdate(t, updates, "the end of the key", func(u dcs.Update) bool {
		_, there := find(u.Snapshot, "leader")
		return u.Err == nil && !there
	})
	gone := time.Since(begun)
	t.Logf("the key was gone %v after the end was asked for, which returned after %v", gone.Round(100*time.Microsecond), (<-ended).Round(100*time.Microsecond))
	_, err := st.Resume(ctx(t), n.Handle())
	wantErr(t, "resume what is over", err, dcs.ErrSessionGone)
}

// ownerKilled: the session outlives a killed process, and is ended at once by
// whoever has its handle.
func (s *inheritance) ownerKilled(t *testing.T) {
	o, st := s.begin(t)
	o.Kill()
	n := s.resume(t, st, o)
	if c, err := n.Renew(ctx(t)); err != nil || c.Sent < n.Opened().Sent {
		t.Errorf("renew: %+v %v", c, err)
	}
	_, err := n.Put(ctx(t), "members/n1", "{}", dcs.Absent())
	must(t, "put", err)
	must(t, "delete", n.Delete(ctx(t), "members/n1"))
	s.end(t, st, n)
}

// ownerStopped: the session of a stopped process is ended meanwhile. Once it
// runs again it learns of that, and makes no key any more.
func (s *inheritance) ownerStopped(t *testing.T) {
	o, st := s.begin(t)
	o.await(t, "renewed")
	must(t, "stop the owner", o.Signal(syscall.SIGSTOP))
	s.end(t, st, s.resume(t, st, o))
	must(t, "continue the owner", o.Signal(syscall.SIGCONT))
	if refused := o.await(t, "gone "); refused != "true" {
		t.Error("the owner of an ended session was not refused")
	}
	if snap, err := st.Load(ctx(t)); err != nil || len(snap.Keys) != 0 {
		t.Errorf("afterwards: %+v %v", snap.Keys, err)
	}
}

// ownerComesBack: both go on. The session moves to and fro as they renew, and
// lives; it is the other's alone when the owner is killed then.
func (s *inheritance) ownerComesBack(t *testing.T) {
	o, st := s.begin(t)
	o.await(t, "renewed")
	must(t, "stop the owner", o.Signal(syscall.SIGSTOP))
	n := s.resume(t, st, o)
	must(t, "continue the owner", o.Signal(syscall.SIGCONT))
	for range 5 {
		o.await(t, "renewed")
		_, err := n.Renew(ctx(t))
		must(t, "renew", err)
	}
	o.Kill()
	_, err := n.Renew(ctx(t))
	must(t, "renew", err)
	s.end(t, st, n)
}

// ownerEnds: a process that ends by itself, however it does, ends no session.
func (s *inheritance) ownerEnds(t *testing.T, by syscall.Signal) {
	o, st := s.begin(t)
	must(t, "signal the owner", o.Signal(by))
	<-o.done
	s.end(t, st, s.resume(t, st, o))
}
