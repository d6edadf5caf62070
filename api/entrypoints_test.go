package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/httpclock"
	"github.com/matriarch-ha/matriarch/journal/rest"
)

// later is a clock that a test moves.
type later struct{ by *time.Duration }

func (l later) Now() boot.Instant { return apitest.Now.Add(*l.by) }
func (l later) Wall() time.Time   { return apitest.Clock{}.Wall().Add(*l.by) }

// from makes a request come from an address, with an announcement, to an address
// of the member.
func from(remote, announcement, local string) func(*http.Request) {
	return func(r *http.Request) {
		r.RemoteAddr = remote
		if announcement != "" {
			r.Header.Set(rest.AnnounceHeader, announcement)
		}
		if local != "" {
			addr, err := net.ResolveTCPAddr("tcp", local)
			if err != nil {
				panic(err)
			}
			*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(addr)))
			r.Host = local
		}
	}
}

func listed(t *testing.T, s *api.Server, remote, local string) (urls []string, docs []api.EntrypointDoc) {
	t.Helper()
	got := ask(s, "GET", "/entrypoints", "", from(remote, "", local))
	if err := json.Unmarshal(got.Body.Bytes(), &docs); err != nil || got.Code != 200 {
		t.Fatalf("%d %s: %v", got.Code, got.Body, err)
	}
	for _, d := range docs {
		urls = append(urls, d.URL)
	}
	return urls, docs
}

func TestEntrypointsAreListedWhereTheyAskedFrom(t *testing.T) {
	for name, c := range map[string]struct{ remote, said, asker, want string }{
		"all addresses":                    {"10.0.0.9:4711", "port=7000", "10.0.0.1:1", "http://10.0.0.9:7000"},
		"the address it asks from":         {"10.0.0.9:4711", "host=10.0.0.9 port=7000", "10.0.0.1:1", "http://10.0.0.9:7000"},
		"IPv6":                             {"[fd00::9]:4711", "port=7000", "10.0.0.1:1", "http://[fd00::9]:7000"},
		"IPv4 in IPv6":                     {"[::ffff:10.0.0.9]:4711", "port=7000", "10.0.0.1:1", "http://10.0.0.9:7000"},
		"TLS":                              {"10.0.0.9:4711", "scheme=https port=7000", "10.0.0.1:1", "https://10.0.0.9:7000"},
		"words of later releases":          {"10.0.0.9:4711", "port=7000 name=x", "10.0.0.1:1", "http://10.0.0.9:7000"},
		"a third host":                     {"10.0.0.9:4711", "host=10.0.0.7 port=7000", "10.0.0.1:1", ""},
		"a name":                           {"10.0.0.9:4711", "host=evil.example port=7000", "10.0.0.1:1", ""},
		"no port":                          {"10.0.0.9:4711", "host=10.0.0.9", "10.0.0.1:1", ""},
		"a wrong port":                     {"10.0.0.9:4711", "port=70000", "10.0.0.1:1", ""},
		"another scheme":                   {"10.0.0.9:4711", "scheme=file port=7000", "10.0.0.1:1", ""},
		"a link of one host":               {"[fe80::1%eth0]:4711", "port=7000", "10.0.0.1:1", ""},
		"this host alone, told to another": {"127.0.0.1:4711", "host=127.0.0.1 port=7000", "10.0.0.1:1", ""},
		"this host alone, told to it":      {"127.0.0.1:4711", "host=127.0.0.1 port=7000", "127.0.0.1:1", "http://127.0.0.1:7000"},
		"this host, all addresses":         {"127.0.0.1:4711", "port=7000", "10.0.0.1:1", "http://10.0.0.2:7000"},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustServer(t, one("n1", nil), nil)
			ask(s, "GET", "/lease", "", from(c.remote, c.said, ""))
			urls, docs := listed(t, s, c.asker, "10.0.0.2:8008")
			if strings.Join(urls, " ") != c.want {
				t.Fatalf("listed %v, want %q", urls, c.want)
			}
			for _, d := range docs {
				if at, err := time.Parse(time.RFC3339, d.Seen); err != nil || !at.Equal((apitest.Clock{}).Wall()) {
					t.Errorf("seen %q: %v", d.Seen, err)
				}
			}
		})
	}
}

func TestEntrypointsAreForgotten(t *testing.T) {
	var passed time.Duration
	s := mustServer(t, one("n1", nil), func(o *api.Options) { o.Clock = later{&passed} })
	announce := func(addr string, port int) {
		ask(s, "GET", "/patroni", "", from(addr+":4711", fmt.Sprintf("port=%d", port), ""))
	}
	announce("10.0.0.9", 7000)
	passed = 24 * time.Hour
	if urls, _ := listed(t, s, "10.0.0.1:1", ""); len(urls) != 1 {
		t.Errorf("after a day %v", urls)
	}
	passed += time.Second
	if urls, _ := listed(t, s, "10.0.0.1:1", ""); len(urls) != 0 {
		t.Errorf("after more than a day %v", urls)
	}

	// One host fills four places, not more, and the newest stay.
	announce("10.0.0.8", 7000)
	for port := range 100 {
		passed += time.Millisecond
		announce("10.0.0.9", 7001+port)
	}
	urls, _ := listed(t, s, "10.0.0.1:1", "")
	if len(urls) != 5 || urls[0] != "http://10.0.0.8:7000" || urls[4] != "http://10.0.0.9:7100" {
		t.Errorf("%v", urls)
	}
	// Many hosts fill the list; one that goes on asking is there all the same.
	for i := range 500 {
		passed += time.Millisecond
		announce(fmt.Sprintf("10.1.%d.%d", i/200, i%200), 7000)
		announce("10.0.0.8", 7000)
	}
	urls, _ = listed(t, s, "10.0.0.1:1", "")
	if len(urls) != 64 || urls[0] != "http://10.0.0.8:7000" {
		t.Errorf("%d: %v", len(urls), urls)
	}
}

func TestTheEntrypointOfThisProcess(t *testing.T) {
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL) })
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 7000} }
	for name, c := range map[string]struct {
		stats       net.Addr
		asker, want string
	}{
		"no port":                {nil, "10.0.0.1:1", "http://10.0.0.2:8008/entrypoint"},
		"for this host, outside": {tcp("127.0.0.1"), "10.0.0.1:1", "http://10.0.0.2:8008/entrypoint"},
		"for this host, inside":  {tcp("127.0.0.1"), "127.0.0.1:1", "http://127.0.0.1:7000"},
		"one address":            {tcp("10.0.0.3"), "10.0.0.1:1", "http://10.0.0.3:7000"},
		"all addresses":          {tcp("::"), "10.0.0.1:1", "http://10.0.0.2:7000"},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustServer(t, one("n1", nil), nil)
			if got := ask(s, "GET", "/entrypoint", ""); got.Code != 404 {
				t.Errorf("without one: %d", got.Code)
			}
			s.SetEntrypoint(api.Entrypoint{Stats: c.stats, Pages: pages})
			// It asks its own member too, by the address that all use.
			ask(s, "GET", "/lease", "", from("10.0.0.2:4711", "port=7000", ""))
			want := []string{c.want}
			if c.stats == nil || name == "for this host, outside" || name == "for this host, inside" || name == "one address" {
				want = append(want, "http://10.0.0.2:7000") // another one, as far as is known
			}
			urls, _ := listed(t, s, c.asker, "10.0.0.2:8008")
			for _, w := range want {
				if !strings.Contains(" "+strings.Join(urls, " ")+" ", " "+w+" ") || len(urls) != len(want) {
					t.Errorf("listed %v, want %v", urls, want)
				}
			}
			for path, want := range map[string]string{"/entrypoint": "/", "/entrypoint/": "/", "/entrypoint/journal?since=3": "/journal?since=3"} {
				if got := ask(s, "GET", path, ""); got.Code != 200 || got.Body.String() != want {
					t.Errorf("%s is %s to the entrypoint, want %s", path, got.Body, want)
				}
			}
		})
	}
}

// TestEveryAnswerHasTheClocks: whatever is asked, and refused too.
func TestEveryAnswerHasTheClocks(t *testing.T) {
	s := mustServer(t, one("n1", nil), func(o *api.Options) {
		o.UI = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") })
	})
	questions := []string{"GET /", "GET /unknown", "HEAD /", "OPTIONS /", "POST /unknown", "DELETE /entrypoints"}
	for _, q := range append(questions, s.Routes()...) {
		method, path, _ := strings.Cut(q, " ")
		got := ask(s, method, "/"+strings.TrimPrefix(path, "/"), "")
		wall, now, err := httpclock.Parse(got.Result().Header.Get(httpclock.Header))
		if err != nil || now != apitest.Now || !wall.Equal((apitest.Clock{}).Wall()) {
			t.Errorf("%s: %v %v %v", q, wall, now, err)
		}
	}
	srv := httptest.NewServer(s)
	defer srv.Close()
	resp, err := http.Get(srv.URL + "/lease")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get(httpclock.Header) == "" {
		t.Error("an answer over the network has none")
	}
}
