package proxy

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// v2 makes a header of version 2.
func v2(command, family byte, body ...byte) string {
	return string(proxySignature) + string([]byte{command, family, byte(len(body) >> 8), byte(len(body))}) + string(body)
}

var (
	four = []byte{192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 0x13, 0x88}
	six  = append(append(netip.MustParseAddr("2001:db8::1").AsSlice(), make([]byte, 16)...), 0x30, 0x39, 0x13, 0x88)
)

func TestProxyHeaders(t *testing.T) {
	for text, want := range map[string]string{
		"PROXY TCP4 192.0.2.1 10.0.0.1 12345 5000\r\n":           "192.0.2.1:12345",
		"PROXY TCP6 2001:db8::1 ::1 12345 5000\r\n":              "[2001:db8::1]:12345",
		"PROXY UNKNOWN\r\n":                                      "",
		"PROXY UNKNOWN ffff:f...f 1 2\r\n":                       "",
		v2(0x21, 0x11, four...):                                  "192.0.2.1:12345",
		v2(0x21, 0x21, six...):                                   "[2001:db8::1]:12345",
		v2(0x21, 0x11, append(bytes.Clone(four), 3, 0, 1, 9)...): "192.0.2.1:12345",
		v2(0x20, 0x11, four...):                                  "",
		v2(0x20, 0x00):                                           "",
		v2(0x21, 0x00):                                           "",
		v2(0x21, 0x31, make([]byte, 216)...):                     "",
	} {
		r := strings.NewReader(text + "rest")
		got, err := readProxyHeader(r)
		if err != nil || got.IsValid() != (want != "") || got.IsValid() && got.String() != want || r.Len() != 4 {
			t.Errorf("%q: %v, %v, %d bytes left", text, got, err, r.Len())
		}
	}
	for text, want := range map[string]string{
		"PROXY TCP4 192.0.2.1 10.0.0.1 12345 70000\r\n": "address or port",
		"PROXY TCP4 2001:db8::1 ::1 12345 5000\r\n":     "address or port",
		"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n":           "address or port",
		"PROXY TCP4  192.0.2.1 10.0.0.1 1 2\r\n":        "want TCP4",
		"PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n":         "want TCP4",
		"PROXY " + strings.Repeat("x", 200):             "more than 107",
		"GET / HTTP/1.0\r\n\r\n":                        "no PROXY header",
		v2(0x11, 0x11, four...):                         "version and command",
		v2(0x22, 0x11, four...):                         "version and command",
		v2(0x21, 0x12, four...):                         "address family",
		v2(0x21, 0x11, four[:11]...):                    "want 12",
		v2(0x21, 0x11, make([]byte, 5000)...):           "at most 4096",
		v2(0x21, 0x11)[:14]:                             "unexpected EOF",
	} {
		if got, err := readProxyHeader(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want: %s", text, got, err, want)
		}
	}
	if _, err := readProxyHeader(strings.NewReader("")); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 10.0.0.1 12345 5000\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("PROXY TCP4 0.0.0.0  0 \r\n"))
	f.Add([]byte(v2(0x21, 0x21, six...)))
	f.Add([]byte(v2(0x20, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		a, err := readProxyHeader(r)
		used := b[:len(b)-r.Len()]
		if len(used) > 16+maxProxyBody || err != nil && a.IsValid() {
			t.Fatalf("%d bytes read, %v, %v", len(used), a, err)
		}
		if err == nil && !bytes.HasSuffix(used, []byte("\r\n")) && !bytes.HasPrefix(used, proxySignature) {
			t.Fatalf("%q is taken for a header", used)
		}
		if a.Addr().Is4In6() || a.Addr().Zone() != "" {
			t.Fatal(a)
		}
	})
}

// lockedLog can be read while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestTrustedBalancer(t *testing.T) {
	log := new(lockedLog)
	p, f := startTLS(t, func(o *Options) {
		o.Trusted, o.HoldLimit = loopback, 1
		o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	a := newMember(t, "a", "replica", 0)
	f.send(t, "", a)
	header := "PROXY TCP4 192.0.2.77 10.0.0.1 12345 5000\r\n"
	held := dialRaw(t, p.Addr())
	held.c.Write([]byte(header))
	held.startup()
	eventually(t, "it is held", func() bool { return p.Stats().Held == 1 })
	away := dialRaw(t, p.Addr())
	away.c.Write([]byte(header))
	away.startup()
	away.wantEnd(stateTooMany)
	if !strings.Contains(log.String(), "client=192.0.2.77:12345") {
		t.Errorf("the log does not tell the client's address: %s", log)
	}
	a.set(func() { a.role, a.lease = "primary", long })
	f.send(t, "a", a)
	if err := held.ready(); err != nil {
		t.Fatal(err)
	}
	// Before TLS, and from a balancer's own health check.
	for _, h := range []string{v2(0x21, 0x11, four...), v2(0x20, 0)} {
		c := dialRaw(t, p.Addr())
		c.requestTLS(append([]byte(h), sslRequest...), 'S')
	}
	// Required.
	without := dialRaw(t, p.Addr())
	without.startup()
	if text := without.wantEnd(stateBadProtocol); !strings.Contains(text, "no PROXY header") {
		t.Error(text)
	}
	twice := dialRaw(t, p.Addr())
	twice.c.Write([]byte(header + header))
	twice.wantEnd(stateBadProtocol)
}

// Anybody could say anything.
func TestHeaderOfAStranger(t *testing.T) {
	p, f := start(t, func(o *Options) { o.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	f.send(t, "a", newMember(t, "a", "primary", long))
	for _, h := range []string{"PROXY TCP4 192.0.2.1 10.0.0.1 12345 5000\r\n", v2(0x21, 0x11, four...)} {
		c := dialRaw(t, p.Addr())
		c.c.Write([]byte(h))
		c.wantEnd(stateBadProtocol)
	}
	connect(t, p.Addr()).wantMember("a")
}
