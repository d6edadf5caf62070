package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/cluster"
)

const schedule = `"schedule":"2027-01-01T10:30:00+01:00"`

func pausedStatus(s *api.Status) { s.Settings.Paused = true }

func TestRefusedRestarts(t *testing.T) {
	for _, c := range []struct {
		body string
		edit func(*api.Status)
		code int
		text string
	}{
		{"{" + schedule + "}", pausedStatus, 500, "Can't schedule restart in the paused state"},
		{`{"role":"leader"}`, nil, 400, "PostgreSQL role should be either primary, standby_leader, or replica"},
		{`{"role":1}`, nil, 400, "PostgreSQL role should be either primary, standby_leader, or replica"},
		{`{"postgres_version":"15"}`, nil, 400, "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 15"},
		{`{"postgres_version":"9.6"}`, nil, 400, "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 9.6"},
		{`{"postgres_version":"15.x"}`, nil, 400, "Invalid PostgreSQL version: 15.x"},
		{`{"postgres_version":"15.2.99999999999"}`, nil, 400, "Invalid PostgreSQL version: 15.2.99999999999"},
		{`{"timeout":0}`, nil, 400, "Timeout should be a positive number of seconds"},
		{`{"timeout":-1}`, nil, 400, "Timeout should be a positive number of seconds"},
		{`{"timeout":"1 month"}`, nil, 400, "Timeout should be a positive number of seconds"},
		{`{"timeout":1e400}`, nil, 400, "Timeout should be a positive number of seconds"},
		{`{"roll":"replica"}`, nil, 400, "Unknown filter for the scheduled restart: roll"},
		{`{"schedule":"2027-01-01T10:30"}`, nil, 400, "Timezone information is mandatory for the scheduled restart"},
		{`{"schedule":"2020-01-01T10:30Z"}`, nil, 422, "Cannot schedule restart in the past"},
		{`{"schedule":"tomorrow"}`, nil, 422, "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601"},
	} {
		m := one("n1", c.edit)
		before := m.C.View()
		got := ask(mustServer(t, m, nil), "POST", "/restart", c.body)
		if got.Code != c.code || got.Body.String() != c.text {
			t.Errorf("%s: %d %q, want %d %q", c.body, got.Code, got.Body, c.code, c.text)
		}
		untouched(t, c.body, m, before)
	}
}

func TestRestart(t *testing.T) {
	for _, c := range []struct {
		body string
		err  error
		want cluster.RestartConditions
		code int
		text string
	}{
		{"", nil, cluster.RestartConditions{}, 200, "restarted successfully"},
		{"{}", nil, cluster.RestartConditions{}, 200, "restarted successfully"},
		{`{"role":"replica","postgres_version":"15.2","timeout":"2min","restart_pending":false}`, nil, cluster.RestartConditions{
			Role: cluster.RoleReplica, OlderThan: 150002, OnlyPending: true, Timeout: 2 * time.Minute}, 200, "restarted successfully"},
		{`{"postgres_version":"9.6.24","timeout":30}`, nil, cluster.RestartConditions{OlderThan: 90624, Timeout: 30 * time.Second}, 200, "restarted successfully"},
		{"", &api.Refusal{Code: 503, Text: "restart conditions are not satisfied"}, cluster.RestartConditions{}, 503, "restart conditions are not satisfied"},
		{"", errors.New("no space left"), cluster.RestartConditions{}, 503, "restart failed: no space left"},
	} {
		m := one("n1", nil)
		var got cluster.RestartConditions
		m.OnRestart = func(_ context.Context, rc cluster.RestartConditions) error { got = rc; return c.err }
		w := ask(mustServer(t, m, nil), "POST", "/restart", c.body)
		if w.Code != c.code || w.Body.String() != c.text || got != c.want || m.Restarts() != 1 {
			t.Errorf("%s: %d %q, %+v", c.body, w.Code, w.Body, got)
		}
	}
}

// TestRestartThatTakesLong is answered in the end, and says that it goes on.
func TestRestartThatTakesLong(t *testing.T) {
	m := one("n1", nil)
	m.OnRestart = func(ctx context.Context, _ cluster.RestartConditions) error { <-ctx.Done(); return ctx.Err() }
	got := ask(mustServer(t, m, func(o *api.Options) { o.Patience = time.Millisecond }), "POST", "/restart", "")
	if got.Code != 503 || got.Body.String() != "restart still running after 0 seconds" {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

// TestRestartWithAnEndlessTimeout: no time overflows what it is added to.
func TestRestartWithAnEndlessTimeout(t *testing.T) {
	m := one("n1", nil)
	var given time.Duration
	m.OnRestart = func(ctx context.Context, c cluster.RestartConditions) error { given = c.Timeout; return ctx.Err() }
	got := ask(mustServer(t, m, nil), "POST", "/restart", `{"timeout":"106000d"}`)
	if got.Code != 200 || given != 365*24*time.Hour {
		t.Errorf("%d %s, for %s", got.Code, got.Body, given)
	}
}

// TestReinitializeUnanswered: a request that no turn took up yet is not said to
// have come to nothing.
func TestReinitializeUnanswered(t *testing.T) {
	m := one("n1", nil)
	m.OnReinitialize = func(bool, bool) error { return context.DeadlineExceeded }
	got := ask(mustServer(t, m, nil), "POST", "/reinitialize", "")
	if got.Code != 503 || !strings.Contains(got.Body.String(), "it may still begin") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestScheduledRestart(t *testing.T) {
	m := one("n1", nil)
	s := mustServer(t, m, nil)
	if got := ask(s, "DELETE", "/restart", ""); got.Code != 404 || got.Body.String() != "no restarts are scheduled" {
		t.Errorf("nothing to delete: %d %s", got.Code, got.Body)
	}
	body := "{" + schedule + `,"postgres_version":"15.2","role":"replica","timeout":60,"restart_pending":true}`
	if got := ask(s, "POST", "/restart", body); got.Code != 202 || got.Body.String() != "Restart scheduled" || m.Restarts() != 0 {
		t.Errorf("schedule: %d %s", got.Code, got.Body)
	}
	want := `"scheduled_restart": {"schedule": "2027-01-01T10:30:00+01:00", "role": "replica", "postgres_version": "15.2", "timeout": 60, "restart_pending": true}`
	if got := ask(s, "GET", "/patroni", ""); !strings.Contains(got.Body.String(), want) {
		t.Errorf("status lacks %s: %s", want, got.Body)
	}
	if got := ask(s, "POST", "/restart", "{"+schedule+"}"); got.Code != 409 || got.Body.String() != "Another restart is already scheduled" {
		t.Errorf("a second one: %d %s", got.Code, got.Body)
	}
	if got := ask(s, "DELETE", "/restart", ""); got.Code != 200 || got.Body.String() != "scheduled restart deleted" || m.Scheduled().Present() {
		t.Errorf("delete: %d %s", got.Code, got.Body)
	}
}

func TestReinitialize(t *testing.T) {
	for _, c := range []struct {
		body              string
		err               error
		force, fromLeader bool
		code              int
		text              string
	}{
		{"", nil, false, false, 200, "reinitialize started"},
		{"{}", nil, false, false, 200, "reinitialize started"},
		{`{"force":true,"from_leader":"true"}`, nil, true, true, 200, "reinitialize started"},
		{`{"force":false,"from-leader":true}`, nil, false, true, 200, "reinitialize started"},
		{"", &api.Refusal{Code: 503, Text: "I am the leader, can not reinitialize"}, false, false, 503, "I am the leader, can not reinitialize"},
	} {
		m := one("n1", nil)
		m.OnReinitialize = func(force, fromLeader bool) error {
			if force != c.force || fromLeader != c.fromLeader {
				t.Errorf("%s: force %t, from the leader %t", c.body, force, fromLeader)
			}
			return c.err
		}
		if got := ask(mustServer(t, m, nil), "POST", "/reinitialize", c.body); got.Code != c.code || got.Body.String() != c.text || m.Reinits() != 1 {
			t.Errorf("%s: %d %s", c.body, got.Code, got.Body)
		}
	}
}

func TestReloadOfWrongFiles(t *testing.T) {
	m := one("n1", nil)
	m.OnReload = func() error { return errors.New("ttl: want 20 or more") }
	if got := ask(mustServer(t, m, nil), "POST", "/reload", ""); got.Code != 500 || got.Body.String() != "nothing was reloaded: ttl: want 20 or more" {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestSigtermHasNoEffect(t *testing.T) {
	if got := ask(mustServer(t, one("n1", nil), nil), "POST", "/sigterm", ""); got.Code != 202 || got.Body.String() != "shutdown scheduled" {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

// TestNoPageIsMadeOfTheQuestion: an answer that repeats what was asked cannot be
// taken for a page by a browser.
func TestNoPageIsMadeOfTheQuestion(t *testing.T) {
	got := ask(mustServer(t, one("n1", nil), nil), "POST", "/restart", `{"<script>":1}`)
	if got.Code != 400 || strings.HasPrefix(got.Header().Get("Content-Type"), "text/html") {
		t.Errorf("%d %v", got.Code, got.Header())
	}
	r := ask(mustServer(t, one("n1", nil), nil), "BREW", "/", "", func(r *http.Request) { r.Method = "<script>" })
	if r.Code != 501 || strings.Contains(r.Body.String(), "<script>") {
		t.Errorf("%d %s", r.Code, r.Body)
	}
}

// TestPagesOfOtherSites: a browser that knows the password is not made to use
// it by somebody else's page.
func TestPagesOfOtherSites(t *testing.T) {
	for _, c := range []struct {
		header, value string
		code          int
	}{{"Sec-Fetch-Site", "cross-site", 403}, {"Origin", "http://evil.example.com", 403}, {"Sec-Fetch-Site", "same-origin", 202}, {"X-Other", "", 202}} {
		m := one("n1", nil)
		got := ask(mustServer(t, m, nil), "POST", "/reload", "", func(r *http.Request) { r.Header.Set(c.header, c.value) })
		if got.Code != c.code || (m.Reloads() == 1) != (c.code == 202) {
			t.Errorf("%s %s: %d", c.header, c.value, got.Code)
		}
	}
}

// FuzzRestart: no body makes the server fail, and a refused one starts nothing.
func FuzzRestart(f *testing.F) {
	for _, s := range []string{"", "{}", "{" + schedule + "}", `{"postgres_version":15.2}`, `{"timeout":"99999999999999999999d"}`, `{"timeout":1e30}`,
		`{"role":["replica"]}`, `{"restart_pending":null}`, `{"force":[],"from_leader":{}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"/restart", "/reinitialize", "/reload", "/sigterm"} {
			m := one("n1", nil)
			before := m.C.View()
			got := ask(mustServer(t, m, nil), "POST", path, body)
			switch {
			case got.Code == 200 || got.Code == 202:
			case got.Code >= 400 && got.Code < 500:
				untouched(t, body, m, before)
			default:
				t.Errorf("%s with %q: %d %s", path, body, got.Code, got.Body)
			}
		}
	})
}
