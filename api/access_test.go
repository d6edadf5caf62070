package api_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/cluster"
)

// unsafe lists every path that changes something, with a body that would do it.
var unsafe = []struct{ method, path, body string }{
	{"PATCH", "/config", `{"ttl":20}`},
	{"PUT", "/config", `{"ttl":20}`},
	{"POST", "/reload", ""},
	{"POST", "/restart", ""},
	{"POST", "/restart", `{"schedule":"2027-01-01T00:00Z"}`},
	{"DELETE", "/restart", ""},
	{"POST", "/reinitialize", `{"force":true}`},
	{"POST", "/sigterm", ""},
	{"POST", "/switchover", `{"leader":"n2","candidate":"n1"}`},
	{"POST", "/failover", `{"candidate":"n1"}`},
	{"DELETE", "/switchover", ""},
	{"POST", "/failsafe", `{}`},
}

func with(p api.Policy) func(*api.Options) { return func(o *api.Options) { o.Policy = p } }

// TestRefusedRequestsStartNothing: whatever the reason of the refusal, nothing
// in the cluster changed and nobody was woken.
func TestRefusedRequestsStartNothing(t *testing.T) {
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	from := func(addr string) func(*http.Request) {
		return func(r *http.Request) { r.RemoteAddr = addr + ":4711" }
	}
	secret := api.Policy{Username: "admin", Password: "geheim"}
	for _, c := range []struct {
		what   string
		policy api.Policy
		edit   func(*http.Request)
		code   int
		text   string
	}{
		{"no password given", secret, func(*http.Request) {}, 401, "no auth header received"},
		{"wrong password", secret, basic("admin", "geheime"), 401, "not authenticated"},
		{"wrong user", secret, basic("geheim", "admin"), 401, "not authenticated"},
		{"no basic scheme", secret, func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, 401, "not authenticated"},
		{"foreign address", api.Policy{AllowList: []string{"10.1.0.0/16", "nonsense/"}}, from("192.0.2.7"), 403, "Access is denied"},
		{"foreign address and right password", api.Policy{Username: "a", Password: "b", AllowList: []string{"10.1.2.3"}},
			func(r *http.Request) { from("192.0.2.7")(r); r.SetBasicAuth("a", "b") }, 403, "Access is denied"},
		{"not a known method", secret, func(r *http.Request) { r.Method = "BREW" }, 501, "Unsupported method ('BREW')"},
	} {
		for _, u := range unsafe {
			m := one("n1", nil)
			before := m.C.View()
			got := ask(mustServer(t, m, with(c.policy)), u.method, u.path, u.body, c.edit)
			if got.Code != c.code || !strings.Contains(got.Body.String(), c.text) {
				t.Errorf("%s: %s %s = %d %q, want %d %q", c.what, u.method, u.path, got.Code, got.Body, c.code, c.text)
			}
			if c.code == 401 && got.Header().Get("WWW-Authenticate") != `Basic realm="Patroni"` {
				t.Errorf("%s: no challenge", c.what)
			}
			untouched(t, c.what, m, before)
		}
	}
}

func untouched(t *testing.T, what string, m *apitest.Member, before cluster.View) {
	t.Helper()
	after := m.C.View()
	if after.Config != before.Config || after.Failover != before.Failover || m.Wakes() != 0 || m.Reloads() != 0 ||
		m.Restarts() != 0 || m.Reinits() != 0 || m.Scheduled() != (cluster.ScheduledRestart{}) {
		t.Errorf("%s: the refused request had an effect", what)
	}
}

func TestAllowList(t *testing.T) {
	for _, c := range []struct {
		what   string
		policy api.Policy
		from   string
		path   string
		code   int
	}{
		{"network", api.Policy{AllowList: []string{"10.1.0.0/16"}}, "10.1.2.3", "/reload", 202},
		{"address", api.Policy{AllowList: []string{"10.1.2.3"}}, "10.1.2.3", "/reload", 202},
		{"mapped address", api.Policy{AllowList: []string{"10.1.2.3"}}, "[::ffff:10.1.2.3]", "/reload", 202},
		{"member", api.Policy{AllowMembers: true}, "10.77.0.13", "/reload", 202},
		{"no member", api.Policy{AllowMembers: true}, "10.77.0.14", "/reload", 403},
		{"failsafe counts members too", api.Policy{AllowMembers: true, AllowList: []string{"10.1.2.3"}}, "10.77.0.13", "/failsafe", 502},
		{"failsafe from no member", api.Policy{AllowMembers: true}, "10.77.0.14", "/failsafe", 403},
		{"reading is free", api.Policy{AllowList: []string{"10.1.2.3"}, Username: "a", Password: "b"}, "192.0.2.1", "GET /config", 200},
	} {
		method, path, ok := strings.Cut(c.path, " ")
		if !ok {
			method, path = "POST", c.path
		}
		got := ask(mustServer(t, one("n1", nil), with(c.policy)), method, path, "",
			func(r *http.Request) { r.RemoteAddr = c.from + ":4711" })
		if got.Code != c.code {
			t.Errorf("%s: %d, want %d", c.what, got.Code, c.code)
		}
	}
}

func TestHeaders(t *testing.T) {
	s := mustServer(t, one("n1", nil), with(api.Policy{Headers: map[string]string{"X-Frame-Options": "DENY"}, ServerTokens: "Minimal"}))
	got := ask(s, "GET", "/patroni", "")
	if got.Header().Get("X-Frame-Options") != "DENY" || got.Header().Get("Server") != "Patroni/4.1.5" {
		t.Errorf("headers %v", got.Header())
	}
	if got := ask(s, "GET", "/failsafe", ""); got.Header().Get("X-Frame-Options") != "" {
		t.Error("an error page carries the extra headers")
	}
}

func TestReloadAndBodies(t *testing.T) {
	m := one("n1", nil)
	s := mustServer(t, m, nil)
	if got := ask(s, "POST", "/reload", ""); got.Code != 202 || got.Body.String() != "reload scheduled" || m.Reloads() != 1 {
		t.Errorf("reload: %d %s, %d times", got.Code, got.Body, m.Reloads())
	}
	for _, c := range []struct {
		body string
		code int
	}{
		{"", 411}, {"{}", 400}, {"[]", 400}, {"null", 400}, {"{} {}", 400}, {`"a"`, 400}, {"{", 400}, {`{"a":}`, 400},
		{`{"a":"` + strings.Repeat("x", 300<<10) + `"}`, 413}, {strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000), 400},
	} {
		for _, path := range []string{"PATCH /config", "PUT /config", "POST /switchover", "POST /failover", "POST /restart", "POST /reinitialize"} {
			method, path, _ := strings.Cut(path, " ")
			if optional := path == "/restart" || path == "/reinitialize"; optional && (c.body == "" || c.body == "{}") {
				continue
			}
			m := one("n1", nil)
			before := m.C.View()
			got := ask(mustServer(t, m, nil), method, path, c.body)
			if got.Code != c.code {
				t.Errorf("%s %s with %.20q: %d, want %d", method, path, c.body, got.Code, c.code)
			}
			untouched(t, c.body, m, before)
		}
	}
}

// FuzzBodies: no body makes the server fail, and whatever is not 200 or 202
// changed nothing.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{`{"leader":"n2","candidate":"n1","scheduled_at":"2030-01-01T10:00Z"}`, `{"ttl":null}`,
		`{"postgresql":{"parameters":{"a":[1,{"b":"\ud83d"}]}}}`, `{"candidate":1}`, "{", `[[[`, "{\"a\":1e999}", `{"scheduled_at":"2026-01-01 10:00"}`,
		`{"name":"n2","slots":{"a":1},"matriarch":{"promise_ms":30000}}`, `{"name":"n2","matriarch":{"promise_ms":"x"}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, target := range []string{"PATCH /config", "PUT /config", "POST /switchover", "POST /failsafe"} {
			method, path, _ := strings.Cut(target, " ")
			m := one("n2", func(s *api.Status) { s.Settings.Failsafe = true })
			m.C.OnFailover = func(c *apitest.Cluster, fo cluster.Failover) {
				if fo.ScheduledAt == "" {
					c.MoveLeader("n1")
				}
			}
			before := m.C.View()
			got := ask(mustServer(t, m, nil), method, path, body)
			switch {
			case got.Code == 200 || got.Code == 202:
			case got.Code >= 400 && got.Code < 500:
				untouched(t, body, m, before)
			default:
				t.Errorf("%s with %q: %d %s", target, body, got.Code, got.Body)
			}
		}
	})
}

// TestSecretsStaySecret: neither an answer nor the log repeats a password, the
// right one or a wrong one.
func TestSecretsStaySecret(t *testing.T) {
	var log bytes.Buffer
	s := mustServer(t, one("n1", nil), func(o *api.Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.Patience = time.Millisecond
		o.Policy = api.Policy{Username: "admin", Password: "geheim-1", Headers: map[string]string{"X-A": "b"}}
	})
	for _, u := range append(unsafe, []struct{ method, path, body string }{{"GET", "/patroni", ""}, {"GET", "/config", ""}, {"GET", "/metrics", ""}}...) {
		for _, password := range []string{"geheim-1", "geheim-2"} {
			got := ask(s, u.method, u.path, u.body, func(r *http.Request) { r.SetBasicAuth("admin", password) })
			all := got.Body.String() + fmt.Sprint(got.Header())
			if strings.Contains(all, "geheim") || strings.Contains(all, "YWRtaW46") {
				t.Errorf("%s %s repeats the password: %s", u.method, u.path, all)
			}
		}
	}
	if strings.Contains(log.String(), "geheim") || strings.Contains(log.String(), "YWRtaW46") {
		t.Errorf("the log has the password: %s", log.String())
	}
}

// TestTLSPolicy exercises certificates on a real port, and changing them while
// the server runs.
func TestTLSPolicy(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "server")
	policy := api.Policy{TLS: api.TLS{CertFile: cert, KeyFile: key, CAFile: ca.file, VerifyClient: "optional"},
		TLSHeaders: map[string]string{"Strict-Transport-Security": "max-age=1"}}
	m := one("n1", nil)
	s := mustServer(t, m, with(policy))
	url := serve(t, s)

	without, withCert := ca.client(t, ""), ca.client(t, "somebody")
	resp := must(without.Get("https://" + url + "/patroni"))(t)
	if resp.StatusCode != 200 || resp.Header.Get("Strict-Transport-Security") == "" || resp.ContentLength <= 0 || resp.ProtoMinor != 1 {
		t.Errorf("GET over TLS: %d %v", resp.StatusCode, resp.Header)
	}
	if resp := must(without.Post("https://"+url+"/reload", "", nil))(t); resp.StatusCode != 403 || m.Reloads() != 0 {
		t.Errorf("POST without a certificate: %d", resp.StatusCode)
	}
	if resp := must(withCert.Post("https://"+url+"/reload", "", nil))(t); resp.StatusCode != 202 {
		t.Errorf("POST with a certificate: %d", resp.StatusCode)
	}

	policy.TLS.VerifyClient = "required"
	if err := s.Reconfigure(policy); err != nil {
		t.Fatal(err)
	}
	without.CloseIdleConnections()
	if resp, err := without.Get("https://" + url + "/patroni"); err == nil {
		t.Errorf("a required certificate was not asked for: %d", resp.StatusCode)
	}
	policy.TLS.CertFile += ".missing"
	if err := s.Reconfigure(policy); err == nil || !strings.Contains(err.Error(), "restapi.certfile") {
		t.Errorf("a missing certificate: %v", err)
	}
	if err := s.Reconfigure(api.Policy{}); err != nil {
		t.Fatal(err)
	}
	plain := &http.Client{Transport: &http.Transport{}}
	defer plain.CloseIdleConnections()
	if resp := must(plain.Get("http://" + url + "/patroni"))(t); resp.StatusCode != 200 || resp.Close {
		t.Errorf("plain: %d, closed %t", resp.StatusCode, resp.Close)
	}
	policy.TLS.CertFile = strings.TrimSuffix(policy.TLS.CertFile, ".missing")
	for _, verify := range []string{"optional", "required"} {
		policy.TLS.VerifyClient = verify
		if err := s.Reconfigure(policy); err != nil {
			t.Fatal(err)
		}
		before := m.Reloads()
		if resp, err := plain.Post("http://"+url+"/reload", "", nil); err == nil && resp.StatusCode < 400 || m.Reloads() != before {
			t.Errorf("%s: a plain connection of before changed something", verify)
		}
		plain.CloseIdleConnections()
		if err := s.Reconfigure(api.Policy{}); err != nil {
			t.Fatal(err)
		}
		if resp := must(plain.Get("http://" + url + "/patroni"))(t); resp.StatusCode != 200 {
			t.Errorf("plain: %d", resp.StatusCode)
		}
	}
	if resp := must(http.Get("http://" + url + "/patroni"))(t); resp.StatusCode != 200 {
		t.Errorf("plain after TLS was switched off: %d", resp.StatusCode)
	}
}

// TestRenewedCertificate: a new certificate under the same name is served after
// a reload, to clients with an open connection too; a broken one changes nothing.
func TestRenewedCertificate(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "server")
	policy := api.Policy{TLS: api.TLS{CertFile: cert, KeyFile: key}}
	s := mustServer(t, one("n1", nil), with(policy))
	url := serve(t, s)
	client := ca.client(t, "")
	serial := func() string {
		t.Helper()
		resp := must(client.Get("https://" + url + "/patroni"))(t)
		return resp.TLS.PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	ca.issue(t, "server")
	if again := serial(); again != first {
		t.Error("the certificate changed before it was asked to")
	}
	if err := s.Reconfigure(policy); err != nil {
		t.Fatal(err)
	}
	serial() // answered on the connection of before, which is closed then
	second := serial()
	if second == first {
		t.Error("the renewed certificate is not served")
	}
	if err := os.WriteFile(key, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reconfigure(policy); err == nil || !strings.Contains(err.Error(), key) {
		t.Errorf("a broken key: %v", err)
	}
	if again := serial(); again != second {
		t.Error("a broken key changed the certificate that is served")
	}
}

// TestEncryptedKeys: both forms of encrypted key files are opened, as openssl
// writes them, and a wrong password is named as the reason.
func TestEncryptedKeys(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "server")
	for form, args := range map[string][]string{
		"PKCS#8":      {"pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", key, "-passout", "pass:geheim", "-out"},
		"traditional": {"ec", "-aes256", "-in", key, "-passout", "pass:geheim", "-out"},
	} {
		file := filepath.Join(t.TempDir(), "key")
		if out, err := exec.Command("openssl", append(args, file)...).CombinedOutput(); err != nil {
			t.Fatalf("openssl: %v: %s", err, out)
		}
		s := mustServer(t, one("n1", nil), with(api.Policy{TLS: api.TLS{CertFile: cert, KeyFile: file, KeyPassword: "geheim"}}))
		if resp := must(ca.client(t, "").Get("https://" + serve(t, s) + "/patroni"))(t); resp.StatusCode != 200 {
			t.Errorf("%s: %d", form, resp.StatusCode)
		}
		err := s.Reconfigure(api.Policy{TLS: api.TLS{CertFile: cert, KeyFile: file, KeyPassword: "falsch"}})
		if err == nil || !strings.Contains(err.Error(), "keyfile_password") || strings.Contains(err.Error(), "falsch") {
			t.Errorf("%s with a wrong password: %v", form, err)
		}

		// The caller's own key may be encrypted too.
		strict := mustServer(t, one("n1", nil), with(api.Policy{TLS: api.TLS{CertFile: cert, KeyFile: key, CAFile: ca.file, VerifyClient: "required"}}))
		at := "https://" + serve(t, strict)
		o := client.Options{CAFile: ca.file, CertFile: cert, KeyFile: file, KeyPassword: "geheim"}
		caller, err := client.New(o)
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if st, err := caller.Status(t.Context(), at); err != nil || st.Patroni.Name != "n1" {
			t.Errorf("%s of the caller: %v", form, err)
		}
		caller.Close()
		o.KeyPassword = "falsch"
		if _, err := client.New(o); err == nil || !strings.Contains(err.Error(), "ctl.keyfile "+file) || strings.Contains(err.Error(), "falsch") {
			t.Errorf("%s of the caller with a wrong password: %v", form, err)
		}
	}
}

func must(resp *http.Response, err error) func(t *testing.T) *http.Response {
	return func(t *testing.T) *http.Response {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
}

// TestRebinding: a page whose own name was made to resolve to this host is of the
// same site for the browser; without a password nothing else would stop it.
func TestRebinding(t *testing.T) {
	for _, c := range []struct {
		host, origin string
		policy       api.Policy
		code         int
	}{
		{"evil.example.com:8008", "http://evil.example.com:8008", api.Policy{}, 403},
		{"127.0.0.1:8008", "http://127.0.0.1:8008", api.Policy{}, 202},
		{"[::1]:8008", "http://[::1]:8008", api.Policy{}, 202},
		{"localhost:8008", "http://localhost:8008", api.Policy{}, 202},
		{"pg1.example.com:8008", "http://pg1.example.com:8008", api.Policy{}, 202},
		{"evil.example.com:8008", "", api.Policy{}, 202}, // no browser
		{"ops.example.com", "http://ops.example.com", api.Policy{Username: "a", Password: "b"}, 202},
	} {
		m := one("n1", nil)
		m.C.Change(func(v *cluster.View) { v.Members[0].APIURL = "http://PG1.example.com:8008/patroni" })
		got := ask(mustServer(t, m, with(c.policy)), "POST", "/reload", "", func(r *http.Request) {
			r.Host = c.host
			r.SetBasicAuth("a", "b")
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
		})
		if got.Code != c.code {
			t.Errorf("%s: %d %s", c.host, got.Code, got.Body)
		}
	}
}

// TestPolicyPutBack: what was in force is so again, although its files are gone.
func TestPolicyPutBack(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "server")
	s := mustServer(t, one("n1", nil), with(api.Policy{TLS: api.TLS{CertFile: cert, KeyFile: key}}))
	url := serve(t, s)
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	back, err := s.Exchange(api.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	back()
	if resp := must(ca.client(t, "").Get("https://" + url + "/patroni"))(t); resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
}
