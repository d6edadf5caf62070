package zookeeper

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/internal/clock"
)

// reply makes a connect reply.
func reply(timeout int32, id int64, password []byte) []byte {
	var b bytes.Buffer
	for _, v := range []any{int32(0), timeout, id, int32(len(password)), password, byte(0)} {
		_ = binary.Write(&b, binary.BigEndian, v)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(b.Len())), b.Bytes()...)
}

// request makes a request of this operation, a connect request for 0.
func request(op int32) []byte {
	if op == 0 {
		return append(binary.BigEndian.AppendUint32(nil, 44), make([]byte, 44)...)
	}
	b := binary.BigEndian.AppendUint32(nil, 8)
	b = binary.BigEndian.AppendUint32(b, 1)
	return binary.BigEndian.AppendUint32(b, uint32(op))
}

// pair returns a wire and the server's side of it.
func pair(t *testing.T, inherit *Identity, quiet bool) (*wire, net.Conn) {
	t.Helper()
	c, server := net.Pipe()
	t.Cleanup(func() { c.Close(); server.Close() })
	_ = server.SetDeadline(time.Now().Add(30 * time.Second))
	return newWire(c, clock.Real{}, inherit, quiet), server
}

func send(t *testing.T, w *wire, b []byte) error {
	t.Helper()
	_, err := w.Write(b)
	return err
}

func TestWireLearnsTheSession(t *testing.T) {
	password := bytes.Repeat([]byte{7}, passwordSize)
	w, server := pair(t, nil, true)
	go func() {
		_, _ = io.ReadFull(server, make([]byte, 48))
		for _, b := range reply(40000, 0x100, password) { // byte by byte: any split will do
			_, _ = server.Write([]byte{b})
		}
	}()
	if err := send(t, w, request(0)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4+37)
	if _, err := io.ReadFull(w, got); err != nil {
		t.Fatal(err)
	}
	<-w.connected
	if w.err != nil || w.granted != 40*time.Second || w.identity.ID != 0x100 || !bytes.Equal(w.identity.Password, password) || w.sent.IsZero() {
		t.Errorf("learned %v granted %v: %v", w.identity, w.granted, w.err)
	}
	if !bytes.Equal(got, reply(40000, 0x100, password)) {
		t.Error("the reply was changed on its way")
	}
}

func TestWirePresentsASession(t *testing.T) {
	id := &Identity{ID: 0x1234, Password: bytes.Repeat([]byte{9}, passwordSize)}
	w, server := pair(t, id, true)
	seen := make(chan []byte, 1)
	go func() {
		b := make([]byte, 48)
		_, _ = io.ReadFull(server, b)
		seen <- b
		_, _ = server.Write(reply(1000, 0, make([]byte, passwordSize)))
	}()
	b := request(0)
	if err := send(t, w, b); err != nil {
		t.Fatal(err)
	}
	sent := <-seen
	if binary.BigEndian.Uint64(sent[requestIDAt:]) != 0x1234 || !bytes.Equal(sent[requestPasswordAt:], id.Password) {
		t.Errorf("sent %x", sent)
	}
	if !bytes.Equal(b, request(0)) {
		t.Error("the library's own bytes were changed")
	}
	_, _ = w.Read(make([]byte, 100))
	<-w.connected
	if !errors.Is(w.err, errExpired) {
		t.Errorf("an ended session: %v", w.err)
	}
	if s := id.String(); s != "1234" {
		t.Errorf("an identity prints as %s", s)
	}
}

// TestWireKeepsTheSessionFromTheLibrary: no ping keeps it, no exit ends it.
func TestWireKeepsTheSessionFromTheLibrary(t *testing.T) {
	w, server := pair(t, nil, true)
	passed := make(chan int32, 10)
	go func() {
		defer close(passed)
		_, _ = io.ReadFull(server, make([]byte, 48))
		for {
			b := make([]byte, 12)
			if _, err := io.ReadFull(server, b); err != nil {
				return
			}
			passed <- int32(binary.BigEndian.Uint32(b[8:]))
		}
	}()
	for _, op := range []int32{0, opPing, 3, opPing} {
		if err := send(t, w, request(op)); err != nil {
			t.Fatal(err)
		}
	}
	if err := send(t, w, request(opClose)); !errors.Is(err, errNotClosing) {
		t.Errorf("closing the session: %v", err)
	}
	var got []int32
	for op := range passed {
		got = append(got, op)
	}
	if len(got) != 1 || got[0] != 3 {
		t.Errorf("the server saw operations %v, want 3 only", got)
	}
	select {
	case <-w.ended:
	default:
		t.Error("the connection stands after the library gave it up")
	}
}

// FuzzConnectReply: whatever a server says, a session is learned only from a
// whole and plausible reply, and any split of it gives the same.
func FuzzConnectReply(f *testing.F) {
	f.Add(reply(1000, 5, make([]byte, passwordSize)), uint8(3))
	f.Add(reply(1000, 0, make([]byte, passwordSize)), uint8(1))
	f.Add(reply(-1, 5, nil), uint8(7))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, split uint8) {
		learn := func(step int) *wire {
			w := newWire(nil, clock.Real{}, nil, true)
			for rest := data; len(rest) > 0; {
				n := min(step, len(rest))
				w.learn(rest[:n])
				rest = rest[n:]
			}
			return w
		}
		whole, parts := learn(max(1, len(data))), learn(int(split)+1)
		if whole.complete != parts.complete || whole.identity.ID != parts.identity.ID || whole.granted != parts.granted || (whole.err == nil) != (parts.err == nil) {
			t.Errorf("%+v differs from %+v", whole, parts)
		}
		if whole.complete && whole.err == nil && (whole.identity.ID == 0 || whole.granted <= 0 || len(whole.identity.Password) != passwordSize) {
			t.Errorf("learned %+v", whole)
		}
	})
}
