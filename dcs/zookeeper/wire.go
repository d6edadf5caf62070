package zookeeper

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// Identity is what proves a session to a server. Whoever has it owns the session
// and all its keys.
type Identity struct {
	ID       int64
	Password []byte
}

// String hides the password.
func (i Identity) String() string { return sessionID(i.ID) }

// GoString hides the password.
func (i Identity) GoString() string { return i.String() }

// Operation codes of requests that are treated specially.
const (
	opPing  = 11
	opClose = -11
)

// The connect request: length 4, protocol version 4, last zxid 8, timeout 4,
// session id 8, password 4+16. The reply: length 4, protocol version 4,
// timeout 4, session id 8, password 4+n.
const (
	requestIDAt       = 4 + 4 + 8 + 4
	requestPasswordAt = requestIDAt + 8 + 4
	passwordSize      = 16
	replyTimeoutAt    = 4 + 4
	replyIDAt         = replyTimeoutAt + 4
	replyPasswordAt   = replyIDAt + 8 + 4
	maxReply          = 1 << 10
)

var (
	errNotClosing = errors.New("a session is closed only by End")
	errExpired    = errors.New("the server says that the session has expired")
)

// wire is the one connection that a library client gets. It knows that the
// library writes each request with one call.
type wire struct {
	net.Conn
	clk clock.Clock
	// inherit, when set, is presented instead of asking for a new session.
	inherit *Identity
	// quiet drops pings, and the read timeouts that go with them.
	quiet bool

	connected chan struct{} // closed when the reply to the connect request is in
	ended     chan struct{} // closed when the connection is over
	endOnce   sync.Once

	mu       sync.Mutex
	sent     boot.Instant // before the connect request was sent; zero: not yet
	reply    []byte       // what came of the connect reply so far
	complete bool
	mayClose bool
	identity Identity
	granted  time.Duration
	err      error // why the connect failed
}

func newWire(c net.Conn, clk clock.Clock, inherit *Identity, quiet bool) *wire {
	return &wire{Conn: c, clk: clk, inherit: inherit, quiet: quiet,
		connected: make(chan struct{}), ended: make(chan struct{})}
}

// Write passes a request on, or not.
func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	first, mayClose := w.sent.IsZero(), w.mayClose
	if first {
		w.sent = w.clk.Now()
	}
	w.mu.Unlock()
	if first {
		return w.writeConnect(b)
	}
	if len(b) >= 12 {
		switch int32(binary.BigEndian.Uint32(b[8:])) {
		case opPing:
			if w.quiet {
				return len(b), nil
			}
		case opClose:
			if !mayClose {
				w.Close()
				return 0, errNotClosing
			}
		}
	}
	return w.Conn.Write(b)
}

func (w *wire) writeConnect(b []byte) (int, error) {
	if w.inherit == nil {
		return w.Conn.Write(b)
	}
	if len(b) < requestPasswordAt+passwordSize || len(w.inherit.Password) != passwordSize {
		return 0, fmt.Errorf("connect request of %d bytes cannot carry session %s", len(b), w.inherit)
	}
	b = append([]byte(nil), b...)
	binary.BigEndian.PutUint64(b[requestIDAt:], uint64(w.inherit.ID))
	copy(b[requestPasswordAt:], w.inherit.Password)
	return w.Conn.Write(b)
}

// Read passes answers on and reads the first one itself.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.learn(b[:n])
	}
	if err != nil {
		w.end()
	}
	return n, err
}

// learn collects the connect reply and reads it once it is complete.
func (w *wire) learn(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.complete {
		return
	}
	w.reply = append(w.reply, b...)
	done, err := w.parseReply()
	if err != nil || done {
		w.complete, w.err, w.reply = true, err, nil
		close(w.connected)
	}
}

// parseReply reads the connect reply; done is false while bytes are missing.
func (w *wire) parseReply() (done bool, err error) {
	r := w.reply
	if len(r) < 4 {
		return false, nil
	}
	size := int(binary.BigEndian.Uint32(r))
	if size < replyPasswordAt-4 || size > maxReply {
		return false, fmt.Errorf("connect reply of %d bytes: this is no ZooKeeper server", size)
	}
	if len(r) < 4+size {
		return false, nil
	}
	timeout := int32(binary.BigEndian.Uint32(r[replyTimeoutAt:]))
	id := int64(binary.BigEndian.Uint64(r[replyIDAt:]))
	length := int(int32(binary.BigEndian.Uint32(r[replyPasswordAt-4:])))
	if id == 0 || timeout <= 0 {
		return false, errExpired
	}
	if w.inherit != nil && id != w.inherit.ID {
		return false, fmt.Errorf("asked for session %s, got %s", w.inherit, sessionID(id))
	}
	if length != passwordSize || replyPasswordAt+length > 4+size {
		return false, fmt.Errorf("connect reply with a password of %d bytes, want %d", length, passwordSize)
	}
	w.granted = time.Duration(timeout) * time.Millisecond
	w.identity = Identity{ID: id, Password: append([]byte(nil), r[replyPasswordAt:replyPasswordAt+length]...)}
	return true, nil
}

// SetReadDeadline does nothing before the connect is answered, since open has a
// deadline of its own for that, and nothing on a quiet connection: no answers
// come where none is asked for, and callers have their own deadlines.
func (w *wire) SetReadDeadline(t time.Time) error {
	if w.quiet || !w.isConnected() {
		t = time.Time{}
	}
	return w.Conn.SetReadDeadline(t)
}

func (w *wire) isConnected() bool {
	select {
	case <-w.connected:
		return true
	default:
		return false
	}
}

// Close ends the connection, and with it the library client's only one.
func (w *wire) Close() error {
	w.end()
	err := w.Conn.Close()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (w *wire) end() { w.endOnce.Do(func() { close(w.ended) }) }

// allowClose lets the next request to close the session pass.
func (w *wire) allowClose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mayClose = true
}
