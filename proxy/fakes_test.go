package proxy

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// feed is a source of views under the test's control.
type feed struct{ ch chan Sight }

func newFeed() *feed                                   { return &feed{make(chan Sight)} }
func (f *feed) Watch(ctx context.Context) <-chan Sight { return f.ch }
func (f *feed) send(t testing.TB, leader string, members ...*fakeMember) {
	t.Helper()
	v := cluster.View{Leader: cluster.Leader{Name: leader}}
	for _, m := range members {
		v.Members = append(v.Members, m.key())
	}
	select {
	case f.ch <- Sight{View: v}:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody takes the view")
	}
}

// lose says that the store is lost.
func (f *feed) lose(t testing.TB) {
	t.Helper()
	select {
	case f.ch <- Sight{Lost: errors.New("no answer")}:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody takes the news")
	}
}

// fakeMember is a REST API and a server that speaks just enough of the
// protocol; queries are answered with the member's name, "sleep" waits for a
// cancel, "half" sends half a message.
type fakeMember struct {
	name string
	rest *httptest.Server
	ln   net.Listener
	// server is the address of a real server to publish instead of our own.
	server string

	mu       sync.Mutex
	role     string
	lease    time.Duration
	patroni  bool // answers like another program
	silent   bool // does not answer at all
	tags     map[string]any
	state    string // empty: running
	behind   int    // bytes that it received and did not replay
	starting bool   // the server refuses with 57P03
	tls      bool   // answers S and then echoes
	mute     bool   // the server takes connections and says nothing
	dies     bool   // the server hangs up instead of answering
	standby  bool   // the server says that it is in recovery
	secret   []byte // of its cancel keys
	// wrongKeys counts cancel requests with another key than it gave.
	wrongKeys int
	asked     int // questions to the REST API
	// announced is what the newest of them said of its asker.
	announced string
	conns     []net.Conn // of the server

	queries  atomic.Int64
	canceled chan struct{}
	reached  chan string
}

func newMember(t testing.TB, name, role string, lease time.Duration) *fakeMember {
	t.Helper()
	m := &fakeMember{name: name, role: role, lease: lease, canceled: make(chan struct{}, 100), secret: []byte(name + "---")[:4], reached: make(chan string, 100)}
	m.rest = httptest.NewServer(http.HandlerFunc(m.answer))
	t.Cleanup(m.rest.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.ln = ln
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go m.serve(c)
		}
	}()
	return m
}

func (m *fakeMember) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *fakeMember) key() cluster.Member {
	server := m.ln.Addr().String()
	if m.server != "" {
		server = m.server
	}
	return cluster.Member{Name: m.name, ConnURL: "postgres://" + server + "/postgres", APIURL: m.rest.URL + "/patroni",
		State: cluster.StateRunning, Role: cluster.Role(m.role)}
}

func (m *fakeMember) answer(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	role, lease, patroni, silent, tags, behind, state := m.role, m.lease, m.patroni, m.silent, m.tags, m.behind, cmp.Or(m.state, "running")
	m.asked++
	m.announced = r.Header.Get("Matriarch-Entrypoint")
	m.mu.Unlock()
	if silent {
		<-r.Context().Done()
		return
	}
	if r.URL.Path == "/lease" && !patroni {
		json.NewEncoder(w).Encode(map[string]any{"name": m.name, "role": role, "state": "running", "timeline": 1,
			"lease_remaining_ms": lease.Milliseconds(), "lease_session": "s1"})
		return
	}
	if r.URL.Path != "/patroni" && (role != "primary" || lease == 0 || r.URL.Path != "/primary") {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	doc := map[string]any{"state": state, "role": role, "timeline": 1, "replication_state": "streaming",
		"xlog": map[string]any{"received_location": 1000, "replayed_location": 1000 - behind}, "tags": tags, "patroni": map[string]any{"name": m.name}}
	if !patroni {
		doc["matriarch"] = map[string]any{"lease_remaining_ms": lease.Milliseconds()}
	}
	json.NewEncoder(w).Encode(doc)
}

// hangUp ends all sessions of the server.
func (m *fakeMember) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		c.Close()
	}
}

// shutDown says to all sessions what a server does that is told to stop, and
// leaves it to the clients to hang up.
func (m *fakeMember) shutDown() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		c.Write(errorResponse(stateTerminated, "terminating connection due to administrator command", ""))
	}
}

func (m *fakeMember) serve(c net.Conn) {
	defer c.Close()
	m.set(func() { m.conns = append(m.conns, c) })
	for {
		pkt, err := readPacket(c)
		if err != nil {
			return
		}
		m.mu.Lock()
		starting, tls, dies, mute := m.starting, m.tls, m.dies, m.mute
		m.mu.Unlock()
		switch {
		case pkt.kind == packetCancel:
			m.set(func() { m.wrongKeys += b2i(pkt.cancelKey() != cancelKey("\x00\x00\x00\x07"+string(m.secret))) })
			m.canceled <- struct{}{}
			return
		case dies:
			return
		case mute:
			io.Copy(io.Discard, c)
			return
		case pkt.kind == packetSSL && tls:
			c.Write([]byte{'S'})
			io.Copy(c, c)
			return
		case pkt.kind != packetStartup:
			c.Write([]byte{'N'})
		case starting:
			c.Write(errorResponse(stateNoPrimary, "the database system is starting up", ""))
			return
		default:
			m.session(c)
			return
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (m *fakeMember) session(c net.Conn) {
	b := pgproto3.NewBackend(c, c)
	b.Send(&pgproto3.AuthenticationOk{})
	m.mu.Lock()
	hot, secret := map[bool]string{true: "on", false: "off"}[m.standby], m.secret
	m.mu.Unlock()
	b.Send(&pgproto3.ParameterStatus{Name: "in_hot_standby", Value: hot})
	b.Send(&pgproto3.BackendKeyData{ProcessID: 7, SecretKey: secret})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	b.Flush()
	m.reached <- m.name
	for {
		msg, err := b.Receive()
		if err != nil {
			return
		}
		q, ok := msg.(*pgproto3.Query)
		if !ok {
			return
		}
		m.queries.Add(1)
		switch {
		case strings.HasPrefix(q.String, "half"):
			c.Write([]byte{'D', 0, 0, 1, 0, 'x'})
			continue
		case strings.HasPrefix(q.String, "sleep"):
			<-m.canceled
		}
		b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("member"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}}})
		b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte(m.name)}})
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		b.Flush()
	}
}

// start starts a proxy on loopback; it is stopped, and must stop, at the end.
func start(t testing.TB, edit func(*Options)) (*Proxy, *feed) {
	t.Helper()
	f := newFeed()
	o := Options{Listen: "127.0.0.1:0", ListenReplicas: "127.0.0.1:0", Stats: "127.0.0.1:0", Views: f}
	if edit != nil {
		edit(&o)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // no drain
		p.Stop(ctx)
	})
	return p, f
}

// client is a raw client; every wait of it is bounded.
type client struct {
	t  testing.TB
	c  net.Conn
	fe *pgproto3.Frontend
	// key is the cancel key that it was given.
	key []byte
}

func dialRaw(t testing.TB, addr net.Addr) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return &client{t: t, c: c, fe: pgproto3.NewFrontend(c, c)}
}

func connect(t testing.TB, addr net.Addr) *client {
	t.Helper()
	c := dialRaw(t, addr)
	c.startup()
	if err := c.ready(); err != nil {
		t.Fatalf("connect: %v", err)
	}
	return c
}

func (c *client) startup() {
	c.fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "u"}})
	if err := c.fe.Flush(); err != nil {
		c.t.Fatal(err)
	}
}

// pgError is the code and text of an ErrorResponse.
type pgError struct{ code, message, hint string }

func (e *pgError) Error() string { return e.code + " " + e.message + " " + e.hint }

// ready reads until ReadyForQuery.
func (c *client) ready() error {
	_, err := c.rows()
	return err
}

func (c *client) rows() (string, error) {
	var row string
	for {
		msg, err := c.fe.Receive()
		if err != nil {
			return row, err
		}
		switch m := msg.(type) {
		case *pgproto3.ErrorResponse:
			return row, &pgError{m.Code, m.Message, m.Hint}
		case *pgproto3.BackendKeyData:
			c.key = append(binary.BigEndian.AppendUint32(nil, m.ProcessID), m.SecretKey...)
		case *pgproto3.DataRow:
			row = string(m.Values[0])
		case *pgproto3.ReadyForQuery:
			return row, nil
		}
	}
}

func (c *client) query(q string) (string, error) {
	c.fe.Send(&pgproto3.Query{String: q})
	if err := c.fe.Flush(); err != nil {
		return "", err
	}
	return c.rows()
}

func (c *client) wantMember(name string) {
	c.t.Helper()
	if got, err := c.query("who"); err != nil || got != name {
		c.t.Fatalf("served by %q (%v), want %s", got, err, name)
	}
}

// wantEnd expects the session to be ended with an error of that code.
func (c *client) wantEnd(code string) string {
	c.t.Helper()
	err := c.ready()
	var pe *pgError
	if !errors.As(err, &pe) || pe.code != code {
		c.t.Fatalf("session ended with %v, want %s", err, code)
	}
	if _, err := c.fe.Receive(); err == nil {
		c.t.Fatal("the connection goes on after a fatal error")
	}
	return pe.Error()
}

// eventually waits for a fact.
func eventually(t testing.TB, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !fact(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// shiftClock is the real clock plus a jump, as after a stop of the process.
type shiftClock struct {
	clock.Real
	shift atomic.Int64
}

func (c *shiftClock) Now() boot.Instant { return c.Real.Now().Add(time.Duration(c.shift.Load())) }

// answered waits until so many replicas were heard.
func answered(t testing.TB, p *Proxy, replicas int) {
	t.Helper()
	eventually(t, "the replicas answered", func() bool {
		n := 0
		for _, m := range p.Stats().Backends {
			if m.Role == "replica" {
				n++
			}
		}
		return n == replicas
	})
}
