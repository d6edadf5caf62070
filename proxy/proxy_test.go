package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/matriarch-ha/matriarch/internal/freeport"
)

const long = time.Minute

func TestFollowsTheLeader(t *testing.T) {
	p, f := start(t, nil)
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	f.send(t, "a", a, b)
	answered(t, p, 1)
	rw, ro := connect(t, p.Addr()), connect(t, p.ReplicasAddr())
	rw.wantMember("a")
	ro.wantMember("b")

	// The key moves: old sessions end at once, although a's word still holds.
	b.set(func() { b.role, b.lease = "primary", long })
	f.send(t, "b", a, b)
	if text := rw.wantEnd(stateTerminated); !strings.Contains(text, "b is the leader now") {
		t.Fatal(text)
	}
	ro.wantEnd(stateTerminated) // no longer a replica
	connect(t, p.Addr()).wantMember("b")
}

func TestHoldsUntilAPrimaryAppears(t *testing.T) {
	p, f := start(t, nil)
	a := newMember(t, "a", "replica", 0)
	early := dialRaw(t, p.Addr())
	early.startup()
	f.send(t, "", a)
	later := dialRaw(t, p.Addr())
	later.startup()
	eventually(t, "two clients are held", func() bool { return p.Stats().Held == 2 })

	f.send(t, "a", a) // holds the key, and is not promoted yet
	eventually(t, "the leader was asked", func() bool { return strings.Contains(p.Stats().WhyNone, "not a primary") })
	if n := p.Stats().Held; n != 2 {
		t.Fatalf("%d held", n)
	}
	a.set(func() { a.role, a.lease = "primary", long })
	for _, c := range []*client{early, later} {
		if err := c.ready(); err != nil {
			t.Fatal(err)
		}
		c.wantMember("a")
	}
	eventually(t, "nobody is held", func() bool { return p.Stats().Held == 0 })
}

func TestHoldEndsWithAPlainError(t *testing.T) {
	p, f := start(t, func(o *Options) { o.HoldTimeout, o.HoldLimit = 50*time.Millisecond, 1 })
	f.send(t, "", newMember(t, "a", "replica", 0))
	c := dialRaw(t, p.Addr())
	c.startup()
	if text := c.wantEnd(stateNoPrimary); !strings.Contains(text, "nobody holds the leader key") {
		t.Fatal(text)
	}
	// With an encryption request first: denied, then told.
	c = dialRaw(t, p.Addr())
	c.c.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f})
	var answer [1]byte
	if _, err := io.ReadFull(c.c, answer[:]); err != nil || answer[0] != 'N' {
		t.Fatalf("%q %v", answer, err)
	}
	c.startup()
	c.wantEnd(stateNoPrimary)
}

func TestHoldLimit(t *testing.T) {
	p, f := start(t, func(o *Options) { o.HoldLimit = 1 })
	f.send(t, "", newMember(t, "a", "replica", 0))
	first := dialRaw(t, p.Addr())
	first.startup()
	eventually(t, "one is held", func() bool { return p.Stats().Held == 1 })
	second := dialRaw(t, p.Addr())
	second.startup()
	second.wantEnd(stateTooMany)
	first.c.Close() // hanging up frees the place
	eventually(t, "the place is free", func() bool { return p.Stats().Held == 0 })
}

func TestDeadlineEndsSessions(t *testing.T) {
	p, f := start(t, nil)
	a := newMember(t, "a", "primary", 700*time.Millisecond)
	f.send(t, "a", a)
	c := connect(t, p.Addr())
	c.wantMember("a")
	// While its word comes, the lease goes on well past one length.
	renewed := time.Now().Add(time.Second)
	eventually(t, "the lease was prolonged", func() bool { return time.Now().After(renewed) })
	c.wantMember("a")
	a.set(func() { a.silent = true })
	if text := c.wantEnd(stateTerminated); !strings.Contains(text, "lost its lease") {
		t.Fatal(text)
	}
	held := dialRaw(t, p.Addr())
	held.startup()
	eventually(t, "a new client is held", func() bool { return p.Stats().Held == 1 })
	a.set(func() { a.silent = false })
	if err := held.ready(); err != nil {
		t.Fatal(err)
	}
}

func TestLostLeaseByOwnWord(t *testing.T) {
	p, f := start(t, func(o *Options) { o.AskInterval = 20 * time.Millisecond })
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	c := connect(t, p.Addr())
	a.set(func() { a.lease = 0 })
	c.wantEnd(stateTerminated)
}

// The key vanishes, but its former holder still answers for itself, as one does
// that the other members keep without the store: sessions stay, and new ones come
// to it too, until it says that its lease is over.
func TestKeyVanishes(t *testing.T) {
	p, f := start(t, func(o *Options) { o.AskInterval = 20 * time.Millisecond })
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	c := connect(t, p.Addr())
	f.send(t, "", a)
	eventually(t, "nobody leads", func() bool { return p.Stats().Leader == "" })
	another := connect(t, p.Addr())
	c.wantMember("a")
	another.wantMember("a")
	a.set(func() { a.lease = 0 })
	c.wantEnd(stateTerminated)
	another.wantEnd(stateTerminated)
	held := dialRaw(t, p.Addr())
	held.startup()
	eventually(t, "a new client is held", func() bool { return p.Stats().Held == 1 })
}

// The store is lost, then the primary, and another member takes over: its own word
// is all that there is to be known, and enough.
func TestStoreAndPrimaryLost(t *testing.T) {
	p, f := start(t, func(o *Options) { o.AskInterval = 20 * time.Millisecond })
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	f.send(t, "a", a, b)
	c := connect(t, p.Addr())
	c.wantMember("a")
	f.lose(t)
	connect(t, p.Addr()).wantMember("a")
	a.set(func() { a.lease = 0 })
	c.wantEnd(stateTerminated)
	held := dialRaw(t, p.Addr())
	held.startup()
	eventually(t, "a new client is held", func() bool { return p.Stats().Held == 1 })
	b.set(func() { b.role, b.lease = "primary", long })
	connect(t, p.Addr()).wantMember("b")
	// The store is there again and says the same.
	f.send(t, "b", a, b)
	connect(t, p.Addr()).wantMember("b")
}

// The server of the former primary was started as a standby, and its agent cannot
// be asked any more: its last word is good for a while, its server is not.
func TestStandbyIsNoPrimary(t *testing.T) {
	p, f := start(t, func(o *Options) { o.AskInterval = 20 * time.Millisecond })
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	connect(t, p.Addr()).wantMember("a")
	a.set(func() { a.silent, a.standby = true, true })
	c := dialRaw(t, p.Addr())
	c.startup()
	c.wantEnd(stateNoPrimary)
	if n := a.queries.Load(); n != 1 {
		t.Errorf("%d queries reached the server, want the first one alone", n)
	}
}

// Replicas serve reads while nobody leads, and while the store is lost too.
func TestReadsWhileNobodyLeads(t *testing.T) {
	p, f := start(t, func(o *Options) { o.AskInterval = 20 * time.Millisecond })
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	asked := func() (n int) { b.set(func() { n = b.asked }); return n }
	reads := func() {
		t.Helper()
		before := asked()
		eventually(t, "it is asked twice more", func() bool { return asked() >= before+2 })
		connect(t, p.ReplicasAddr()).wantMember("b")
	}
	f.send(t, "a", a, b)
	reads()
	a.set(func() { a.lease = 0 })
	f.send(t, "", a, b)
	reads()
	f.lose(t)
	reads()
}

func TestFormerLeadersWordIsRefused(t *testing.T) {
	p, f := start(t, func(o *Options) { o.HoldTimeout = 300 * time.Millisecond })
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	f.send(t, "b", a, b)
	c := dialRaw(t, p.Addr())
	c.startup()
	c.wantEnd(stateNoPrimary)
	if n := len(a.reached); n != 0 {
		t.Fatal("a client reached the former leader")
	}
}

func TestPatroniLeader(t *testing.T) {
	p, f := start(t, func(o *Options) { o.AskInterval = 20 * time.Millisecond })
	a := newMember(t, "a", "primary", long)
	a.patroni = true
	f.send(t, "a", a)
	c := connect(t, p.Addr())
	c.wantMember("a")
	a.set(func() { a.lease = 0 }) // its health check turns 503
	c.wantEnd(stateTerminated)
}

// A process that was stopped past the deadline finds a query in its socket: it
// must not be forwarded, whatever timers say.
func TestNothingPassesAfterTheDeadline(t *testing.T) {
	clk := &shiftClock{}
	p, f := start(t, func(o *Options) { o.Clock, o.AskInterval = clk, 10*time.Second })
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	c := connect(t, p.Addr())
	c.wantMember("a")
	before := a.queries.Load()
	a.set(func() { a.silent = true })
	clk.shift.Store(int64(2 * time.Minute))
	c.query("write")
	if a.queries.Load() != before {
		t.Fatal("a query reached the server after the deadline")
	}
}

// Nor does a cancel request: by then it might hit somebody else's query.
func TestNoCancelAfterTheDeadline(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		clk := &shiftClock{}
		p, f := start(t, func(o *Options) { o.Clock, o.AskInterval = clk, 10*time.Second })
		a := newMember(t, "a", "primary", long)
		a.tls = encrypted
		f.send(t, "a", a)
		key := []byte("\x00\x00\x00\x07a---")
		if encrypted {
			c := dialRaw(t, p.Addr())
			c.c.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f})
			if _, err := io.ReadFull(c.c, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		} else {
			c := connect(t, p.Addr())
			c.wantMember("a")
			key = c.key
		}
		a.set(func() { a.silent = true })
		clk.shift.Store(int64(2 * time.Minute))
		sendCancel(t, p.Addr(), key)
		if len(a.canceled) != 0 {
			t.Fatal("a cancel request reached the server after the deadline")
		}
	}
}

// Half a message is on its way: nothing may be said into it.
func TestNoWordsIntoAMessage(t *testing.T) {
	p, f := start(t, nil)
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "primary", long)
	f.send(t, "a", a, b)
	c := connect(t, p.Addr())
	c.fe.Send(&rawQuery)
	c.fe.Flush()
	got := make([]byte, 6)
	if _, err := io.ReadFull(c.c, got); err != nil {
		t.Fatal(err)
	}
	f.send(t, "b", a, b)
	rest, _ := io.ReadAll(c.c)
	if len(rest) != 0 {
		t.Fatalf("%q was put into a message", rest)
	}
}

func TestServerThatStartsIsLikeNone(t *testing.T) {
	p, f := start(t, nil)
	a := newMember(t, "a", "primary", long)
	a.starting = true
	f.send(t, "a", a)
	c := dialRaw(t, p.Addr())
	c.startup()
	eventually(t, "the client is held", func() bool { return p.Stats().Held == 1 })
	a.set(func() { a.starting = false })
	if err := c.ready(); err != nil {
		t.Fatal(err)
	}
}

// The server dies on a request for encryption, then denies it, then is only
// starting: the client sees one denial, and then a session.
func TestServerThatDiesWhileNegotiating(t *testing.T) {
	p, f := start(t, nil)
	a := newMember(t, "a", "primary", long)
	a.dies = true
	f.send(t, "a", a)
	c := dialRaw(t, p.Addr())
	c.c.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f})
	eventually(t, "the client is held", func() bool { return p.Stats().Held == 1 })
	a.set(func() { a.dies, a.starting = false, true })
	var s [1]byte
	if _, err := io.ReadFull(c.c, s[:]); err != nil || s[0] != 'N' {
		t.Fatalf("%q %v", s, err)
	}
	c.startup()
	eventually(t, "the client is held again", func() bool { return p.Stats().Held == 1 })
	a.set(func() { a.starting = false })
	if err := c.ready(); err != nil {
		t.Fatal(err)
	}
	c.wantMember("a")
}

func cancelPacket(pid uint32, key string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(12+len(key)))
	b = binary.BigEndian.AppendUint32(b, codeCancel)
	b = binary.BigEndian.AppendUint32(b, pid)
	return append(b, key...)
}

func TestEncryptedSessionsPassUnseen(t *testing.T) {
	p, f := start(t, nil)
	a := newMember(t, "a", "primary", long)
	a.tls = true
	f.send(t, "a", a)
	c := dialRaw(t, p.Addr())
	c.c.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f})
	var s [1]byte
	if _, err := io.ReadFull(c.c, s[:]); err != nil || s[0] != 'S' {
		t.Fatalf("%q %v", s, err)
	}
	want := bytes.Repeat([]byte("opaque"), 100000)
	go c.c.Write(want)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.c, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("differs: %v", err)
	}
	// Its cancel key is unknown, so a cancel goes to the primary.
	sendCancel(t, p.Addr(), []byte("\x00\x00\x00\x01wxyz"))
	if len(a.canceled) != 1 {
		t.Fatal("the cancel did not arrive")
	}
}

func TestManyConnects(t *testing.T) {
	p, f := start(t, nil)
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	go func() {
		for range a.reached {
		}
	}()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			c := dialRaw(t, p.Addr())
			c.startup()
			if err := c.ready(); err != nil {
				t.Error(err)
			} else if got, err := c.query("who"); err != nil || got != "a" {
				t.Error(got, err)
			}
			c.c.Close()
		})
	}
	wg.Wait()
	eventually(t, "all sessions are given back", func() bool { return p.Stats().Backends[0].Sessions == 0 })
	if s := p.Stats(); s.Accepted != 200 || s.Backends[0].Served != 200 {
		t.Fatalf("%+v", s)
	}
}

func TestMalformedStartup(t *testing.T) {
	p, f := start(t, nil)
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	for _, b := range []string{"GET / HTTP/1.0\r\n\r\n", "\x00\x00\x00\x08\x00\x02\x00\x00", "\x00\x00\x00\x04\x00\x03\x00\x00",
		"\x7f\xff\xff\xff\x00\x03\x00\x00", "\x00\x00\x00\x0c\x04\xd2\x16\x2exxxx"} {
		c := dialRaw(t, p.Addr())
		c.c.Write([]byte(b))
		c.wantEnd(stateBadProtocol)
	}
	connect(t, p.Addr()).wantMember("a")
	if n := len(a.reached); n != 1 {
		t.Fatalf("%d sessions reached the server", n)
	}
}

func TestStopDrains(t *testing.T) {
	p, f := start(t, nil)
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	c, d := connect(t, p.Addr()), connect(t, p.Addr())
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- p.Stop(ctx) }()
	c.wantMember("a") // still served
	c.c.Close()
	eventually(t, "one session is left", func() bool { return p.Stats().Backends[0].Sessions == 1 })
	cancel()
	if text := d.wantEnd(stateTerminated); !strings.Contains(text, "shutting down") {
		t.Fatal(text)
	}
	d.c.Close()
	if err := <-stopped; err == nil {
		t.Fatal("Stop does not report the session it ended")
	}
}

func TestStatsPage(t *testing.T) {
	p, f := start(t, nil)
	f.send(t, "a", newMember(t, "a", "primary", long))
	connect(t, p.Addr())
	get := func(path string) []byte {
		resp, err := http.Get("http://" + p.StatsAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return b
	}
	var s Stats
	if err := json.Unmarshal(get("/stats"), &s); err != nil || s.Primary != "a" || s.Backends[0].Sessions != 1 {
		t.Fatalf("%+v %v", s, err)
	}
	if text := string(get("/")); !strings.Contains(text, "primary a, lease good for") {
		t.Fatal(text)
	}
}

func TestOptions(t *testing.T) {
	_, err := New(Options{Stats: "nonsense", HoldTimeout: -1})
	for _, want := range []string{"neither listen", "no source of views", `stats "nonsense"`, "hold_timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	taken := newMember(t, "a", "primary", 0).ln.Addr().String()
	p, err := New(Options{Listen: "127.0.0.1:0", ListenReplicas: taken, Views: newFeed()})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "listen_replicas") {
		t.Fatalf("started on a port in use: %v", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStopTurnsHeldClientsAway(t *testing.T) {
	p, f := start(t, nil)
	f.send(t, "", newMember(t, "a", "replica", 0))
	c := dialRaw(t, p.Addr())
	c.startup()
	eventually(t, "it is held", func() bool { return p.Stats().Held == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- p.Stop(t.Context()) }()
	if text := c.wantEnd(stateNoPrimary); !strings.Contains(text, "shutting down") {
		t.Fatal(text)
	}
	c.c.Close()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

// A client that has said all it has to say still gets its answer.
func TestHalfClose(t *testing.T) {
	p, f := start(t, nil)
	f.send(t, "a", newMember(t, "a", "primary", long))
	c := connect(t, p.Addr())
	c.fe.Send(&pgproto3.Query{String: "who"})
	c.fe.Flush()
	c.c.(*net.TCPConn).CloseWrite()
	if got, err := c.rows(); err != nil || got != "a" {
		t.Fatal(got, err)
	}
	if _, err := c.fe.Receive(); err == nil {
		t.Fatal("the server's end was not passed on")
	}
}

// A client that stays makes the stop of the program no failure: a service manager
// would start it again.
func TestRunEndsWithoutErrorWhileAClientStays(t *testing.T) {
	f := newFeed()
	port, err := freeport.Next()
	if err != nil {
		t.Fatal(err)
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	p, err := New(Options{Listen: addr.String(), Views: f, DrainTimeout: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	f.send(t, "a", newMember(t, "a", "primary", long))
	eventually(t, "it listens", func() bool {
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	c := connect(t, addr)
	c.wantMember("a")
	cancel()
	c.wantEnd(stateTerminated)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
