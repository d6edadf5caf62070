package proxy

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// maxCancels bounds the cancel requests under way: each costs connections, and
// anybody may send one.
const maxCancels = 64

// cancels keeps the cancel keys that were issued to sessions. Their secrets are the
// entrypoint's own: a server's key would say nothing of which server it belongs to, and
// would not follow its session to another one. The process id stays the server's:
// applications compare it with what the server tells of its processes.
type cancels struct {
	timeout time.Duration
	slots   chan struct{}

	mu   sync.Mutex
	keys map[uint32][]*issued // by process id, of which each server may have the same
}

// issued is the key of one session.
type issued struct {
	key cancelKey // as the client has it

	mu     sync.Mutex
	gate   *gate // nil: the session has no backend, and there is nothing to cancel
	server cancelKey
}

func newCancels(timeout time.Duration) *cancels {
	return &cancels{timeout: timeout, slots: make(chan struct{}, maxCancels), keys: map[uint32][]*issued{}}
}

// issue makes a key of so many bytes, the process id's four among them.
func (c *cancels) issue(process uint32, size int) *issued {
	k := binary.BigEndian.AppendUint32(make([]byte, 0, size), process)[:size]
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		rand.Read(k[4:]) // it does not fail
		if c.match(cancelKey(k)) == nil {
			break
		}
	}
	is := &issued{key: cancelKey(k)}
	c.keys[process] = append(c.keys[process], is)
	return is
}

func (c *cancels) remove(k *issued) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := k.key.id()
	left := slices.DeleteFunc(c.keys[id], func(is *issued) bool { return is == k })
	if c.keys[id] = left; len(left) == 0 {
		delete(c.keys, id)
	}
}

// find returns the session's key that a request repeats, nil when it is none of ours.
func (c *cancels) find(k cancelKey) *issued {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.match(k)
}

// match is find for who holds the lock. It looks at all that have the process id, so
// that the time it takes tells nothing of the secrets.
func (c *cancels) match(k cancelKey) (found *issued) {
	for _, is := range c.keys[k.id()] {
		if subtle.ConstantTimeCompare([]byte(is.key), []byte(k)) == 1 {
			found = is
		}
	}
	return found
}

// leads makes the key stand for what a server gave the session.
func (is *issued) leads(g *gate, server cancelKey) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.gate, is.server = g, server
}

func (is *issued) target() (*gate, cancelKey) {
	is.mu.Lock()
	defer is.mu.Unlock()
	return is.gate, is.server
}

// cancel passes a cancel request on to the server of the session whose key it
// repeats. A key that was never issued may belong to a session whose encryption passes
// through: then it goes to the backends that have such sessions, and the others'
// servers ignore it.
func (p *Proxy) cancel(ctx context.Context, pt *port, pkt packet) {
	select {
	case p.cancels.slots <- struct{}{}:
		defer func() { <-p.cancels.slots }()
	default:
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.cancels.timeout)
	defer cancel()
	if is := p.cancels.find(pkt.cancelKey()); is != nil {
		if g, k := is.target(); g != nil {
			p.sendCancel(ctx, g, cancelRequest(k))
		}
		return
	}
	var wg sync.WaitGroup
	for _, g := range p.table.opaque(pt.reads()) {
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
