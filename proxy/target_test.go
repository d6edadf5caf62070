package proxy

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/matriarch-ha/matriarch/route"
)

func packetOf(params ...string) []byte {
	b := []byte{0, 0, 0, 0, 0, 3, 0, 0}
	for _, p := range params {
		b = append(append(b, p...), 0)
	}
	b = append(b, 0)
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	return b
}

func TestReadTarget(t *testing.T) {
	for _, c := range []struct {
		params []string
		want   route.Access
		code   string
		sent   []string // if not as it came
	}{
		{[]string{"user", "u"}, route.ReadWrite, "", nil},
		{[]string{"user", "u", "database", "db@ro"}, route.ReadOnly, "", []string{"user", "u", "database", "db"}},
		{[]string{"database", "db@rw", "user", "u@ro"}, route.ReadWrite, "", []string{"database", "db", "user", "u@ro"}},
		{[]string{"user", "u", "database", "a@b@any"}, route.Any, "", []string{"user", "u", "database", "a@b"}},
		{[]string{"user", "u", "database", "@sync"}, route.Sync, "", []string{"user", "u", "database", ""}},
		{[]string{"user", "u", "database", "db@home"}, route.ReadWrite, "", nil},
		{[]string{"user", "u", "database", "db@RO"}, route.ReadWrite, "", nil},
		{[]string{"user", "u", "options", "-c matriarch.target=read-only"}, route.ReadOnly, "", nil},
		{[]string{"user", "u", "options", `-c search_path=a\ b  -cmatriarch.target=any --matriarch.Target=sync -c`}, route.Sync, "", nil},
		{[]string{"user", "u", "options", "matriarch.target=ro"}, route.ReadWrite, "", nil},
		{[]string{"user", "u", "matriarch.target", "standby"}, route.ReadOnly, "", nil},
		{[]string{"user", "u", "target_session_attrs", "prefer-standby", "a", "b"}, route.ReadOnly, "", []string{"user", "u", "a", "b"}},
		{[]string{"user", "u", "target_session_attrs", "any", "database", "db@rw", "options", "-c matriarch.target=ro"}, route.ReadWrite, "",
			[]string{"user", "u", "database", "db", "options", "-c matriarch.target=ro"}},
		{[]string{"user", "u", "options", "-c matriarch.target=master"}, "", stateBadValue, nil},
		{[]string{"user", "u", "options"}, "", stateBadProtocol, nil},
		{[]string{"user", "u", "", "x"}, "", stateBadProtocol, nil},
	} {
		raw := packetOf(c.params...)
		sent, access, err := readTarget(bytes.Clone(raw), "@")
		var d denial
		if errors.As(err, &d); d.code != c.code || access != c.want {
			t.Errorf("%q: %q %v", c.params, access, err)
		}
		if want := c.sent; err == nil {
			if want == nil {
				want = c.params
			}
			if !bytes.Equal(sent, packetOf(want...)) {
				t.Errorf("%q: %q is sent", c.params, sent)
			}
		}
	}
	if _, access, _ := readTarget(packetOf("database", "db::ro"), "::"); access != route.ReadOnly {
		t.Error("another separator:", access)
	}
}

func FuzzTarget(f *testing.F) {
	for _, p := range [][]string{{"user", "u", "database", "db@ro"}, {"options", `-c matriarch.target=an\y`}, {"target_session_attrs", "any"}, {"database", "@"}} {
		f.Add(packetOf(p...), "@")
	}
	f.Fuzz(func(t *testing.T, b []byte, separator string) {
		pkt, err := readPacket(bytes.NewReader(b))
		if err != nil || pkt.kind != packetStartup {
			return
		}
		before, _ := startupParams(pkt.raw)
		sent, access, err := readTarget(bytes.Clone(pkt.raw), separator)
		if err != nil {
			return
		}
		if access == "" || len(sent) > len(pkt.raw) {
			t.Fatalf("%q, %d bytes of %d", access, len(sent), len(pkt.raw))
		}
		again, err := readPacket(bytes.NewReader(sent))
		if err != nil || again.kind != packetStartup || !bytes.Equal(again.raw, sent) || !bytes.Equal(sent[4:8], pkt.raw[4:8]) {
			t.Fatalf("%q became %q: %v", pkt.raw, sent, err)
		}
		other := func(ps []startupParam) []startupParam {
			return slices.DeleteFunc(ps, func(p startupParam) bool { return p.name == "database" || p.name == targetAttrs })
		}
		after, err := startupParams(sent)
		if err != nil || !slices.Equal(other(before), other(after)) {
			t.Fatalf("%q became %q: %v", pkt.raw, sent, err)
		}
	})
}

// wanting connects a client that sends these parameters.
func wanting(t *testing.T, p *Proxy, params map[string]string) *client {
	t.Helper()
	c := dialRaw(t, p.PortAddr("one"))
	params["user"] = "u"
	c.fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: params})
	if err := c.fe.Flush(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPortBySession(t *testing.T) {
	p, f := further(t, Port{Name: "one", Access: BySession, Separator: "@", MaxConnections: 2})
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	f.send(t, "a", a, b)
	answered(t, p, 1)
	reader := wanting(t, p, map[string]string{"database": "db@ro"})
	if err := reader.ready(); err != nil {
		t.Fatal(err)
	}
	reader.wantMember("b")
	writer := wanting(t, p, map[string]string{"database": "db"})
	if err := writer.ready(); err != nil {
		t.Fatal(err)
	}
	writer.wantMember("a")
	if text := wanting(t, p, map[string]string{"database": "db@sync"}).wantEnd(stateNoPrimary); !strings.Contains(text, "no synchronous standby at the moment") {
		t.Error(text)
	}
	if text := wanting(t, p, map[string]string{"options": "-c matriarch.target=here"}).wantEnd(stateBadValue); !strings.Contains(text, `matriarch.target is "here"`) {
		t.Error(text)
	}
	for _, ps := range p.Stats().Ports {
		if ps.Port == "one" && (!ps.Serving || len(ps.Members) != 2 || !ps.Members[0].In || !ps.Members[1].In || ps.Members[1].Sessions.Now != 1) {
			t.Errorf("%+v", ps)
		}
	}
	// The lease ends the one, not the other.
	a.set(func() { a.lease = 0 })
	writer.wantEnd(stateTerminated)
	reader.wantMember("b")
}

// What is encrypted for the server cannot be read here: requests for that are denied, and
// who would begin with it at once is cut off, before anything is sent to a server.
func TestPortBySessionDeniesEncryption(t *testing.T) {
	p, f := further(t, Port{Name: "one", Access: BySession, Separator: "@"})
	a := newMember(t, "a", "primary", long)
	a.tls = true
	f.send(t, "a", a)
	direct := dialRaw(t, p.PortAddr("one"))
	direct.c.Write([]byte{tlsHandshake})
	if n, err := direct.c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d bytes, %v: want the end of the connection", n, err)
	}
	if n := len(a.reached); n != 0 {
		t.Error("a client reached the server")
	}
	c := dialRaw(t, p.PortAddr("one"))
	c.requestTLS(gssRequest, 'N')
	c.requestTLS(sslRequest, 'N')
	c.startup() // as with sslmode=prefer
	if err := c.ready(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := c.query("sleep"); done <- err }()
	eventually(t, "the query runs", func() bool { return a.queries.Load() == 1 })
	canceler := dialRaw(t, p.PortAddr("one"))
	canceler.requestTLS(sslRequest, 'N')
	canceler.c.Write(cancelRequest(cancelKey(c.key)))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Where TLS ends here, whom the client wants is read inside it.
func TestPortBySessionInsideTLS(t *testing.T) {
	p, f := startTLS(t, func(o *Options) {
		o.Ports = []Port{{Name: "one", Listen: "127.0.0.1:0", Access: BySession, Separator: "@"}}
	})
	a, b := newMember(t, "a", "primary", long), newMember(t, "b", "replica", 0)
	f.send(t, "a", a, b)
	answered(t, p, 1)
	for database, want := range map[string]string{"db@ro": "b", "db@rw": "a", "db": "a"} {
		c := dialTLS(t, p.PortAddr("one"))
		c.fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "u", "database": database}})
		if err := c.fe.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := c.ready(); err != nil {
			t.Fatal(err)
		}
		c.wantMember(want)
	}
	c := dialTLS(t, p.PortAddr("one"))
	c.fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "u", "target_session_attrs": "here"}})
	c.fe.Flush()
	c.wantEnd(stateBadValue)
}
