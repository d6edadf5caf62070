package proxy

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// sendCancel sends a cancel request and waits until it is answered, by hanging up.
func sendCancel(t testing.TB, addr net.Addr, key []byte) {
	t.Helper()
	k := dialRaw(t, addr)
	k.c.Write(cancelPacket(binary.BigEndian.Uint32(key), string(key[4:])))
	if n, err := k.c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("%d bytes, %v: a cancel is answered by hanging up", n, err)
	}
}

// Two sessions with two servers that gave the same key: each request reaches its own.
func TestCancelFindsItsBackend(t *testing.T) {
	p, f := startTLS(t, nil)
	a, b, l := newMember(t, "a", "replica", 0), newMember(t, "b", "replica", 0), newMember(t, "l", "primary", long)
	a.secret, b.secret = bytes.Repeat([]byte("s"), 32), bytes.Repeat([]byte("s"), 32) // as of protocol 3.2
	f.send(t, "l", a, b, l)
	answered(t, p, 2)
	ca, cb := connect(t, p.ReplicasAddr()), connectTLS(t, p.ReplicasAddr())
	ca.wantMember("a")
	cb.wantMember("b") // least connections: the other one
	if own := []byte{0, 0, 0, 7}; !bytes.HasPrefix(ca.key, own) || !bytes.HasPrefix(cb.key, own) {
		t.Fatalf("keys %x and %x do not have the process id of the servers", ca.key, cb.key)
	}
	if len(ca.key) != 36 || len(cb.key) != 36 || bytes.Equal(ca.key, cb.key) || bytes.Contains(cb.key, []byte("ssss")) {
		t.Fatalf("keys %x and %x", ca.key, cb.key)
	}
	done := make(chan error, 1)
	go func() { _, err := cb.query("sleep"); done <- err }()
	eventually(t, "the query runs", func() bool { return b.queries.Load() == 2 })
	guess := bytes.Clone(cb.key)
	guess[35]++
	sendCancel(t, p.ReplicasAddr(), guess)
	sendCancel(t, p.ReplicasAddr(), cb.key[:8])
	sendCancel(t, p.ReplicasAddr(), append([]byte{0, 0, 0, 7}, b.secret...)) // the server's own
	if len(a.canceled)+len(b.canceled) != 0 {
		t.Fatal("a key that was not issued was taken")
	}
	secure := dialTLS(t, p.ReplicasAddr()) // as libpq 17 sends it
	secure.c.Write(cancelPacket(binary.BigEndian.Uint32(cb.key), string(cb.key[4:])))
	secure.c.Read(make([]byte, 1))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(a.canceled) != 0 || b.wrongKeys != 0 {
		t.Fatal("the other backend was cancelled, or with another key")
	}
	cb.c.Close()
	eventually(t, "the key is forgotten", func() bool { return p.cancels.find(cancelKey(cb.key)) == nil })
	sendCancel(t, p.ReplicasAddr(), cb.key)
	if len(b.canceled) != 0 {
		t.Fatal("the key of a session that is over still works")
	}
}

// A session that lost its backend has nothing to cancel; what its key stood for must
// not be hit in its place.
func TestCancelWithoutABackend(t *testing.T) {
	p, f := start(t, nil)
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	c := connect(t, p.Addr())
	p.cancels.find(cancelKey(c.key)).leads(nil, "")
	sendCancel(t, p.Addr(), c.key)
	held := p.cancels.issue(7, 8) // given, and no server yet
	sendCancel(t, p.Addr(), []byte(held.key))
	if len(a.canceled) != 0 {
		t.Fatal("a cancel request reached a server")
	}
}

// Sessions with several servers may have the same process id.
func TestIssuedKeysDiffer(t *testing.T) {
	c := newCancels(time.Second)
	var keys []*issued
	for n := range 500 {
		k := c.issue(uint32(n%2), 8)
		if k.key.id() != uint32(n%2) || len(k.key) != 8 {
			t.Fatalf("key %x", k.key)
		}
		keys = append(keys, k)
	}
	for n, k := range keys {
		if c.find(k.key) != k {
			t.Fatalf("the key %x is another session's", k.key)
		}
		if n%2 == 0 {
			c.remove(k)
		}
	}
	for n, k := range keys {
		if got := c.find(k.key); (got != nil) != (n%2 == 1) {
			t.Fatalf("key %d: found %v", n, got)
		}
		c.remove(k)
	}
	if len(c.keys) != 0 {
		t.Fatalf("%d process ids are left", len(c.keys))
	}
}

// FuzzIntroduction: nothing but the secret of the key changes, however the stream is cut, and what the
// server gave is learnt.
func FuzzIntroduction(f *testing.F) {
	var stream []byte
	for _, m := range []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "in_hot_standby", Value: "off"},
		&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte("abcd")}, &pgproto3.ReadyForQuery{TxStatus: 'I'},
		&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte("late")}} {
		stream, _ = m.Encode(stream)
	}
	f.Add(stream, uint8(3))
	f.Add([]byte{'K', 0, 0, 0, 6, 1, 2, 'K', 0, 0, 0, 12, 3, 4, 5, 6, 7, 8, 9, 10}, uint8(2))
	f.Add([]byte{'K', 0, 0, 0, 8, 1, 2, 3, 4, 'Z', 0, 0, 0, 4}, uint8(1))
	f.Add(append([]byte{'K', 0, 0, 2, 4}, make([]byte, 600)...), uint8(8))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		whole, key := introduced(t, b, len(b))
		parts, again := introduced(t, b, 1+int(cut)%9)
		if !bytes.Equal(whole, parts) || key != again {
			t.Fatalf("%q %q, cut %q %q", whole, key, parts, again)
		}
		if key != "" && !bytes.Contains(whole, append([]byte(key[:4]), bytes.Repeat([]byte{'#'}, len(key)-4)...)) {
			t.Fatalf("the key %q was learnt and not replaced", key)
		}
		for i := range b {
			if whole[i] != b[i] && whole[i] != '#' {
				t.Fatalf("byte %d became %q", i, whole[i])
			}
		}
	})
}

// introduced is what a client gets of b, in pieces, and the key that was learnt.
func introduced(t *testing.T, b []byte, piece int) (got []byte, learnt cancelKey) {
	in := introduction{learn: func(k cancelKey) { learnt = k },
		issue: func(_ uint32, size int) []byte { return bytes.Repeat([]byte{'#'}, size) }}
	got = bytes.Clone(b)
	for rest := got; len(rest) > 0; {
		n := min(len(rest), piece)
		if whole, err := in.check(rest[:n]); err != nil || whole != n {
			t.Fatal(whole, err)
		}
		rest = rest[n:]
	}
	return got, learnt
}

// Cancel requests by the thousand from one client cost no more connections to the
// server than there are places, and leave nothing behind.
func TestFloodOfCancels(t *testing.T) {
	p, f := start(t, func(o *Options) { o.ConnectTimeout = long })
	a := newMember(t, "a", "primary", long)
	a.canceled = make(chan struct{}) // nobody takes them: each request stays at the server
	f.send(t, "a", a)
	c := connect(t, p.Addr())
	packet := cancelPacket(binary.BigEndian.Uint32(c.key), string(c.key[4:]))
	var waiting []*client
	for range maxCancels {
		k := dialRaw(t, p.Addr())
		k.c.Write(packet)
		waiting = append(waiting, k)
	}
	eventually(t, "all places are taken", func() bool { return len(p.cancels.slots) == maxCancels })
	for range 2000 {
		k := dialRaw(t, p.Addr())
		k.c.Write(packet)
		if n, err := k.c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("%d bytes, %v", n, err)
		}
		k.c.Close()
	}
	if n := len(p.cancels.keys); n != 1 {
		t.Fatalf("%d keys", n)
	}
	a.set(func() {
		if n := len(a.conns); n > maxCancels+1 {
			t.Errorf("%d connections reached the server", n)
		}
	})
	c.wantMember("a")
	for range waiting {
		<-a.canceled
	}
	eventually(t, "the places are free", func() bool { return len(p.cancels.slots) == 0 })
}
