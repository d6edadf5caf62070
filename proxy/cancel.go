package proxy

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// maxCancels bounds the cancel requests under way: each costs connections, and
// anybody may send one.
const maxCancels = 64

// cancels knows which backend gave which cancel key.
type cancels struct {
	timeout time.Duration
	slots   chan struct{}

	mu   sync.Mutex
	keys map[cancelKey]*gate
}

func newCancels(timeout time.Duration) *cancels {
	return &cancels{timeout: timeout, slots: make(chan struct{}, maxCancels), keys: map[cancelKey]*gate{}}
}

func (c *cancels) add(k cancelKey, g *gate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[k] = g
}

func (c *cancels) remove(k cancelKey, g *gate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys[k] == g {
		delete(c.keys, k)
	}
}

func (c *cancels) find(k cancelKey) *gate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys[k]
}

// cancel passes a cancel request to the backend whose key it repeats. A key
// that was never seen may belong to an encrypted session: then it goes to the
// backends that have such sessions, and the others' servers ignore it. A client
// that is held has no key yet, so its request can hit nobody else.
func (p *Proxy) cancel(ctx context.Context, pt *port, pkt packet) {
	select {
	case p.cancels.slots <- struct{}{}:
		defer func() { <-p.cancels.slots }()
	default:
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.cancels.timeout)
	defer cancel()
	var targets []*gate
	if g := p.cancels.find(pkt.cancelKey()); g != nil {
		targets = []*gate{g}
	} else {
		targets = p.table.opaque(pt.reads())
	}
	var wg sync.WaitGroup
	for _, g := range targets {
		wg.Go(func() { p.sendCancel(ctx, g, pkt.raw) })
	}
	wg.Wait()
}

// sendCancel delivers the request through the gate, like any other bytes for
// the backend, and waits until the server has hung up, which it does after
// signalling: the client's own wait then means what it means on a direct
// connection. It ends early when the gate is shut or ctx ends.
func (p *Proxy) sendCancel(ctx context.Context, g *gate, raw []byte) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	if !g.open() {
		return
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", g.backend.Addr)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(longPast) })()
	c := conn.(*net.TCPConn)
	pipe, err := newPipe(g, p.buffers, c, c, nil)
	if err != nil || pipe.send(raw) != nil {
		return
	}
	io.Copy(io.Discard, io.LimitReader(c, 1))
}

// opaque lists the gates that have encrypted sessions, those to replicas too if asked.
func (t *table) opaque(replicas bool) []*gate {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*gate
	add := func(g *gate) {
		if g != nil && g.opaque.Load() > 0 {
			out = append(out, g)
		}
	}
	add(t.leader)
	if replicas {
		for _, g := range t.replicas {
			add(g)
		}
	}
	return out
}
