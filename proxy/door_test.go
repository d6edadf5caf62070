package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

func TestDoor(t *testing.T) {
	d := newDoor(2, 1)
	now, one := boot.Instant(time.Hour), netip.MustParseAddr("10.0.0.1")
	enter := func(want string) func() {
		t.Helper()
		leave, err := d.enter(one, now)
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Fatalf("%v, want %q", err, want)
		}
		return leave
	}
	first := enter("")
	enter("")
	enter("has 2 connections already")
	if _, err := d.enter(netip.MustParseAddr("10.0.0.2"), now); err != nil {
		t.Error("another address:", err)
	}
	first()
	for range loginBurst - 2 {
		enter("")()
	}
	enter("more often than 1 times a second")
	now = now.Add(time.Second)
	enter("")()
	enter("more often")
	now = now.Add(-time.Minute) // read before another's
	enter("more often")
}

// However many addresses there are, few are remembered; those with clients are.
func TestDoorForgets(t *testing.T) {
	d := newDoor(1, 1)
	now := boot.Instant(time.Hour)
	guest := netip.MustParseAddr("192.0.2.1")
	leave, err := d.enter(guest, now)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 * maxVisitors {
		now = now.Add(time.Microsecond)
		out, err := d.enter(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), now)
		if err != nil {
			t.Fatal(err)
		}
		out()
		if len(d.visitors) > maxVisitors+2 || d.idle > maxVisitors {
			t.Fatalf("%d addresses, %d idle", len(d.visitors), d.idle)
		}
	}
	if _, err := d.enter(guest, now); err == nil {
		t.Error("a guest was forgotten")
	}
	leave()
}

func TestVisitorOf(t *testing.T) {
	for text, want := range map[string]string{"10.1.2.3:5": "10.1.2.3", "[::ffff:10.1.2.3]:5": "10.1.2.3", "[2001:db8:1:2:3:4:5:6]:5": "2001:db8:1:2::", "[fe80::1%eth0]:5": "fe80::"} {
		if got := visitorOf(addrOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)))); got.String() != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := visitorOf(addrOf(&net.UnixAddr{})); got.IsValid() {
		t.Error(got)
	}
}

// A port that is full says so, still passes on requests to cancel, and lets others in
// when somebody leaves.
func TestLimitOfClients(t *testing.T) {
	p, f := start(t, func(o *Options) { o.MaxClients = 1 })
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	c := connect(t, p.Addr())
	c.wantMember("a")
	over := dialRaw(t, p.Addr())
	over.startup()
	if text := over.wantEnd(stateTooMany); !strings.Contains(text, "port read-write has 1 clients") {
		t.Error(text)
	}
	done := make(chan error, 1)
	go func() { _, err := c.query("sleep"); done <- err }()
	eventually(t, "the query runs", func() bool { return a.queries.Load() == 2 })
	dialRaw(t, p.Addr()).c.Write(cancelRequest(cancelKey(c.key)))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.c.Close()
	eventually(t, "it has left", func() bool { return p.ports[0].inside.Load() == 0 })
	connect(t, p.Addr()).wantMember("a")
}

func TestLimitsOfAnAddress(t *testing.T) {
	p, f := start(t, func(o *Options) { o.MaxClientsPerAddress = 2 })
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	connect(t, p.Addr()).wantMember("a")
	connect(t, p.ReplicasAddr()).wantMember("a")
	c := dialRaw(t, p.Addr())
	c.startup()
	if text := c.wantEnd(stateTooMany); !strings.Contains(text, "127.0.0.1 has 2 connections") {
		t.Error(text)
	}
}

// Behind a balancer the limits are those of the addresses that it tells, and whoever ends
// before, or is not let in, leaves nothing behind.
func TestLimitsBehindABalancer(t *testing.T) {
	p, f := start(t, func(o *Options) {
		o.Trusted, o.MaxClientsPerAddress, o.StartupLimit = loopback, 1, 20
	})
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	from := func(header string) *client {
		c := dialRaw(t, p.Addr())
		c.c.Write([]byte(header))
		c.startup()
		return c
	}
	const one, two = "PROXY TCP4 192.0.2.1 10.0.0.1 12345 5000\r\n", "PROXY TCP4 192.0.2.2 10.0.0.1 12345 5000\r\n"
	var inside []*client
	for _, header := range []string{one, two, "PROXY UNKNOWN\r\n", "PROXY UNKNOWN\r\n", v2(0x20, 0)} {
		c := from(header)
		if err := c.ready(); err != nil {
			t.Fatalf("%q: %v", header, err)
		}
		inside = append(inside, c)
	}
	if text := from(one).wantEnd(stateTooMany); !strings.Contains(text, "192.0.2.1 has 1 connections") {
		t.Error(text)
	}
	// One that is not let in may cancel.
	done := make(chan error, 1)
	go func() { _, err := inside[0].query("sleep"); done <- err }()
	eventually(t, "the query runs", func() bool { return a.queries.Load() == 1 })
	canceler := dialRaw(t, p.Addr())
	canceler.requestTLS(append([]byte(one), sslRequest...), 'N')
	canceler.c.Write(cancelRequest(cancelKey(inside[0].key)))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	from("PROXY TCP4 nonsense\r\n").wantEnd(stateBadProtocol)
	var silent []*client
	for range 30 { // above the limit of those that are awaited
		silent = append(silent, dialRaw(t, p.Addr()))
	}
	for _, c := range append(inside, silent...) {
		c.c.Close()
	}
	eventually(t, "all have left", func() bool {
		p.door.mu.Lock()
		defer p.door.mu.Unlock()
		return p.ports[0].clients.now.Load() == 0 && p.ports[0].inside.Load() == 0 && len(p.denials) == 0 && awaited(p) == 0 && p.door.idle == len(p.door.visitors)
	})
	if err := from(one).ready(); err != nil {
		t.Fatal(err)
	}
}

// All that a client sends before its session has one bound of time.
func TestOneBoundForTheStartup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Options{Listen: "127.0.0.1:0", Views: newFeed()})
		if err != nil {
			t.Fatal(err)
		}
		_, c := tcpPair(t)
		s := &session{p: p, port: p.ports[0], client: c, patience: time.Minute}
		for range 2 {
			if !s.within(t.Context(), func() bool { time.Sleep(20 * time.Second); return true }) {
				t.Fatal("it was not run")
			}
		}
		if s.patience != 20*time.Second {
			t.Errorf("%s are left of a minute", s.patience)
		}
		s.patience = 0
		if s.within(t.Context(), func() bool { _, err := c.Read(make([]byte, 1)); return err == nil }) {
			t.Error("it was awaited when its time was over")
		}
	})
}
