package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
	"github.com/matriarch-ha/matriarch/journal"
)

func newClient(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestEveryCall speaks to a real server of ours.
func TestEveryCall(t *testing.T) {
	ctx := t.Context()
	j, err := journal.Open(journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	j.Append(journal.OfEvent(time.Now(), "n2", "agent-started", "hello"))
	m := &apitest.Member{Name: "n2", C: apitest.Lab()}
	m.C.OnFailover = func(c *apitest.Cluster, f cluster.Failover) {
		if f.ScheduledAt == "" {
			c.MoveLeader("n1")
		}
	}
	m.C.Change(func(v *cluster.View) {
		v.History.Lines = []cluster.HistoryLine{{Timeline: 1, LSN: 1 << 60, Reason: "r", Timestamp: "t", NewLeader: "n2"}}
	})
	hs := apitest.Serve(t, m, func(o *api.Options) {
		o.Journal = j
		o.Policy = api.Policy{Username: "admin", Password: "geheim"}
	})
	c := newClient(t, client.Options{Username: "admin", Password: "geheim"})

	if s, err := c.Status(ctx, hs.URL); err != nil || s.Patroni.Name != "n2" || *s.XLog.Location != 67108864 || s.Matriarch.LeaseRemainingMs == 0 {
		t.Errorf("status %+v, %v", s, err)
	}
	if d, err := c.Cluster(ctx, hs.URL); err != nil || len(d.Members) != 3 || !d.Members[0].Lag.Known || *d.Members[0].LSN != "0/4000000" {
		t.Errorf("cluster %+v, %v", d, err)
	}
	if l, err := c.Lease(ctx, hs.URL); err != nil || l.LeaseRemainingMs != 26850 {
		t.Errorf("lease %+v, %v", l, err)
	}
	if v, err := c.Vote(ctx, hs.URL); err != nil || v.Name != "n2" || v.InRecovery {
		t.Errorf("vote %+v, %v", v, err)
	}
	if h, err := c.History(ctx, hs.URL); err != nil || len(h) != 1 || h[0][1] != jsonNumber("1152921504606846976") {
		t.Errorf("history %v, %v", h, err)
	}
	if r, err := c.Journal(ctx, hs.URL, "", 10); err != nil || len(r) != 1 || r[0].Why != "hello" {
		t.Errorf("journal %+v, %v", r, err)
	}
	doc, tag, err := c.Config(ctx, hs.URL)
	if err != nil || tag != `"7"` || doc[0].Key != "ttl" {
		t.Errorf("config %v %s, %v", doc, tag, err)
	}
	if r, err := c.PatchConfig(ctx, hs.URL, pyjson.Object{{Key: "ttl", Value: 20}}, tag); err != nil || !r.OK() {
		t.Errorf("patch %+v, %v", r, err)
	}
	if r, err := c.PutConfig(ctx, hs.URL, doc, tag); err != nil || r.Code != http.StatusConflict || r.Text != "Conflict" {
		t.Errorf("put %+v, %v", r, err)
	}
	if r, err := c.Reload(ctx, hs.URL); err != nil || r.Code != 202 || m.Reloads() != 1 {
		t.Errorf("reload %+v, %v", r, err)
	}
	if r, err := c.Switchover(ctx, hs.URL, client.Move{Leader: "n2", ScheduledAt: "2030-01-01T10:00Z"}); err != nil || r.Text != "Switchover scheduled" {
		t.Errorf("scheduled %+v, %v", r, err)
	}
	if r, err := c.CancelSwitchover(ctx, hs.URL); err != nil || !r.OK() {
		t.Errorf("cancel %+v, %v", r, err)
	}
	if r, err := c.Failover(ctx, hs.URL, client.Move{Candidate: "n1"}); err != nil || r.Text != `Successfully failed over to "n1"` {
		t.Errorf("failover %+v, %v", r, err)
	}

	stranger := newClient(t, client.Options{})
	if r, err := stranger.Reload(ctx, hs.URL); err != nil || r.Code != 401 || r.OK() {
		t.Errorf("without a password: %+v, %v", r, err)
	}
}

func jsonNumber(s string) any {
	v, _ := pyjson.Parse([]byte(s))
	return v
}

// TestSent: the caller learns whether a request may have had an effect.
func TestSent(t *testing.T) {
	refused := httptest.NewServer(nil)
	refused.Close()
	silent := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silent }))
	defer hanging.Close()
	defer close(silent)
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}))
	defer cut.Close()
	noTLS := hanging.URL[len("http://"):]

	c := newClient(t, client.Options{Timeout: 300 * time.Millisecond})
	for _, k := range []struct {
		what, base string
		sent       bool
	}{
		{"connection refused", refused.URL, false},
		{"no answer", hanging.URL, true},
		{"cut off", cut.URL, true},
		{"no TLS there", "https://" + noTLS, false},
		{"no address", "http://", false},
	} {
		_, err := c.Reload(t.Context(), k.base)
		if err == nil || client.Sent(err) != k.sent {
			t.Errorf("%s: sent %v, want %v (%v)", k.what, client.Sent(err), k.sent, err)
		}
	}
	_, err := c.Reload(t.Context(), hanging.URL)
	var netErr net.Error
	if !errors.Is(err, context.DeadlineExceeded) && !(errors.As(err, &netErr) && netErr.Timeout()) {
		t.Errorf("the call had no deadline: %v", err)
	}
}

// TestStrangeAnswers: what is no answer of a member is an error, not a panic.
func TestStrangeAnswers(t *testing.T) {
	answer := ""
	code := 200
	hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(code)
		w.Write([]byte(answer))
	}))
	defer hs.Close()
	c := newClient(t, client.Options{})
	for _, answer = range []string{"", "x", "[]", `{"members": 1}`} {
		if d, err := c.Cluster(t.Context(), hs.URL); err == nil {
			t.Errorf("%q: read as %+v", answer, d)
		}
	}
	code, answer = 302, ""
	if _, err := c.Cluster(t.Context(), hs.URL); client.Code(err) != 302 {
		t.Errorf("a redirect: %v", err)
	}
}

func TestBase(t *testing.T) {
	for in, want := range map[string]string{"http://a:8008/patroni": "http://a:8008", "https://[::1]:1/x?y": "https://[::1]:1", "x": "x"} {
		if got := client.Base(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}
