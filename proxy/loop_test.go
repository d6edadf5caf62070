package proxy

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

var bothEngines = []Engine{EngineEvents, EngineGoroutines}

// withEngines runs a test with each engine, before a member whose server is f, for one
// session.
func withEngines(t *testing.T, f func(c *net.TCPConn), test func(t *testing.T, p *Proxy, c *net.TCPConn)) {
	for _, e := range bothEngines {
		t.Run(string(e), func(t *testing.T) {
			p, feed := start(t, func(o *Options) { o.Engine = e })
			m := newMember(t, "a", "primary", long)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			m.server = ln.Addr().String()
			go func() {
				if c, err := ln.Accept(); err == nil {
					readPacket(c)
					f(c.(*net.TCPConn))
				}
			}()
			feed.send(t, "a", m)
			c, err := net.Dial("tcp", p.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			c.SetDeadline(time.Now().Add(time.Minute)) // of a test that would hang
			startup, err := (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "u"}}).Encode(nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(startup); err != nil {
				t.Fatal(err)
			}
			test(t, p, c.(*net.TCPConn))
		})
	}
}

var (
	authenticated = []byte{'R', 0, 0, 0, 8, 0, 0, 0, 0}
	ready         = []byte{'Z', 0, 0, 0, 5, 'I'}
)

// A client sends much before its session has begun, and the server reads none of it
// before somebody reads its answer: both directions are full when the session changes
// hands.
func TestFullPipelineAcrossTheHandOver(t *testing.T) {
	const size, rows = 16 << 20, 4096
	full, got := make(chan struct{}), make(chan int64, 1)
	withEngines(t, func(c *net.TCPConn) {
		defer c.Close()
		c.Write(authenticated)
		<-full
		c.Write(ready)
		row := append([]byte{'D', 0, 0, 0, 0}, make([]byte, 8<<10)...)
		binary.BigEndian.PutUint32(row[1:], uint32(len(row)-1))
		for range rows {
			if _, err := c.Write(row); err != nil {
				break
			}
		}
		n, _ := io.Copy(io.Discard, io.LimitReader(c, size))
		got <- n
	}, func(t *testing.T, _ *Proxy, c *net.TCPConn) {
		go c.Write(make([]byte, size))
		blocked(t, c)
		full <- struct{}{}
		if n, err := io.CopyN(io.Discard, c, int64(rows*(8<<10))); err != nil {
			t.Fatalf("%d bytes of the answer: %v", n, err)
		}
		go io.Copy(io.Discard, c)
		if n := <-got; n != size {
			t.Fatalf("the server got %d bytes of %d", n, size)
		}
	})
}

// What waits for a former leader is thrown away with a reset when its time is over.
func TestWhatWaitsIsResetAtTheDeadline(t *testing.T) {
	release, end := make(chan struct{}), make(chan error, 1)
	withEngines(t, func(c *net.TCPConn) {
		c.Write(append(authenticated[:len(authenticated):len(authenticated)], ready...))
		<-release
		_, err := io.Copy(io.Discard, c)
		end <- err
	}, func(t *testing.T, p *Proxy, c *net.TCPConn) {
		if _, err := io.ReadFull(c, make([]byte, len(authenticated)+len(ready))); err != nil {
			t.Fatal(err)
		}
		go c.Write(make([]byte, 64<<20))
		blocked(t, c)
		p.table.mu.Lock()
		p.table.shutLeader("test", "")
		p.table.mu.Unlock()
		eventually(t, "the session was ended", func() bool { return p.Stats().Ports[0].Clients.Now == 0 })
		release <- struct{}{}
		if err := <-end; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server saw the end as %v, want a reset", err)
		}
	})
}

// A client's reset is the client's end, and so is a farewell that came before the
// session was handed over.
func TestWhoEndedASession(t *testing.T) {
	var farewells atomic.Int64
	t.Run("reset", func(t *testing.T) {
		withEngines(t, func(c *net.TCPConn) {
			c.Write(append(authenticated[:len(authenticated):len(authenticated)], ready...))
			io.Copy(io.Discard, c)
			c.Close()
		}, func(t *testing.T, p *Proxy, c *net.TCPConn) {
			if _, err := io.ReadFull(c, make([]byte, len(authenticated)+len(ready))); err != nil {
				t.Fatal(err)
			}
			c.SetLinger(0)
			c.Close()
			eventually(t, "it is over", func() bool { return p.Stats().Ports[0].Clients.Now == 0 })
			if n := p.outages.drops.Load(); n != 0 {
				t.Errorf("%d sessions count as ended by the server", n)
			}
		})
	})
	t.Run("farewell", func(t *testing.T) {
		withEngines(t, func(c *net.TCPConn) {
			c.Write(authenticated)
			io.ReadFull(c, make([]byte, len(farewell)))
			farewells.Add(1)
			c.Write(ready)
			c.Close()
		}, func(t *testing.T, p *Proxy, c *net.TCPConn) {
			if _, err := io.ReadFull(c, make([]byte, len(authenticated))); err != nil {
				t.Fatal(err)
			}
			c.Write(farewell[:])
			io.Copy(io.Discard, c)
			c.Close()
			eventually(t, "it is over", func() bool { return p.Stats().Ports[0].Clients.Now == 0 })
			if n := p.outages.drops.Load(); n != 0 {
				t.Errorf("%d sessions count as ended by the server", n)
			}
			if p.outages.lastByte.Load() == 0 {
				t.Error("the client's last byte was forgotten")
			}
		})
	})
	if farewells.Load() != int64(len(bothEngines)) {
		t.Error("a farewell did not reach the server")
	}
}

// All descriptors of a loop's sessions are given back, however they end.
func TestLoopForgetsItsSessions(t *testing.T) {
	p, f := start(t, nil)
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	for i := range 60 {
		c := connect(t, p.Addr())
		c.wantMember("a")
		switch i % 3 {
		case 0:
			c.c.(*net.TCPConn).SetLinger(0)
		case 1:
			c.c.Write(farewell[:])
		}
		c.c.Close()
	}
	eventually(t, "all are over", func() bool { return p.Stats().Ports[0].Clients.Now == 0 })
	for _, l := range p.loops {
		if n := l.links.Load(); n != 0 {
			t.Errorf("%d links are left", n)
		}
		seen := make(chan int, 1)
		l.post(func() {
			left := 0
			for _, e := range l.ends {
				if e != nil {
					left++
				}
			}
			seen <- left
		})
		if n := <-seen; n != 0 {
			t.Errorf("%d ends are left", n)
		}
	}
}
