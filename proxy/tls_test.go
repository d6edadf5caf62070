package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/matriarch-ha/matriarch/route"
)

var (
	sslRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}
	gssRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30}
)

// ownTLS makes a certificate of its own and the options to end TLS with it.
func ownTLS(t testing.TB) *TLS {
	t.Helper()
	dir := t.TempDir()
	writeCertificate(t, dir)
	return &TLS{CertFile: filepath.Join(dir, "server.crt"), KeyFile: filepath.Join(dir, "server.key")}
}

// startTLS starts a proxy that ends TLS.
func startTLS(t testing.TB, edit func(*Options)) (*Proxy, *feed) {
	own := ownTLS(t)
	return start(t, func(o *Options) {
		o.TLS = own
		if edit != nil {
			edit(o)
		}
	})
}

// requestTLS asks for encryption and expects the answer.
func (c *client) requestTLS(request []byte, want byte) {
	c.t.Helper()
	c.c.Write(request)
	var s [1]byte
	if _, err := io.ReadFull(c.c, s[:]); err != nil || s[0] != want {
		c.t.Fatalf("a request for encryption was answered by %q (%v), want %q", s, err, want)
	}
}

// secure makes the client's connection a TLS one.
func (c *client) secure(conf *tls.Config) error {
	conf.InsecureSkipVerify = true // no names are at stake here
	tc := tls.Client(c.c, conf)
	c.c, c.fe = tc, pgproto3.NewFrontend(tc, tc)
	return tc.Handshake()
}

// dialTLS makes a TLS connection that has sent no startup packet yet.
func dialTLS(t testing.TB, addr net.Addr) *client {
	t.Helper()
	c := dialRaw(t, addr)
	c.requestTLS(sslRequest, 'S')
	if err := c.secure(&tls.Config{}); err != nil {
		t.Fatal(err)
	}
	return c
}

func connectTLS(t testing.TB, addr net.Addr) *client {
	t.Helper()
	c := dialTLS(t, addr)
	c.startup()
	if err := c.ready(); err != nil {
		t.Fatalf("connect: %v", err)
	}
	return c
}

func TestEndedTLSFollowsTheLeader(t *testing.T) {
	p, f := startTLS(t, nil)
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	f.send(t, "a", a, b)
	c, plain := connectTLS(t, p.Addr()), connect(t, p.Addr())
	c.wantMember("a")
	plain.wantMember("a")
	b.set(func() { b.role, b.lease = "primary", long })
	f.send(t, "b", a, b)
	c.wantEnd(stateTerminated) // inside of TLS
	connectTLS(t, p.Addr()).wantMember("b")
}

// Whoever asks for GSSAPI first, asks twice, or begins without asking.
func TestWaysIntoTLS(t *testing.T) {
	p, f := startTLS(t, nil)
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	c := dialRaw(t, p.Addr())
	c.requestTLS(gssRequest, 'N')
	c.requestTLS(sslRequest, 'S')
	if err := c.secure(&tls.Config{NextProtos: []string{"postgresql"}}); err != nil {
		t.Fatal(err)
	}
	c.startup()
	if err := c.ready(); err != nil {
		t.Fatal(err)
	}

	twice := dialTLS(t, p.Addr())
	twice.c.Write(sslRequest)
	twice.wantEnd(stateBadProtocol)

	direct := dialRaw(t, p.Addr())
	if err := direct.secure(&tls.Config{NextProtos: []string{"postgresql"}}); err != nil {
		t.Fatal(err)
	}
	direct.startup()
	if err := direct.ready(); err != nil {
		t.Fatal(err)
	}
	direct.wantMember("a")
}

func TestTLSThatIsRefused(t *testing.T) {
	p, f := startTLS(t, nil)
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	ended := func(c *client) {
		t.Helper()
		if n, err := c.c.Read(make([]byte, 1)); err == nil {
			t.Fatalf("%d bytes more", n)
		}
	}
	direct := dialRaw(t, p.Addr())
	direct.secure(&tls.Config{}) // no ALPN: it may succeed in the client's eyes
	ended(direct)
	for _, asked := range []bool{false, true} {
		c := dialRaw(t, p.Addr())
		if asked {
			c.requestTLS(sslRequest, 'S')
		}
		if err := c.secure(&tls.Config{NextProtos: []string{"http/1.1"}}); err == nil {
			t.Error("another protocol was agreed upon")
		}
	}
	// What an attacker puts behind the request in plain text is no part of the session.
	injected := dialRaw(t, p.Addr())
	startup, _ := (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "u"}}).Encode(nil)
	injected.requestTLS(append(bytes.Clone(sslRequest), startup...), 'S')
	if err := injected.secure(&tls.Config{}); err == nil {
		t.Error("a handshake with bytes before it succeeded")
	}
	old := dialRaw(t, p.Addr())
	old.requestTLS(sslRequest, 'S')
	if err := old.secure(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	connectTLS(t, p.Addr()).wantMember("a")
	if n := len(a.reached); n != 1 {
		t.Fatalf("%d sessions reached the server", n)
	}
}

func TestErrorsInsideTLS(t *testing.T) {
	p, f := startTLS(t, func(o *Options) { o.HoldTimeout, o.HoldLimit = 50*time.Millisecond, 1 })
	f.send(t, "", newMember(t, "a", "replica", 0))
	c := dialTLS(t, p.Addr())
	c.startup()
	if text := c.wantEnd(stateNoPrimary); !strings.Contains(text, "nobody holds the leader key") {
		t.Fatal(text)
	}
	c = dialTLS(t, p.Addr())
	c.c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	c.wantEnd(stateBadProtocol)
}

// A client's farewell of TLS lies unread before the end of its stream.
func TestHeldTLSClientHangsUp(t *testing.T) {
	p, f := startTLS(t, nil)
	f.send(t, "", newMember(t, "a", "replica", 0))
	c := dialTLS(t, p.Addr())
	c.startup()
	eventually(t, "it is held", func() bool { return p.Stats().Held == 1 })
	c.c.Close()
	eventually(t, "the place is free", func() bool { return p.Stats().Held == 0 })
}

func TestClientCertificates(t *testing.T) {
	own := ownTLS(t)
	own.CAFile = own.CertFile // it signed itself
	p, f := start(t, func(o *Options) { o.TLS = own })
	f.send(t, "a", newMember(t, "a", "primary", long))
	pair, err := tls.LoadX509KeyPair(own.CertFile, own.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	c := dialRaw(t, p.Addr())
	c.requestTLS(sslRequest, 'S')
	if err := c.secure(&tls.Config{Certificates: []tls.Certificate{pair}}); err != nil {
		t.Fatal(err)
	}
	c.startup()
	if err := c.ready(); err != nil {
		t.Fatal(err)
	}
	without := dialRaw(t, p.Addr())
	without.requestTLS(sslRequest, 'S')
	err = without.secure(&tls.Config{})
	if err == nil {
		_, err = without.c.Read(make([]byte, 1))
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Fatalf("without a certificate: %v", err)
	}
	plain := dialRaw(t, p.Addr())
	plain.startup()
	plain.wantEnd(stateNoEntry)
}

// Neither what the client sent nor what the server answers passes after the deadline,
// whatever timers say; see TestNothingPassesAfterTheDeadline.
func TestNothingPassesInTLSAfterTheDeadline(t *testing.T) {
	clk := &shiftClock{}
	p, f := startTLS(t, func(o *Options) { o.Clock, o.AskInterval = clk, 10*time.Second })
	a := newMember(t, "a", "primary", long)
	f.send(t, "a", a)
	c, asleep := connectTLS(t, p.Addr()), connectTLS(t, p.Addr())
	c.wantMember("a")
	asleep.fe.Send(&pgproto3.Query{String: "sleep"})
	asleep.fe.Flush()
	eventually(t, "the query runs", func() bool { return a.queries.Load() == 2 })
	a.set(func() { a.silent = true })
	clk.shift.Store(int64(2 * time.Minute))
	c.wantStop()
	if a.queries.Load() != 2 {
		t.Fatal("a query reached the server after the deadline")
	}
	a.canceled <- struct{}{} // now the server answers
	if row, err := asleep.rows(); row != "" {
		t.Fatalf("%q (%v) reached the client after the deadline", row, err)
	}
}

// wantStop sends a query and expects the session to end without an answer.
func (c *client) wantStop() {
	c.t.Helper()
	if row, err := c.query("write"); err == nil || row != "" {
		c.t.Fatalf("answered by %q", row)
	}
}

// As TestBlockedWriteStopsAtTheDeadline: of a record that is half sent the other half
// stays here.
func TestBlockedRecordStopsAtTheDeadline(t *testing.T) {
	source, src := tcpPair(t)
	dst, sink := tcpPair(t)
	dst.SetWriteBuffer(4 << 10)
	sink.SetReadBuffer(4 << 10)
	clk := &shiftClock{}
	g := newGate(route.Backend{}, clk, clk.Now().Add(time.Minute))
	conf, err := ownTLS(t).config()
	if err != nil {
		t.Fatal(err)
	}
	sec, err := newSecured(dst, conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	peer := tls.Client(sink, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- peer.Handshake() }()
	if err := errors.Join(sec.tls.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	sec.gate.Store(g)
	p, err := newPipe(g, newBuffers(), src, dst, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.to, p.count = sec, new(atomic.Int64)
	go source.Write(make([]byte, 64<<20))
	done := make(chan error, 1)
	go func() { done <- p.run() }()
	blocked(t, dst)
	stuck := p.count.Load()
	clk.shift.Store(int64(2 * time.Minute))
	got := make(chan int64, 1)
	go func() { n, _ := io.Copy(io.Discard, peer); got <- n }()
	if err := <-done; !errors.Is(err, errShut) {
		t.Fatalf("ended with %v", err)
	}
	dst.Close()
	if n := <-got; n > stuck {
		t.Fatalf("%d bytes were received, %d sent before the deadline", n, stuck)
	}
}

func TestUnfinishedHandshakesEnd(t *testing.T) {
	p, f := startTLS(t, func(o *Options) { o.StartupTimeout = 100 * time.Millisecond })
	f.send(t, "a", newMember(t, "a", "primary", long))
	for name, sent := range map[string][]byte{"silent": nil, "begun": {0x16, 3, 1, 2, 0, 1}} {
		c := dialRaw(t, p.Addr())
		c.requestTLS(sslRequest, 'S')
		c.c.Write(sent)
		if _, err := io.Copy(io.Discard, c.c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	eventually(t, "all are gone", func() bool { return p.Stats().Ports[0].Clients.Now == 0 })
}

func TestCertificatesAreReadAgain(t *testing.T) {
	own, other := ownTLS(t), ownTLS(t)
	clk, log := &shiftClock{}, new(bytes.Buffer)
	cs, err := newCertificates(*own, clk, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		clk.shift.Add(int64(lookAgain))
		return string(cs.current().Certificates[0].Certificate[0])
	}
	move := func(from, to string) {
		t.Helper()
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(to+".new", text, 0o600), os.Rename(to+".new", to)); err != nil {
			t.Fatal(err)
		}
	}
	first := shown()
	move(other.CertFile, own.CertFile) // of another key
	if shown() != first || !strings.Contains(log.String(), "the former certificate is kept") {
		t.Fatalf("a certificate without its key was taken: %s", log)
	}
	told := log.Len()
	if shown() != first || log.Len() != told {
		t.Fatalf("told again: %s", log)
	}
	move(other.KeyFile, own.KeyFile)
	text, _ := os.ReadFile(other.CertFile)
	if b, _ := pem.Decode(text); shown() != string(b.Bytes) {
		t.Fatalf("the new certificate is not shown: %s", log)
	}
	// One that could not be read for a while is tried again although it did not change.
	move(other.CertFile, own.CertFile)
	again := shown()
	cs.failed, cs.seen = cs.states(), [3]fileState{}
	if cs.conf = nil; shown() != again {
		t.Fatal("it was not tried again")
	}
	os.Remove(own.KeyFile)
	if shown() == "" || strings.Contains(log.String(), "PRIVATE") {
		t.Fatal(log)
	}
}
