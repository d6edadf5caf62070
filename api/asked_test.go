package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/journal"
)

// TestRequestsAreToldWithTheirOrigin: what was let in, and nothing that was
// refused, read, or is nobody's business.
func TestRequestsAreToldWithTheirOrigin(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		want               journal.Request // zero: nothing is told
		text               string
	}{
		{"POST", "/switchover", `{"leader":"n2","candidate":"n3"}`, journal.Request{Kind: "switchover", Target: "n3"}, "a switchover from n2 to n3 was asked for"},
		{"POST", "/failover", `{"candidate":"n3"}`, journal.Request{Kind: "failover", Target: "n3"}, "a failover to n3 was asked for"},
		{"POST", "/switchover", `{"leader":"n2","scheduled_at":"2030-01-01T10:00Z"}`, journal.Request{Kind: "switchover", At: "2030-01-01T10:00:00+00:00"}, "at 2030-01-01"},
		{"POST", "/restart", "", journal.Request{Kind: "restart", Target: "n1"}, "a restart of PostgreSQL was asked for"},
		{"POST", "/restart", `{"schedule":"2030-01-01T10:00Z"}`, journal.Request{Kind: "restart", Target: "n1", At: "2030-01-01T10:00:00+00:00"}, "at 2030-01-01"},
		{"DELETE", "/restart", "", journal.Request{Kind: "cancel", Target: "n1"}, "scheduled restart"},
		{"POST", "/reinitialize", "", journal.Request{Kind: "reinitialize", Target: "n1"}, "a new copy"},
		{"PATCH", "/config", `{"pause":true}`, journal.Request{Kind: "pause"}, "a pause of the cluster was asked for"},
		{"PATCH", "/config", `{"pause":null}`, journal.Request{Kind: "resume"}, "a resume of the cluster was asked for"},
		{"PATCH", "/config", `{"ttl":20,"postgresql":{"parameters":{"x":"geheim"}}}`, journal.Request{Kind: "config"}, "ttl, postgresql"},
		{"PUT", "/config", `{"ttl":20,"secret":"geheim"}`, journal.Request{Kind: "config"}, "ttl, secret"},

		{"POST", "/switchover", `{"leader":"n9"}`, journal.Request{}, ""},
		{"POST", "/restart", `{"role":"x"}`, journal.Request{}, ""},
		{"DELETE", "/switchover", "", journal.Request{}, ""}, // none is scheduled
		{"GET", "/config", "", journal.Request{}, ""},
	} {
		m := one("n1", nil)
		m.C.OnFailover = func(c *apitest.Cluster, f cluster.Failover) { c.MoveLeader("n3") }
		var told []journal.Request
		var texts []string
		s := mustServer(t, m, func(o *api.Options) {
			o.Requested = func(q journal.Request, text string) { told, texts = append(told, q), append(texts, text) }
		})
		ask(s, c.method, c.path, c.body, func(r *http.Request) { r.RemoteAddr = "10.0.0.5:4711" })
		if c.want.Kind == "" {
			if len(told) != 0 {
				t.Errorf("%s %s %s: told %+v", c.method, c.path, c.body, told)
			}
			continue
		}
		c.want.From = "10.0.0.5"
		if len(told) != 1 || told[0] != c.want || !strings.Contains(texts[0], c.text) || !strings.HasSuffix(texts[0], ", from 10.0.0.5") || strings.Contains(texts[0], "geheim") {
			t.Errorf("%s %s %s: told %+v %q\nwant %+v", c.method, c.path, c.body, told, texts, c.want)
		}
	}
}
