package lab

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// Relay stands between members and a store. It forwards everything, until it is
// told to lose replies: then requests still reach the store, and the connection
// ends before the answer does.
type Relay struct {
	Addr string
	to   string

	mu     sync.Mutex
	marker string
	left   int
	lost   int
	mute   bool
	conns  map[*relayed]bool
}

// StartRelay listens on the address and relays to another.
func StartRelay(t testing.TB, here, to string) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", here+":0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Addr: l.Addr().String(), to: to, conns: map[*relayed]bool{}}
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		for c := range r.conns {
			c.close()
		}
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(c)
		}
	}()
	return r
}

// LoseReplies loses the replies to the next n requests that contain the text.
func (r *Relay) LoseReplies(text string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marker, r.left, r.lost = text, n, 0
}

// Lost is how many replies were lost since LoseReplies.
func (r *Relay) Lost() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// Mute loses every reply while on; when it goes off the connections end.
func (r *Relay) Mute(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = on
	for c := range r.conns {
		if !on {
			c.close()
		}
	}
}

type relayed struct {
	down, up net.Conn
	once     sync.Once
}

func (c *relayed) close() { c.once.Do(func() { c.down.Close(); c.up.Close() }) }

func (r *Relay) serve(down net.Conn) {
	up, err := net.DialTimeout("tcp", r.to, time.Second)
	if err != nil {
		down.Close()
		return
	}
	c := &relayed{down: down, up: up}
	r.mu.Lock()
	r.conns[c] = true
	r.mu.Unlock()
	defer func() {
		c.close()
		r.mu.Lock()
		delete(r.conns, c)
		r.mu.Unlock()
	}()
	deaf := make(chan struct{})
	go r.replies(c, deaf)
	buf := make([]byte, 64<<10)
	for {
		n, err := down.Read(buf)
		if err != nil {
			return
		}
		if r.hit(buf[:n]) {
			close(deaf) // before the request goes on: nothing of its answer gets through
			_, _ = up.Write(buf[:n])
			time.Sleep(100 * time.Millisecond) // the store acts on it
			return
		}
		if _, err := up.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (r *Relay) hit(request []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left == 0 || !bytes.Contains(request, []byte(r.marker)) {
		return false
	}
	r.left--
	r.lost++
	return true
}

func (r *Relay) replies(c *relayed, deaf chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.up.Read(buf)
		if err != nil {
			c.close()
			return
		}
		r.mu.Lock()
		drop := r.mute
		r.mu.Unlock()
		select {
		case <-deaf:
			drop = true
		default:
		}
		if drop {
			continue
		}
		if _, err := c.down.Write(buf[:n]); err != nil {
			c.close()
			return
		}
	}
}
