package api_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
)

// recorded reads an answer of the reference.
func recorded(t *testing.T, file string) (code int, contentType, body string) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
}

func mustServer(t testing.TB, m *apitest.Member, edit func(*api.Options)) *api.Server {
	t.Helper()
	opts := api.Options{Source: m, Clock: apitest.Clock{}}
	if edit != nil {
		edit(&opts)
	}
	s, err := api.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends one request without a network.
func ask(s *api.Server, method, path, body string, edit ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Length", fmt.Sprint(len(body)))
	}
	for _, e := range edit {
		e(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

var ours = regexp.MustCompile(`, "matriarch": \{[^}]*\}`)

// lab is the recorded cluster with the facts of each recording filled in.
func lab(t *testing.T, after bool) (*apitest.Cluster, func(name string) *apitest.Member) {
	c := apitest.Lab()
	if after {
		c.MoveLeader("n3")
	}
	return c, func(name string) *apitest.Member {
		return &apitest.Member{Name: name, C: c, Edit: func(s *api.Status) {
			if name == "n2" && !after {
				s.Server.Started = time.Date(2026, 11, 22, 23, 5, 34, 239223000, time.UTC)
				s.Server.Location = 67108944
				s.Server.Replication = []api.Walsender{
					{Usename: "replicator", ApplicationName: "n3", ClientAddr: "10.77.0.13", State: "streaming", SyncState: "sync", SyncPriority: 1},
					{Usename: "replicator", ApplicationName: "n1", ClientAddr: "10.77.0.11", State: "streaming", SyncState: "async"},
				}
				s.StoreSeen = time.Unix(1795388745, 0)
			}
			if name == "n1" {
				s.Server.Received, s.Server.Replayed = 67108944, 67108944
				s.Server.ReplayedAt = time.Date(2026, 11, 22, 23, 5, 45, 796816000, time.UTC)
				s.StoreSeen = time.Unix(1795388745, 0)
			}
		}}
	}
}

func TestRecordedStatus(t *testing.T) {
	_, member := lab(t, false)
	for _, c := range []struct{ name, path, file string }{
		{"n1", "/patroni", "n1-patroni.http"},
		{"n2", "/patroni", "n2-patroni.http"},
		{"n1", "/replica", "n1-replica.http"},
		{"n1", "/primary", "n1-primary.http"},
		{"n1", "/health", "n1-health.http"},
		{"n2", "/primary", "n2-primary.http"},
		{"n2", "/replica", "n2-replica.http"},
	} {
		code, contentType, body := recorded(t, c.file)
		got := ask(mustServer(t, member(c.name), nil), "GET", c.path, "")
		if got.Code != code || got.Header().Get("Content-Type") != contentType {
			t.Errorf("%s %s: %d %s, recorded %d %s", c.name, c.path, got.Code, got.Header().Get("Content-Type"), code, contentType)
		}
		text := ours.ReplaceAllString(got.Body.String(), "")
		// The recordings were made one second apart.
		body = strings.Replace(body, `"dcs_last_seen": 1795388746`, `"dcs_last_seen": 1795388745`, 1)
		if text != body {
			t.Errorf("%s %s\n got      %s\n recorded %s", c.name, c.path, text, body)
		}
	}
}

func TestRecordedPendingRestartAndUnknownPath(t *testing.T) {
	c, _ := lab(t, true)
	c.Change(func(v *cluster.View) {
		v.Config.JSON = `{"synchronous_mode": true}`
		v.Sync = cluster.SyncState{Leader: "n3", Standbys: []string{"n1"}}
	})
	m := &apitest.Member{Name: "n1", C: c, Edit: func(s *api.Status) {
		s.Server.Received, s.Server.Replayed, s.Server.Timeline = 67109672, 67109672, 2
		s.Server.ReplayedAt = time.Date(2026, 11, 22, 23, 6, 15, 196575000, time.UTC)
		s.Pending = []cluster.SettingChange{{Name: "max_connections", Old: "200", New: "250"}}
		s.StoreSeen = time.Unix(1795388793, 0)
	}}
	_, _, body := recorded(t, "n1-patroni-pending-restart.http")
	got := ask(mustServer(t, m, nil), "GET", "/patroni", "")
	if text := ours.ReplaceAllString(got.Body.String(), ""); text != body {
		t.Errorf("got      %s\nrecorded %s", text, body)
	}
	code, _, _ := recorded(t, "get-unknown.http")
	if got := ask(mustServer(t, m, nil), "GET", "/unknown", ""); got.Code != code || !strings.HasPrefix(got.Body.String(), `{"state": "running"`) {
		t.Errorf("unknown path: %d %s", got.Code, got.Body)
	}
}

func TestRecordedCluster(t *testing.T) {
	c, member := lab(t, false)
	check := func(file string) {
		t.Helper()
		code, _, body := recorded(t, file)
		got := ask(mustServer(t, member("n1"), nil), "GET", "/cluster", "")
		if got.Code != code || got.Body.String() != body {
			t.Errorf("%s: %d\n got      %s\n recorded %s", file, got.Code, got.Body, body)
		}
	}
	check("n1-cluster.http")

	c.MoveLeader("n3")
	c.Change(func(v *cluster.View) {
		v.Config.JSON = `{"synchronous_mode": true}`
		v.Sync = cluster.SyncState{Leader: "n3", Standbys: []string{"n1"}}
		v.Status.Optime = 0x40002C8
		for i, at := range []uint64{0x40002C8, 0x40002F0, 0} {
			m := &v.Members[i]
			m.Timeline = 2
			m.XLog, m.Received, m.Replayed = lsn(at), lsn(at), lsn(at)
		}
	})
	check("n1-cluster-after-switchover.http")
}

func TestRecordedHistoryAndConfig(t *testing.T) {
	c, member := lab(t, false)
	s := mustServer(t, member("n1"), nil)
	_, _, body := recorded(t, "n1-history.http")
	if got := ask(s, "GET", "/history", ""); got.Body.String() != body {
		t.Errorf("empty history: %s", got.Body)
	}
	_, _, body = recorded(t, "n1-history-after-switchover.http")
	c.Change(func(v *cluster.View) {
		v.History.Lines = []cluster.HistoryLine{{Timeline: 1, LSN: 67109296, Reason: "no recovery target specified",
			Timestamp: "2026-11-22T23:06:14.006514+00:00", NewLeader: "n3"}}
	})
	if got := ask(s, "GET", "/history", ""); got.Body.String() != body {
		t.Errorf("history: %s, recorded %s", got.Body, body)
	}
	_, _, body = recorded(t, "n1-config.http")
	c.Change(func(v *cluster.View) {
		v.Config.JSON = strings.NewReplacer(": ", ":", ", ", ",").Replace(body)
	})
	if got := ask(s, "GET", "/config", ""); got.Body.String() != body {
		t.Errorf("config\n got      %s\n recorded %s", got.Body, body)
	}
	_, _, body = recorded(t, "patch-config.http")
	patch := `{"postgresql":{"parameters":{"max_connections":250}}}`
	if got := ask(s, "PATCH", "/config", patch); got.Code != 200 || got.Body.String() != body {
		t.Errorf("patched config: %d\n got      %s\n recorded %s", got.Code, got.Body, body)
	}
}

func TestRecordedErrorPages(t *testing.T) {
	_, member := lab(t, false)
	s := mustServer(t, member("n1"), nil)
	for _, c := range []struct{ method, path, body, file string }{
		{"GET", "/failsafe", "", "n1-failsafe.http"},
		{"POST", "/failover", "{broken", "post-failover-bad-json.http"},
		{"POST", "/nothing", "{}", "post-unknown.http"},
		{"POST", "/switchover", `{"leader":"n9","candidate":"n1"}`, "post-switchover-wrong-leader.http"},
	} {
		code, contentType, body := recorded(t, c.file)
		got := ask(s, c.method, c.path, c.body)
		if got.Code != code || got.Header().Get("Content-Type") != contentType || got.Body.String() != body {
			t.Errorf("%s %s: %d %s\n%s\nrecorded %d %s\n%s", c.method, c.path,
				got.Code, got.Header().Get("Content-Type"), got.Body, code, contentType, body)
		}
	}
}

// TestRecordedMetrics: names, help, values and order are those of the recording;
// the reference documents three more, and ours follow.
func TestRecordedMetrics(t *testing.T) {
	_, member := lab(t, false)
	m := member("n1")
	edit := m.Edit
	m.Edit = func(s *api.Status) { edit(s); s.StoreSeen = time.Unix(1795388746, 0) }
	_, _, body := recorded(t, "n1-metrics.http")
	var text strings.Builder
	for _, line := range strings.SplitAfter(ask(mustServer(t, m, nil), "GET", "/metrics", "").Body.String(), "\n") {
		if !regexp.MustCompile(`failsafe_mode_enabled|failsafe_member|failover_priority|matriarch_`).MatchString(line) {
			text.WriteString(line)
		}
	}
	if text.String() != body {
		t.Errorf("got\n%s\nrecorded\n%s", text.String(), body)
	}
}

func TestMetricsWhileTheServerIsDown(t *testing.T) {
	_, member := lab(t, false)
	m := member("n1")
	m.Edit = func(s *api.Status) {
		s.Facts, s.State, s.ViewSeen = false, cluster.StateStopped, boot.Instant(0)
		s.Scope = `a"b\c`
	}
	text := ask(mustServer(t, m, nil), "GET", "/metrics", "").Body.String()
	for _, want := range []string{
		`patroni_postgres_running{scope="a\"b\\c",name="n1"} 0`, `patroni_postgres_state{scope="a\"b\\c",name="n1"} 12`,
		`patroni_cluster_unlocked{scope="a\"b\\c",name="n1"} 1`, `patroni_xlog_replayed_location{scope="a\"b\\c",name="n1"} 0`,
		`patroni_postmaster_start_time{scope="a\"b\\c",name="n1"} 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("lacks %s", want)
		}
	}
	if strings.Contains(text, "patroni_postgres_streaming") {
		t.Error("streaming is told although the server is down")
	}
}
