package api_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

func TestRefusedMoves(t *testing.T) {
	paused := func(v *cluster.View) { v.Config.JSON = `{"pause":true}` }
	synchronous := func(v *cluster.View) {
		v.Config.JSON = `{"synchronous_mode":true}`
		v.Sync = cluster.SyncState{Leader: "n2", Standbys: []string{"n3"}}
	}
	noStandby := func(v *cluster.View) { synchronous(v); v.Sync.Standbys = nil }
	alone := func(v *cluster.View) { v.Members = v.Members[1:2] }
	for _, c := range []struct {
		path, body string
		edit       func(*cluster.View)
		code       int
		text       string
	}{
		{"/failover", `{"leader":null}`, nil, 400, "Failover could be performed only to a specific candidate"},
		{"/switchover", `{"leader":"n2","candidate":1}`, nil, 400, "candidate 1: want a text"},
		{"/switchover", `{"leader":""}`, nil, 400, "Switchover could be performed only from a specific leader"},
		{"/failover", `{"candidate":"n1","scheduled_at":"2030-01-01T10:00Z"}`, nil, 400, "Failover can't be scheduled"},
		{"/switchover", `{"leader":"n2","scheduled_at":"2030-01-01T10:00Z"}`, paused, 400, "Can't schedule switchover in the paused state"},
		{"/switchover", `{"leader":"n2","scheduled_at":"2030-01-01T10:00"}`, nil, 400, "Timezone information is mandatory for the scheduled switchover"},
		{"/switchover", `{"leader":"n2","scheduled_at":"2020-01-01T10:00Z"}`, nil, 422, "Cannot schedule switchover in the past"},
		{"/switchover", `{"leader":"n2","scheduled_at":"soon"}`, nil, 422, "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601"},
		{"/switchover", `{"leader":"n2"}`, paused, 400, "Switchover is possible only to a specific candidate in a paused state"},
		{"/failover", `{"leader":"n2","candidate":"n2"}`, nil, 400, "Switchover target and source are the same"},
		{"/switchover", `{"leader":"n1","member":"n3"}`, nil, 412, "leader name does not match"},
		{"/switchover", `{"leader":"n2","candidate":"n1"}`, synchronous, 412, "candidate name does not match with sync_standby"},
		{"/switchover", `{"leader":"n2","candidate":"n9"}`, nil, 412, "candidate does not exists"},
		{"/failover", `{"candidate":"n2"}`, nil, 412, `candidate "n2" is the leader already`},
		{"/switchover", `{"leader":"n2"}`, noStandby, 412, "switchover is not possible: can not find sync_standby"},
		{"/switchover", `{"leader":"n2"}`, alone, 412, "switchover is not possible: cluster does not have members except leader"},
		{"/failover", `{"candidate":"n3"}`, nil, 412, "failover is not possible: no good candidates have been found (n3: does not answer)"},
	} {
		m := one("n2", nil)
		m.Refuse = map[string]string{"n3": "does not answer"}
		if c.edit != nil {
			m.C.Change(c.edit)
		}
		before := m.C.View()
		got := ask(mustServer(t, m, nil), "POST", c.path, c.body)
		if got.Code != c.code || got.Body.String() != c.text {
			t.Errorf("%s %s: %d %q, want %d %q", c.path, c.body, got.Code, got.Body, c.code, c.text)
		}
		untouched(t, c.body, m, before)
	}
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		path, body string
		then       func(*apitest.Cluster, cluster.Failover)
		code       int
		text       string
	}{
		{"/switchover", `{"leader":"n2","candidate":"n1"}`, moveTo("n1"), 200, `Successfully switched over to "n1"`},
		{"/switchover", `{"leader":"n2"}`, moveTo("n3"), 200, `Successfully switched over to "n3"`},
		{"/switchover", `{"leader":"n2","candidate":"n1"}`, moveTo("n3"), 200, `Switched over to "n3" instead of "n1"`},
		{"/failover", `{"candidate":"n1"}`, moveTo("n1"), 200, `Successfully failed over to "n1"`},
		{"/failover", `{"leader":"n2","candidate":"n1"}`, moveTo("n1"), 200, `Successfully switched over to "n1"`},
		{"/switchover", `{"leader":"n2","candidate":"n1"}`, clearRequest, 503, `Switchover failed`},
		{"/switchover", `{"leader":"n2","candidate":"n1","scheduled_at":"2030-01-01 10:00+0200"}`, nil, 202, "Switchover scheduled"},
	} {
		m := one("n2", nil)
		m.C.OnFailover = c.then
		got := ask(mustServer(t, m, nil), "POST", c.path, c.body)
		if got.Code != c.code || got.Body.String() != c.text {
			t.Errorf("%s %s: %d %q, want %d %q", c.path, c.body, got.Code, got.Body, c.code, c.text)
		}
		if m.Wakes() != 1 {
			t.Errorf("%s %s: the loop was woken %d times", c.path, c.body, m.Wakes())
		}
	}
}

func moveTo(name string) func(*apitest.Cluster, cluster.Failover) {
	return func(c *apitest.Cluster, _ cluster.Failover) { c.MoveLeader(name) }
}

func clearRequest(c *apitest.Cluster, _ cluster.Failover) {
	c.Change(func(v *cluster.View) { v.Failover = cluster.Failover{} })
}

func TestAnsweredOnlyWhenTheNewLeaderWrites(t *testing.T) {
	m := one("n2", nil)
	promoted := make(chan struct{})
	m.C.OnFailover = func(c *apitest.Cluster, _ cluster.Failover) {
		// The key is gone and nobody leads: still under way.
		c.Change(func(v *cluster.View) { v.Leader, v.Failover = cluster.Leader{}, cluster.Failover{} })
		go func() {
			time.Sleep(600 * time.Millisecond) // longer than a failure needs to be believed
			c.Change(func(v *cluster.View) { v.Leader = cluster.Leader{Name: "n1"} })
			close(promoted)
			c.MoveLeader("n1")
		}()
	}
	got := ask(mustServer(t, m, nil), "POST", "/switchover", `{"leader":"n2","candidate":"n1"}`)
	<-promoted
	if got.Code != 200 || got.Body.String() != `Successfully switched over to "n1"` {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

// TestStillRunning: the wait ends with what is known, also on a connection
// whose usual deadlines are long past.
func TestStillRunning(t *testing.T) {
	m := one("n2", nil)
	impatient := func(o *api.Options) { o.Patience = time.Second }
	url := serve(t, mustServer(t, m, impatient))
	resp, err := http.Post("http://"+url+"/switchover", "application/json", strings.NewReader(`{"leader":"n2","candidate":"n1"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if want := `Switchover still running after 1 seconds: "n2" leads now`; err != nil || resp.StatusCode != 202 || string(body) != want {
		t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}

	m.C.OnFailover = func(c *apitest.Cluster, _ cluster.Failover) { c.SetDown(true) }
	got := ask(mustServer(t, m, impatient), "POST", "/failover", `{"candidate":"n1"}`)
	if want := "Failover status unknown after 1 seconds; operation may still be in progress"; got.Code != 503 || got.Body.String() != want {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestWhyItFailed(t *testing.T) {
	j, err := journal.Open(journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := one("n2", nil)
	m.C.OnFailover = func(c *apitest.Cluster, f cluster.Failover) {
		clearRequest(c, f)
		j.Append(journal.OfTurn(time.Now(), ha.Observation{}, ha.Memory{}, ha.Decision{Rule: ha.SwitchoverAway,
			Actions: []ha.Action{{Kind: ha.ClearFailover, Why: "n1 is 5 MB behind"}}}))
	}
	got := ask(mustServer(t, m, func(o *api.Options) { o.Journal = j }), "POST", "/switchover", `{"leader":"n2","candidate":"n1"}`)
	if got.Code != 503 || got.Body.String() != "Switchover failed: n1 is 5 MB behind" {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestScheduledSwitchoverIsShownAndDeleted(t *testing.T) {
	m := one("n2", nil)
	s := mustServer(t, m, nil)
	if got := ask(s, "DELETE", "/switchover", ""); got.Code != 404 || got.Body.String() != "no switchover is scheduled" {
		t.Errorf("nothing scheduled: %d %s", got.Code, got.Body)
	}
	ask(s, "POST", "/switchover", `{"leader":"n2","candidate":"n1","scheduled_at":"2030-01-01T10:00+01"}`)
	want := `"scheduled_switchover": {"at": "2030-01-01T10:00:00+01:00", "from": "n2", "to": "n1"}, "scope": "lab"}`
	if got := ask(s, "GET", "/cluster", "").Body.String(); !strings.HasSuffix(got, want) {
		t.Errorf("cluster: %s", got)
	}
	if got := ask(s, "DELETE", "/switchover", ""); got.Code != 200 || got.Body.String() != "scheduled switchover deleted" {
		t.Errorf("delete: %d %s", got.Code, got.Body)
	}
	if m.C.View().Failover.Requested() {
		t.Error("the request is still there")
	}
}

func TestStoreDown(t *testing.T) {
	m := one("n2", nil)
	m.C.SetDown(true)
	s := mustServer(t, m, nil)
	for _, c := range []struct {
		method, path, body string
		code               int
	}{
		{"GET", "/cluster", "", 503}, {"GET", "/config", "", 200}, {"GET", "/history", "", 200}, {"GET", "/primary", "", 200},
		{"POST", "/switchover", `{"leader":"n2","candidate":"n1"}`, 503}, {"PATCH", "/config", `{"ttl":20}`, 503}, {"PUT", "/config", `{"ttl":20}`, 502},
		{"DELETE", "/switchover", "", 503},
	} {
		if got := ask(s, c.method, c.path, c.body); got.Code != c.code {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, got.Code, c.code)
		}
	}
}

func TestConfigChanges(t *testing.T) {
	m := one("n2", nil)
	s := mustServer(t, m, nil)
	tag := ask(s, "GET", "/config", "").Header().Get("ETag")
	if tag != `"7"` {
		t.Fatalf("entity tag %s", tag)
	}
	ifMatch := func(tag string) func(*http.Request) { return func(r *http.Request) { r.Header.Set("If-Match", tag) } }
	if got := ask(s, "PATCH", "/config", `{"ttl":"30"}`, ifMatch(tag)); got.Code != 200 || m.C.View().Config.Version != "7" {
		t.Errorf("a patch that changes nothing: %d, version %s", got.Code, m.C.View().Config.Version)
	}
	got := ask(s, "PATCH", "/config", `{"ttl":20,"loop_wait":null,"postgresql":{"parameters":{"a.b":"c"}}}`, ifMatch(tag))
	want := `{"ttl": 20, "retry_timeout": 10, "maximum_lag_on_failover": 1048576, "postgresql": {"use_pg_rewind": true, "parameters": {"max_connections": 200, "a.b": "c"}}}`
	if got.Code != 200 || got.Body.String() != want {
		t.Errorf("patch: %d\n got  %s\n want %s", got.Code, got.Body, want)
	}
	for _, method := range []string{"PATCH", "PUT"} {
		if got := ask(s, method, "/config", `{"ttl":40}`, ifMatch(tag)); got.Code != 409 {
			t.Errorf("%s with an old version: %d", method, got.Code)
		}
	}
	if got := ask(s, "PUT", "/config", `{"ttl":40}`); got.Code != 200 || got.Body.String() != `{"ttl": 40}` || m.C.View().Config.JSON != `{"ttl":40}` {
		t.Errorf("put: %d %s, stored %s", got.Code, got.Body, m.C.View().Config.JSON)
	}
	m.C.Change(func(v *cluster.View) { v.Config = cluster.Config{} })
	if got := ask(s, "GET", "/config", ""); got.Code != 502 {
		t.Errorf("no config key: %d", got.Code)
	}
	if got := ask(s, "PATCH", "/config", `{"ttl":40}`); got.Code != 503 {
		t.Errorf("patch without config key: %d", got.Code)
	}
}

func TestJournalPath(t *testing.T) {
	j, err := journal.Open(journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)
	for i := range 5 {
		j.Append(journal.OfEvent(at.Add(time.Duration(i)*time.Minute), "n1", "agent-started", "hello"))
	}
	s := mustServer(t, one("n1", nil), func(o *api.Options) { o.Journal = j })
	for _, c := range []struct {
		path, first, last string
		n                 int
	}{
		{"/journal", `"seq": 1`, `"seq": 5`, 5},
		{"/journal?limit=2", `"seq": 4`, `"seq": 5`, 2},
		{"/journal?since=2&limit=2", `"seq": 3`, `"seq": 4`, 2},
		{"/journal?since=2026-11-22T23:03:00Z", `"seq": 4`, `"seq": 5`, 2},
	} {
		text := ask(s, "GET", c.path, "").Body.String()
		if n := strings.Count(text, `"seq"`); n != c.n || !strings.HasPrefix(text, "[{"+c.first) || !strings.Contains(text, c.last) {
			t.Errorf("%s: %d records: %s", c.path, n, text)
		}
	}
	for _, path := range []string{"/journal?since=x", "/journal?limit=0", "/journal?limit=x"} {
		if got := ask(s, "GET", path, ""); got.Code != 400 {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
	if got := ask(mustServer(t, one("n1", nil), nil), "GET", "/journal", "").Body.String(); got != "[]" {
		t.Errorf("without a journal: %s", got)
	}
}

// TestOldLoadBalancer speaks HTTP/1.0 on the wire, as an existing check does.
func TestOldLoadBalancer(t *testing.T) {
	for _, c := range []struct{ member, want string }{{"n2", "HTTP/1.0 200 OK\r\n"}, {"n1", "HTTP/1.0 503 Service Unavailable\r\n"}} {
		conn, err := net.Dial("tcp", serve(t, mustServer(t, one(c.member, nil), nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "OPTIONS / HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn) // the server closes
		if err != nil || !strings.HasPrefix(string(answer), c.want) || !strings.HasSuffix(string(answer), "\r\n\r\n") {
			t.Errorf("%s: %q, %v", c.member, answer, err)
		}
	}
}

// TestReplacedRequestIsTold: a scheduled switchover is not lost in silence.
func TestReplacedRequestIsTold(t *testing.T) {
	var said bytes.Buffer
	m := one("n1", nil)
	m.C.Change(func(v *cluster.View) {
		v.Failover = cluster.Failover{Leader: "n2", Candidate: "n3", ScheduledAt: "2030-01-01T00:00:00+00:00", Version: "9"}
	})
	s := mustServer(t, m, func(o *api.Options) { o.Log = slog.New(slog.NewTextHandler(&said, nil)) })
	ask(s, "POST", "/switchover", `{"leader":"n2","candidate":"n1","scheduled_at":"2031-01-01T00:00:00Z"}`)
	if !strings.Contains(said.String(), "2030-01-01T00:00:00+00:00") {
		t.Errorf("said:\n%s", said.String())
	}
}
