package api

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// Limits of all requests together: whatever is asked, and by how many, the
// agent beside us keeps its memory, its file descriptors and its turn.
const (
	maxConns   = 256 // connections at once
	maxChanges = 16  // requests that change something, waiting ones too
)

// slots bounds how many handlers of one kind run at once.
type slots chan struct{}

// enter takes a slot if one is free; the caller calls leave then.
func (s slots) enter() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) leave() { <-s }

// pool holds the open connections, those first whose last request ended (or
// that were opened) first.
type pool struct {
	max int
	mu  sync.Mutex
	all list.List // of *conn
}

// conn is one connection. serving: a request was read to the end of its header
// and is being answered.
type conn struct {
	net.Conn
	pool    *pool
	place   *list.Element // nil when it is closed
	serving bool
	// policy of the moment when it was accepted: its TLS settings hold for it.
	policy *policy
}

// add takes a new connection in. When there are too many, the one goes that has
// been idle or busy sending its header for longest: a slow or silent client
// must not keep others out. It returns nil, and c is closed, when all others
// are being served.
func (p *pool) add(c net.Conn, pol *policy) *conn {
	p.mu.Lock()
	if p.all.Len() >= p.max && !p.evict() {
		p.mu.Unlock()
		c.Close()
		return nil
	}
	n := &conn{Conn: c, pool: p, policy: pol}
	n.place = p.all.PushBack(n)
	p.mu.Unlock()
	return n
}

// evict closes the first connection that is not being served; p.mu is held.
func (p *pool) evict() bool {
	for e := p.all.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); !c.serving {
			p.all.Remove(e)
			c.place = nil
			c.Conn.Close()
			return true
		}
	}
	return false
}

// serve marks the connection while a request on it is answered.
func (c *conn) serve(on bool) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.serving = on
	if c.place != nil {
		c.pool.all.MoveToBack(c.place)
	}
}

// Close closes the connection and gives its place free.
func (c *conn) Close() error {
	c.pool.mu.Lock()
	if c.place != nil {
		c.pool.all.Remove(c.place)
		c.place = nil
	}
	c.pool.mu.Unlock()
	return c.Conn.Close()
}

// listener bounds the connections and wraps each new one in TLS when the policy
// of that moment says so; the handshake happens in the connection's own
// goroutine.
type listener struct {
	net.Listener
	policy *atomic.Pointer[policy]
	pool   *pool
}

// Accept returns the next connection that there is room for.
func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		pol := l.policy.Load()
		c := l.pool.add(raw, pol)
		switch {
		case c == nil:
			continue
		case pol.tls != nil:
			return tls.Server(c, pol.tls), nil
		}
		return c, nil
	}
}

type connKey struct{}

// withConn lets the handlers of a connection find it.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// connOf is the connection of a request; nil in tests without a network.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}
