package proxy

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

// ended waits until the connection is over, for whatever reason but the client's own
// deadline.
func (c *client) ended() {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.c); errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the connection stays")
	}
}

// Clients that begin a packet, a handshake or nothing and then wait: the oldest make
// room for the newest, and who speaks is served.
func TestClientsThatSayNothing(t *testing.T) {
	const limit = 10
	log := new(lockedLog)
	p, f := startTLS(t, func(o *Options) {
		o.StartupLimit, o.Logger = limit, slog.New(slog.NewTextHandler(log, nil))
	})
	f.send(t, "a", newMember(t, "a", "primary", long))
	before := connect(t, p.Addr())
	var idle []*client
	for i := range 3 * limit {
		c := dialRaw(t, p.Addr())
		c.c.Write([][]byte{nil, {0}, {0, 0, 39, 16, 0, 3}, {0x16}, {0x16, 3, 1, 2, 0, 1}}[i%5])
		idle = append(idle, c)
		// One after the other, so that it is known who came first.
		eventually(t, "it is awaited", func() bool { return p.Stats().Ports[0].Accepted == int64(i+2) && awaited(p) >= min(i+1, limit) })
	}
	for _, c := range idle[:limit] {
		c.ended()
	}
	connect(t, p.Addr()).wantMember("a")
	connectTLS(t, p.Addr()).wantMember("a")
	before.wantMember("a")
	if n := awaited(p); n > limit {
		t.Errorf("%d are awaited", n)
	}
	if n := strings.Count(log.String(), "send nothing"); n != 1 {
		t.Errorf("told %d times: %s", n, log)
	}
}

func awaited(p *Proxy) int {
	p.lobby.mu.Lock()
	defer p.lobby.mu.Unlock()
	return p.lobby.waiting.Len()
}

// A packet that never ends, and packets without end.
func TestStartupWithoutEnd(t *testing.T) {
	p, f := startTLS(t, func(o *Options) { o.StartupTimeout = 200 * time.Millisecond })
	f.send(t, "a", newMember(t, "a", "primary", long))
	slow := dialRaw(t, p.Addr())
	slow.c.Write([]byte{0, 0, 39, 16, 0, 3, 0, 0, 'u'})
	slow.ended()
	endless := dialRaw(t, p.Addr())
	endless.c.Write(bytes.Repeat(gssRequest, 100))
	if got, _ := io.ReadAll(endless.c); !bytes.HasPrefix(got, []byte("NNNE")) {
		t.Fatalf("answered by %q", got)
	}
	connect(t, p.Addr()).wantMember("a")
	eventually(t, "they are gone", func() bool { return p.Stats().Ports[0].Clients.Now == 1 })
}

// A server that takes connections and says nothing costs its own clients the time to
// hold, and others nothing.
func TestServerThatSaysNothing(t *testing.T) {
	p, f := start(t, func(o *Options) { o.HoldTimeout = 300 * time.Millisecond })
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	a.mute = true
	f.send(t, "a", a, b)
	answered(t, p, 1)
	var stuck []*client
	for range 20 {
		c := dialRaw(t, p.Addr())
		c.startup()
		stuck = append(stuck, c)
	}
	connect(t, p.ReplicasAddr()).wantMember("b")
	for _, c := range stuck {
		c.wantEnd(stateNoPrimary)
	}
	eventually(t, "they are gone", func() bool { return p.Stats().Ports[0].Clients.Now == 0 })
	a.set(func() { a.mute = false })
	connect(t, p.Addr()).wantMember("a")
}
