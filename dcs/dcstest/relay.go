package dcstest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Relay forwards TCP connections to a server and can damage them. It implements
// Link.
type Relay struct {
	listener net.Listener

	mu     sync.Mutex
	target string
	cut    bool
	lossy  bool
	// stranded is closed when the server's side of connections that lost their
	// caller may end; nil when none are held.
	stranded chan struct{}
	held     chan struct{} // closed when answers may pass again; nil when they may
	conns    map[net.Conn]side
	wg       sync.WaitGroup
}

// side says to whom a connection leads.
type side int

const (
	caller side = iota
	called
)

// StartRelay forwards a free loopback port to target until the test ends.
func StartRelay(t testing.TB, target string) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{listener: l, target: target, conns: map[net.Conn]side{}}
	r.wg.Go(r.accept)
	t.Cleanup(func() { l.Close(); r.Cut(); r.wg.Wait() })
	return r
}

// Addr is where to connect to.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Cut implements Link.
func (r *Relay) Cut() { r.set(true, false, true) }

// LoseReplies implements Link: a connection on which a reply was lost is ended
// a little later, as a network does that has gone wrong.
func (r *Relay) LoseReplies() { r.set(false, true, false) }

// Mend implements Link. Connections that lost something are ended.
func (r *Relay) Mend() {
	r.mu.Lock()
	lossy := r.lossy
	r.mu.Unlock()
	r.set(false, false, lossy)
}

// Redirect ends all connections and forwards new ones to another server.
func (r *Relay) Redirect(target string) {
	r.mu.Lock()
	r.target = target
	r.mu.Unlock()
	r.set(false, false, true)
}

// Strand ends the callers' side of every connection, and leaves the server's side
// open and silent: the server does not learn that its callers have gone. Nobody
// can connect until Mend.
func (r *Relay) Strand() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = true
	if r.stranded == nil {
		r.stranded = make(chan struct{})
	}
	for c, s := range r.conns {
		if s == caller {
			c.Close()
		}
	}
}

// Hold keeps back what the server says, and lets callers' words pass, until the
// returned function is called.
func (r *Relay) Hold() (release func()) {
	held := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = held
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.held = nil
		close(held)
	})
}

// awaitRelease returns when a server may see that its caller has gone.
func (r *Relay) awaitRelease() {
	r.mu.Lock()
	stranded := r.stranded
	r.mu.Unlock()
	if stranded != nil {
		<-stranded
	}
}

func (r *Relay) set(cut, lossy, end bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut, r.lossy = cut, lossy
	if r.stranded != nil {
		close(r.stranded)
		r.stranded = nil
	}
	if end {
		for c := range r.conns {
			c.Close()
		}
	}
}

func (r *Relay) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.serve(c) })
	}
}

func (r *Relay) serve(client net.Conn) {
	defer client.Close()
	target, ok := r.track(client, caller)
	if !ok {
		return
	}
	defer r.forget(client)
	server, err := r.dial(target)
	if err != nil {
		return
	}
	defer server.Close()
	if now, ok := r.track(server, called); !ok || now != target {
		return
	}
	defer r.forget(server)
	var both sync.WaitGroup
	both.Go(func() { io.Copy(server, client); r.awaitRelease(); server.Close(); client.Close() })
	both.Go(func() { r.answers(client, server); r.awaitRelease(); server.Close(); client.Close() })
	both.Wait()
}

// dial reaches the server. One that is about to listen gets a moment: to callers
// that a server refuses, an accepted and ended connection is not the same.
func (r *Relay) dial(target string) (net.Conn, error) {
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", target)
		if err == nil || time.Now().After(end) || !r.leadsTo(target) {
			return c, err
		}
	}
}

func (r *Relay) leadsTo(target string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.cut && r.target == target
}

// answers copies what the server says, unless it is to be lost.
func (r *Relay) answers(client, server net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		lossy, held := r.lossy, r.held
		r.mu.Unlock()
		if held != nil {
			<-held
		}
		if lossy {
			// Time for the server to finish what it was asked, not only to take it in.
			server.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			continue
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// track remembers a connection, unless connections are cut at the moment, and
// says where it is to go.
func (r *Relay) track(c net.Conn, s side) (target string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.cut {
		r.conns[c] = s
	}
	return r.target, !r.cut
}

func (r *Relay) forget(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}
