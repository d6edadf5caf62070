package proxy

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/route"
)

// tcpPair returns both ends of a connection.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// The receiver is slow, a write waits in the middle, and the deadline passes
// meanwhile: the rest of what was read is not sent when there is room again.
func TestBlockedWriteStopsAtTheDeadline(t *testing.T) {
	source, src := tcpPair(t)
	dst, sink := tcpPair(t)
	dst.SetWriteBuffer(4 << 10)
	sink.SetReadBuffer(4 << 10)
	clk := &shiftClock{}
	g := newGate(route.Backend{}, clk, clk.Now().Add(time.Minute))
	var sent atomic.Int64
	p, err := newPipe(g, newBuffers(), src, dst, func(b []byte) { sent.Add(int64(len(b))) })
	if err != nil {
		t.Fatal(err)
	}
	go source.Write(make([]byte, 64<<20))
	done := make(chan error, 1)
	go func() { done <- p.run() }()
	blocked(t, dst)
	stuck := sent.Load()
	clk.shift.Store(int64(2 * time.Minute))
	go io.Copy(io.Discard, sink)
	if err := <-done; !errors.Is(err, errShut) {
		t.Fatalf("ended with %v", err)
	}
	if n := sent.Load(); n != stuck {
		t.Fatalf("%d bytes were sent after the deadline", n-stuck)
	}
}

// blocked waits until bytes wait in a connection's send queue and none leave it. The
// system tells of no such moment, so it is looked at.
func blocked(t *testing.T, c *net.TCPConn) {
	t.Helper()
	for last := -1; ; time.Sleep(20 * time.Millisecond) {
		n := queued(t, c)
		if n > 0 && n == last {
			return
		}
		last = n
	}
}

// queued returns how many bytes wait in a connection's send queue.
func queued(t *testing.T, c *net.TCPConn) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A connection to a primary that is closed with something unacknowledged does not live
// on in the system for longer than its gate.
func TestClosedConnectionsEndWithTheirGate(t *testing.T) {
	clk := &shiftClock{}
	for name, c := range map[string]struct {
		until time.Duration // 0: a replica's gate
		shift time.Duration
		reset bool
	}{
		"primary": {until: 10 * time.Second},
		"replica": {},
		"over":    {until: 10 * time.Second, shift: time.Minute, reset: true},
	} {
		t.Run(name, func(t *testing.T) {
			clk.shift.Store(0)
			until := noDeadline
			if c.until > 0 {
				until = clk.Now().Add(c.until)
			}
			g := newGate(route.Backend{}, clk, until)
			clk.shift.Store(int64(c.shift))
			conn, _ := tcpPair(t)
			raw, err := conn.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			var limit int
			var linger *unix.Linger
			raw.Control(func(fd uintptr) {
				g.bound(int(fd))
				limit, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
				var more error
				linger, more = unix.GetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER)
				err = errors.Join(err, more)
			})
			if err != nil {
				t.Fatal(err)
			}
			if bounded := limit > 0 && limit <= int(c.until.Milliseconds()); bounded != (c.until > 0 && !c.reset) {
				t.Errorf("the system gives up after %d ms", limit)
			}
			if reset := linger.Onoff != 0 && linger.Linger == 0; reset != c.reset {
				t.Errorf("it is closed with a reset: %t", reset)
			}
		})
	}
}
