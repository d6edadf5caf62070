package api_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
)

// recorded reads an answer of the reference.
func recorded(t *testing.T, file string) (*http.Response, string) {
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
	return resp, string(b)
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

// ours is what we add to a status, and ownMetrics the families that the
// recorded release did not have.
var (
	ours       = regexp.MustCompile(`, "matriarch": \{[^}]*\}`)
	ownMetrics = regexp.MustCompile(`(?m)^.*(failsafe_mode_enabled|failsafe_member|failover_priority|matriarch_).*\n`)
)

// recordedName takes a file name apart: member, question, and when it was asked.
var recordedName = regexp.MustCompile(`^(n[123])-([a-z]+)(-after-switchover|-pending-restart)?\.http$`)

// questions are the recordings whose name does not tell the question.
var questions = map[string]struct{ method, path, body, when string }{
	"get-unknown.http":                  {"GET", "/unknown", "", "-pending-restart"},
	"patch-config.http":                 {"PATCH", "/config", `{"postgresql":{"parameters":{"max_connections":250}}}`, ""},
	"post-failover-bad-json.http":       {"POST", "/failover", "{", ""},
	"post-switchover-wrong-leader.http": {"POST", "/switchover", `{"leader":"n1"}`, ""},
	"post-switchover.http":              {"POST", "/switchover", `{"leader":"n2","candidate":"n3"}`, ""},
	"post-unknown.http":                 {"POST", "/unknown", "{}", ""},
}

// recordedConfig is the configuration of the recorded cluster, as it is stored.
const recordedConfig = `{"ttl":30,"loop_wait":10,"retry_timeout":10,"maximum_lag_on_failover":1048576,"synchronous_mode":true,` +
	`"postgresql":{"use_pg_rewind":true,"use_slots":true,"parameters":{"max_connections":200,"wal_keep_size":"128MB","hot_standby":"on",` +
	`"wal_log_hints":"on","shared_buffers":"128MB","max_wal_senders":10,"log_min_messages":"log","log_line_prefix":"%m [%p] "}}}`

// at is the recorded cluster at one of the three times.
func at(when string, question string) *apitest.Cluster {
	c := apitest.Lab()
	c.OnFailover = func(c *apitest.Cluster, f cluster.Failover) { c.MoveLeader(f.Candidate) }
	c.Change(func(v *cluster.View) { v.Config.JSON = recordedConfig })
	if when == "" {
		return c
	}
	c.MoveLeader("n3")
	c.Change(func(v *cluster.View) {
		v.History.Lines = []cluster.HistoryLine{{Timeline: 1, LSN: 67109296, Reason: "no recovery target specified",
			Timestamp: "2026-11-22T23:06:14.006514+00:00", NewLeader: "n3"}}
		// n1 was made synchronous between the recordings of the status and of the
		// cluster.
		if when == "-pending-restart" || question == "cluster" {
			v.Sync = cluster.SyncState{Leader: "n3", Standbys: []string{"n1"}}
		}
		v.Status.Optime = 0x40002C8
		for i, pos := range []uint64{0x40002C8, 0x40002F0, 0} {
			m := &v.Members[i]
			m.Timeline = 2
			m.XLog, m.Received, m.Replayed = lsn(pos), lsn(pos), lsn(pos)
			if when == "-pending-restart" {
				m.PendingRestartReason = []cluster.SettingChange{{Name: "max_connections", Old: "200", New: "250"}}
			}
		}
	})
	return c
}

// measured gives a member the values that a recording shows and that are not
// ours to find out: times, positions, who is connected. Everything else, and
// how all of it is written, has to come from the state of the cluster.
func measured(t *testing.T, file string) func(*api.Status) {
	_, body := recorded(t, file)
	var d struct {
		Started  string `json:"postmaster_start_time"`
		LastSeen int64  `json:"dcs_last_seen"`
		XLog     struct {
			Location, Received, Replayed uint64
			ReceivedLocation             uint64 `json:"received_location"`
			ReplayedLocation             uint64 `json:"replayed_location"`
			ReplayedAt                   string `json:"replayed_timestamp"`
		}
		Replication []api.Walsender
	}
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	parse := func(text string) time.Time {
		at, err := time.Parse("2006-01-02 15:04:05.999999-07:00", text)
		if err != nil && text != "" {
			t.Fatal(err)
		}
		return at
	}
	return func(s *api.Status) {
		s.Server.Started, s.StoreSeen = parse(d.Started), time.Unix(d.LastSeen, 0)
		s.Server.Location, s.Server.Received, s.Server.Replayed = lsn(d.XLog.Location), lsn(d.XLog.ReceivedLocation), lsn(d.XLog.ReplayedLocation)
		s.Server.ReplayedAt, s.Server.Replication = parse(d.XLog.ReplayedAt), d.Replication
	}
}

// TestRecorded asks what was asked of the reference, for each recorded file, and
// compares code, type and body byte for byte.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.http")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d recordings: %v", len(files), err)
	}
	for _, path := range files {
		file := filepath.Base(path)
		t.Run(strings.TrimSuffix(file, ".http"), func(t *testing.T) { compare(t, file) })
	}
}

func compare(t *testing.T, file string) {
	q, ok := questions[file]
	member, question := "n1", ""
	if !ok {
		parts := recordedName.FindStringSubmatch(file)
		if parts == nil {
			t.Fatalf("nobody knows what was asked for %s", file)
		}
		member, question = parts[1], parts[2]
		q.method, q.path, q.when = "GET", "/"+question, parts[3]
	}
	m := &apitest.Member{Name: member, C: at(q.when, question)}
	resp, body := recorded(t, file)
	switch {
	case file == "post-switchover.http": // n3 had become synchronous meanwhile
		m.C.Change(func(v *cluster.View) { v.Sync = cluster.SyncState{Leader: "n2", Standbys: []string{"n3"}} })
	case question == "metrics":
		m.Edit = measured(t, member+"-health.http")
		seen := regexp.MustCompile(`dcs_last_seen\{.*\} (\d+)`).FindStringSubmatch(body)
		edit := m.Edit
		m.Edit = func(s *api.Status) {
			edit(s)
			n, _ := strconv.ParseInt(seen[1], 10, 64)
			s.StoreSeen = time.Unix(n, 0)
		}
	case strings.HasPrefix(body, `{"state"`):
		m.Edit = measured(t, file)
	}
	got := ask(mustServer(t, m, nil), q.method, q.path, q.body)
	text := ownMetrics.ReplaceAllString(ours.ReplaceAllString(got.Body.String(), ""), "")
	if got.Code != resp.StatusCode || text != body {
		t.Errorf("%d\n got      %s\nrecorded %d\n          %s", got.Code, text, resp.StatusCode, body)
	}
	if statusLineOnly := resp.Header.Get("Server") == ""; statusLineOnly {
		return // no header at all: see docs/rest-api.md
	}
	for name, values := range resp.Header {
		if name == "Server" || name == "Date" {
			continue // the latter is the HTTP library's
		}
		if have := got.Header().Get(name); have != values[0] {
			t.Errorf("header %s: %q, recorded %q", name, have, values[0])
		}
	}
	if want := "close"; resp.Close && got.Code >= 400 && strings.HasPrefix(body, "<!DOCTYPE") && got.Header().Get("Connection") != want {
		t.Errorf("an error page leaves the connection open")
	}
}

func TestMetricsWhileTheServerIsDown(t *testing.T) {
	m := one("n1", nil)
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
