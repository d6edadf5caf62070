package app

import (
	"bytes"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs/memory"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/proxy"
)

// scrape is the whole answer of GET /metrics of a member with everything on.
func scrape(t *testing.T, scope, member string) string {
	t.Helper()
	s := newStatistics(scope, member)
	s.Turn(20*time.Millisecond, "some-rule")
	s.Task(ha.TaskKind("clone"), time.Minute, nil)
	s.Task(ha.TaskKind("clone"), time.Second, errors.New("no"))
	s.renewed(25 * time.Second)
	s.gauge("matriarch_guard_running", "Value is 1 if the guard process runs, 0 otherwise.", func() float64 { return 1 })
	s.entrypoint(func() proxy.Stats {
		ports := []proxy.PortStats{{Port: "read-write", Members: []proxy.MemberStats{{Member: "n1", In: true}, {Member: `n"2\`}}}}
		return proxy.Stats{Ports: ports, Accepted: 7, Held: 1, Backends: []proxy.BackendStats{{Member: "n1", Sessions: 2, Served: 3}, {Member: `n"2\`, Served: 4}}}
	})
	store := s.measured(memory.NewServer(clock.Real{}).Connect())
	if _, err := store.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	session, err := store.Open(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := session.Delete(t.Context(), "leader"); err == nil {
		t.Fatal("deleted a key that is not there")
	}

	m := &apitest.Member{Name: member, C: apitest.Lab(), Edit: func(st *api.Status) {
		st.Scope = scope
		st.Server.ReplayedAt = apitest.Clock{}.Wall().Add(-time.Second)
		st.Server.Received++
		st.Server.Replication = []api.Walsender{{ApplicationName: "n1", Replay: 67108000, ReplayLag: 250 * time.Millisecond}}
	}}
	srv, err := api.New(api.Options{Source: m, Clock: apitest.Clock{}, Metrics: s.Write})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/plain" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	return w.Body.String()
}

// TestMetricsAreWellFormed: what Prometheus reads parses, has no family twice,
// and every sample names scope and member.
func TestMetricsAreWellFormed(t *testing.T) {
	for _, scope := range []string{"lab", `a"b\c` + "\nd"} {
		for _, member := range []string{"n1", "n2"} {
			text := scrape(t, scope, member)
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, err := parser.TextToMetricFamilies(strings.NewReader(text))
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			for name, f := range families {
				if f.Help == nil || f.Type == nil {
					t.Errorf("%s lacks help or type", name)
				}
				for _, m := range f.Metric {
					labels := map[string]string{}
					for _, l := range m.Label {
						labels[l.GetName()] = l.GetValue()
					}
					if labels["scope"] != scope || labels["name"] != member {
						t.Errorf("%s has labels %v", name, labels)
					}
				}
			}
		}
	}
}

// TestOurMetricsPassTheLinter: names and units follow the conventions. Those of
// the reference are as they are.
func TestOurMetricsPassTheLinter(t *testing.T) {
	for _, member := range []string{"n1", "n2"} {
		text := scrape(t, "lab", member)
		_, own, _ := strings.Cut(text, "# HELP matriarch_")
		problems, err := promlint.New(io.MultiReader(strings.NewReader("# HELP matriarch_"), strings.NewReader(own))).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestTheTableOfMetricsIsTrue: each family is documented with its type, and each
// documented one can be read.
func TestTheTableOfMetricsIsTrue(t *testing.T) {
	doc, err := os.ReadFile("../docs/rest-api.md")
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for _, member := range []string{"n1", "n2"} {
		for _, f := range regexp.MustCompile(`(?m)^# TYPE (matriarch_\w+) (\w+)$`).FindAllStringSubmatch(scrape(t, "lab", member), -1) {
			served["| `"+f[1]+"` | "+f[2]+" |"] = true
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `matriarch_\\w+` \\| \\w+ \\|").FindAllString(string(doc), -1) {
		if !served[row] && !strings.Contains(row, "matriarch_guard_") {
			t.Errorf("documented and not served: %s", row)
		}
		delete(served, row)
	}
	for row := range served {
		t.Errorf("served and not documented: %s", row)
	}
}

func TestStatistics(t *testing.T) {
	for member, lines := range map[string][]string{
		"n1": {
			`matriarch_turn_duration_seconds_count{name="n1",scope="lab"} 1`,
			`matriarch_rule_firings_total{name="n1",rule="some-rule",scope="lab"} 1`,
			`matriarch_task_duration_seconds_count{name="n1",outcome="done",scope="lab",task="clone"} 1`,
			`matriarch_task_duration_seconds_count{name="n1",outcome="failed",scope="lab",task="clone"} 1`,
			`matriarch_lease_margin_seconds_bucket{name="n1",scope="lab",le="30"} 1`,
			`matriarch_lease_margin_seconds_bucket{name="n1",scope="lab",le="20"} 0`,
			`matriarch_store_request_duration_seconds_count{name="n1",outcome="ok",request="renew",scope="lab"} 1`,
			`matriarch_store_request_duration_seconds_count{name="n1",outcome="conflict",request="delete",scope="lab"} 1`,
			`matriarch_entrypoint_connections_accepted_total{name="n1",scope="lab"} 7`,
			`matriarch_entrypoint_sessions{member="n1",name="n1",scope="lab"} 2`,
			`matriarch_entrypoint_sessions_total{member="n\"2\\",name="n1",scope="lab"} 4`,
			`matriarch_replay_age_seconds{scope="lab",name="n1"} 1.000`,
		},
		"n2": {
			`matriarch_replica_lag_bytes{scope="lab",name="n2",replica="n1"} 864`,
			`matriarch_replica_lag_seconds{scope="lab",name="n2",replica="n1"} 0.250`,
			`matriarch_replica_lag_bytes{scope="lab",name="n2",replica="n3"} 0`,
			`matriarch_lease_remaining_seconds{scope="lab",name="n2"} 26.850`,
		},
	} {
		text := scrape(t, "lab", member)
		for _, want := range lines {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("%s lacks %s in\n%s", member, want, text)
			}
		}
	}
}

// TestMetricsWithoutAPart: one part that cannot be read does not hide the rest.
func TestMetricsWithoutAPart(t *testing.T) {
	m := &apitest.Member{Name: "n1", C: apitest.Lab(), Edit: func(st *api.Status) { st.State = cluster.StateStopped }}
	srv, err := api.New(api.Options{Source: m, Clock: apitest.Clock{}, Metrics: func(io.Writer) error { return errors.New("broken") }})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || !bytes.Contains(w.Body.Bytes(), []byte("patroni_postgres_running")) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
