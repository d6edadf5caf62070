package api_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

func lsn(n uint64) wal.LSN { return wal.LSN(n) }

// one makes a member of the lab with its status edited.
func one(name string, edit func(*api.Status)) *apitest.Member {
	return &apitest.Member{Name: name, C: apitest.Lab(), Edit: edit}
}

func storeLost(s *api.Status) { s.ViewSeen = apitest.Now.Add(-31 * time.Second) }

func TestStateMatrix(t *testing.T) {
	paths := []string{"/", "/primary", "/read-write", "/leader", "/replica", "/read-only", "/health", "/sync", "/async", "/standby-leader"}
	synchronous := func(s *api.Status) {
		s.Settings.SyncMode = cluster.SyncOn
		s.View.Sync = cluster.SyncState{Leader: "n2", Standbys: []string{"n1"}}
	}
	noLease := func(s *api.Status) { s.Lease = api.Lease{} }
	for _, c := range []struct {
		state string
		m     *apitest.Member
		ok    string // one letter per path: y or n
	}{
		{"primary with lock", one("n2", nil), "yyyynyynnn"},
		{"streaming async replica", one("n1", nil), "nnnnyyynyn"},
		{"streaming sync standby", one("n1", synchronous), "nnnnyyyynn"},
		{"replica, noloadbalance", one("n1", func(s *api.Status) { s.Tags.NoLoadBalance = true }), "nnnnnnynnn"},
		{"starting", one("n1", func(s *api.Status) { s.State = cluster.StateStarting }), "nnnnnnnnnn"},
		{"stopped", one("n1", func(s *api.Status) { s.State, s.Facts = cluster.StateStopped, false }), "nnnnnnnnnn"},
		{"creating replica", one("n1", func(s *api.Status) {
			s.State, s.Role, s.Facts = cluster.StateCreatingReplica, cluster.RoleUninitialized, false
		}), "nnnnnnnnnn"},
		{"lock held, starting up", one("n2", func(s *api.Status) { s.State, s.Facts = cluster.StateStarting, false }), "yyyynynnnn"},
		{"primary without lock, paused", one("n2", func(s *api.Status) { noLease(s); s.Settings.Paused = true }), "nnnnnnynnn"},
		{"store down, failsafe, primary", one("n2", func(s *api.Status) { storeLost(s); s.FailsafeActive = true }), "yyyynyynnn"},
		{"store down, paused, primary", one("n2", func(s *api.Status) { storeLost(s); noLease(s); s.Settings.Paused = true }), "yyyynyynnn"},
		{"store down, primary whose lease lapsed", one("n2", func(s *api.Status) { storeLost(s); noLease(s) }), "nnnnnnynnn"},
		{"standby cluster leader", one("n2", func(s *api.Status) { s.StandbyCluster, s.Role = true, cluster.RoleStandbyLeader }), "nnnynyynny"},
	} {
		srv := mustServer(t, c.m, nil)
		for i, p := range paths {
			want := 503
			if c.ok[i] == 'y' {
				want = 200
			}
			for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
				got := ask(srv, method, p, "")
				if got.Code != want {
					t.Errorf("%s: %s %s = %d, want %d", c.state, method, p, got.Code, want)
				}
				if method != "GET" && got.Body.Len() > 0 {
					t.Errorf("%s: %s %s has a body", c.state, method, p)
				}
			}
		}
	}
}

func TestHealthQuestions(t *testing.T) {
	behind := func(s *api.Status) {
		s.View.Status.Optime = 10 << 20
		s.Server.Replayed, s.Server.Received = 9<<20, 10<<20
		s.Tags.Other = []cluster.Tag{{Name: "zone", Value: `"a"`}, {Name: "size", Value: `1.4`}, {Name: "big", Value: `true`}}
		s.Tags.CloneFrom = true
	}
	replica, primary := mustServer(t, one("n1", behind), nil), mustServer(t, one("n2", behind), nil)
	for _, c := range []struct {
		srv  *api.Server
		path string
		want int
	}{
		{replica, "/replica?lag=1MB", 200},
		{replica, "/replica?lag=1048575", 503},
		{replica, "/replica?lag=512kB", 503},
		{replica, "/replica?lag=nonsense", 200},
		{replica, "/replica?replication_state=streaming", 200},
		{replica, "/replica?replication_state=in%20archive%20recovery", 503},
		{replica, "/replica?tag_zone=a&tag_size=1.4&tag_big=true&tag_clonefrom=true", 200},
		{replica, "/replica?tag_zone=b", 503},
		{replica, "/replica?tag_zone=", 200},
		{replica, "/replica?tag_nofailover=false", 503},
		{replica, "/read-only?tag_zone=b", 503},
		{replica, "/health?tag_zone=b", 503},
		{primary, "/read-only?tag_zone=b", 503},
		{primary, "/primary?tag_zone=b", 200},
		{primary, "/read-only-sync", 200},
		{replica, "/read-only-sync", 503},
		{primary, "/read-only-quorum", 200},
		{replica, "/quorum", 503},
		{replica, "//replica/more", 200},
		{primary, "/master", 200},
		{primary, "/my-primary-check", 200},
		{replica, "/readiness", 200},
		{replica, "/readiness?lag=100", 503},
		{replica, "/readiness?lag=100&mode=write", 200},
		{primary, "/readiness", 200},
		{primary, "/liveness", 200},
	} {
		if got := ask(c.srv, "GET", c.path, ""); got.Code != c.want {
			t.Errorf("GET %s = %d, want %d", c.path, got.Code, c.want)
		}
	}
	for _, path := range []string{"/patroni", "/metrics", "/liveness", "/config"} {
		if got := ask(primary, "HEAD", path, ""); got.Code != 503 {
			t.Errorf("HEAD %s = %d", path, got.Code)
		}
	}
}

func TestLivenessOfAStuckLoop(t *testing.T) {
	late := func(d time.Duration, edit func(*api.Status)) func(*api.Status) {
		return func(s *api.Status) {
			s.NextTurn = apitest.Now.Add(-d)
			if edit != nil {
				edit(s)
			}
		}
	}
	for _, c := range []struct {
		what string
		m    *apitest.Member
		want int
	}{
		{"primary, late by less than ttl", one("n2", late(29*time.Second, nil)), 200},
		{"primary, late by ttl", one("n2", late(30*time.Second, nil)), 503},
		{"replica, late by ttl", one("n1", late(30*time.Second, nil)), 200},
		{"replica, late by two ttl", one("n1", late(60*time.Second, nil)), 503},
		{"paused", one("n2", late(time.Hour, func(s *api.Status) { s.Settings.Paused = true })), 200},
	} {
		if got := ask(mustServer(t, c.m, nil), "GET", "/liveness", ""); got.Code != c.want {
			t.Errorf("%s: %d, want %d", c.what, got.Code, c.want)
		}
	}
}

func TestLeaseIsCountedAtTheAnswer(t *testing.T) {
	got := ask(mustServer(t, one("n2", nil), nil), "GET", "/lease", "").Body.String()
	// 30 s, less 0.5 % and 1 s for the fence, less 2 s for the clean stop.
	want := `{"name": "n2", "role": "primary", "lease_remaining_ms": 26850, "lease_session": "s-n2", "timeline": 1, "state": "running"}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	lapsed := one("n2", func(s *api.Status) { s.Lease.Deadlines.Soft = apitest.Now })
	want = `{"name": "n2", "role": "primary", "lease_remaining_ms": 0, "lease_session": "", "timeline": 1, "state": "running"}`
	if got := ask(mustServer(t, lapsed, nil), "GET", "/lease", "").Body.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestVote(t *testing.T) {
	m := one("n1", func(s *api.Status) {
		s.Server.Received, s.Server.Replayed = 0x5000000, 0x4000000
		s.Voting, s.Eligible, s.WhyNot = true, false, "tagged nofailover"
		s.Tags.NoFailover = true
	})
	got := ask(mustServer(t, m, nil), "GET", "/vote", "").Body.String()
	want := `{"name": "n1", "in_recovery": true, "timeline": 1, "lsn": "0/5000000", "voting": true, "eligible": false, ` +
		`"why_not": "tagged nofailover", "tags": {"nofailover": true}, "fresh": true}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzHealthPath(f *testing.F) {
	for _, s := range []string{"/", "/replica?lag=10MB&tag_a=b", "/read-only-sync", "*", "//", "/%2f?%zz=1;2"} {
		f.Add(s)
	}
	srv := mustServer(f, one("n1", nil), nil)
	f.Fuzz(func(t *testing.T, target string) {
		r := httptest.NewRequest("OPTIONS", "/", nil)
		if u, err := r.URL.Parse(target); err == nil {
			r.URL = u
		}
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 503 {
			t.Errorf("%q: %d", target, w.Code)
		}
	})
}

// FuzzQueries: no question makes a reading path fail.
func FuzzQueries(f *testing.F) {
	for _, s := range []string{"lag=10MB&mode=write", "lag=-1", "lag=1e999TB", "since=1&limit=0", "since=2026-11-22T23:06:22Z&limit=99999999999999999999",
		"since=%zz", "tag_a=b&tag_a=c&tag_=", ";;&&==", "limit=1&limit=x"} {
		f.Add(s)
	}
	srv := mustServer(f, one("n1", nil), nil)
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range []string{"/readiness", "/journal", "/replica", "/metrics", "/cluster", "/lease"} {
			r := httptest.NewRequest("GET", path, nil)
			r.URL.RawQuery = query
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, r)
			allowed := w.Code == 200 || w.Code == 400 && path == "/journal" || w.Code == 503 && (path == "/readiness" || path == "/replica")
			if !allowed {
				t.Errorf("GET %s?%q: %d", path, query, w.Code)
			}
		}
	})
}

// FuzzParseTime: a time that is read is written and read again as the same.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2026-11-22T23:06:22Z", "2026-11-22 23:06", "2026-11-22 23:06:22.5+01", "0000-01-01T00:00-23:59", "now", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, zoned, ok := api.ParseTime(text, time.UTC)
		if !ok {
			return
		}
		again, _, ok := api.ParseTime(at.Format(time.RFC3339Nano), time.UTC)
		if !ok || !again.Equal(at) {
			t.Errorf("%q (zone %t): %v, then %v %t", text, zoned, at, again, ok)
		}
	})
}

func TestLogThatDoesNotKeepUp(t *testing.T) {
	calm := mustServer(t, one("n1", func(s *api.Status) { s.LogQueue = 2 }), nil)
	if body := ask(calm, "GET", "/patroni", "").Body.String(); strings.Contains(body, "logger_") {
		t.Errorf("a log that keeps up is worth no word: %s", body)
	}
	srv := mustServer(t, one("n1", func(s *api.Status) { s.LogQueue, s.LogLost = 3, 7 }), nil)
	if body := ask(srv, "GET", "/patroni", "").Body.String(); !strings.Contains(body, `"logger_queue_size": 3, "logger_records_lost": 7`) {
		t.Errorf("%s", body)
	}
	text := ask(srv, "GET", "/metrics", "").Body.String()
	for _, want := range []string{"\nmatriarch_log_queue_size{scope=\"lab\",name=\"n1\"} 3\n", "\nmatriarch_log_records_lost_total{scope=\"lab\",name=\"n1\"} 7\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}
