package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

func failsafeOn(s *api.Status) { s.Settings.Failsafe = true }

// The body of another program's leader, with what it says beside its name.
const otherPlea = `{"name": "n2", "conn_url": "postgres://10.77.0.12:5432/postgres", "api_url": "http://10.77.0.12:8008/patroni", "slots": {"n1": 50331744, "n2": 50331744}}`

func TestPostFailsafe(t *testing.T) {
	for _, c := range []struct {
		what, body string
		edit       func(*api.Status)
		answer     error
		code       int
		text       string
		promise    time.Duration // what is asked for; negative: nothing is
	}{
		{"off", otherPlea, nil, nil, 502, "Bad Gateway", -1},
		{"another program's leader", otherPlea, failsafeOn, nil, 200, "Accepted", 0},
		{"ours", `{"name":"n2","matriarch":{"promise_ms":20500}}`, failsafeOn, nil, 200, "Accepted", 20500 * time.Millisecond},
		{"a primary", otherPlea, failsafeOn, &api.Refusal{Code: 500, Text: "Running as a leader"}, 500, "Running as a leader", 0},
		{"refused", otherPlea, failsafeOn, &api.Refusal{Code: 409, Text: "by the store n3 leads"}, 409, "by the store n3 leads", 0},
		{"no name", `{"conn_url":"x"}`, failsafeOn, nil, 400, "not understood", -1},
		{"no object", `[]`, failsafeOn, nil, 400, "not understood", -1},
		{"nothing", ``, failsafeOn, nil, 400, "not understood", -1},
		{"a nonsensical promise", `{"name":"n2","matriarch":{"promise_ms":-1}}`, failsafeOn, nil, 400, "not understood", -1},
		{"an endless promise", `{"name":"n2","matriarch":{"promise_ms":1e300}}`, failsafeOn, nil, 400, "not understood", -1},
		{"too much", `{"name":"` + strings.Repeat("n", 300<<10) + `"}`, failsafeOn, nil, 400, "not understood", -1},
	} {
		t.Run(c.what, func(t *testing.T) {
			m := one("n1", c.edit)
			asked := time.Duration(-1)
			m.OnAccept = func(leader string, promise time.Duration) (wal.LSN, error) {
				if asked = promise; leader != "n2" {
					t.Errorf("leader %q", leader)
				}
				return 50331744, c.answer
			}
			got := ask(mustServer(t, m, nil), "POST", "/failsafe", c.body)
			if got.Code != c.code || !strings.Contains(got.Body.String(), c.text) || c.code == 200 && got.Body.String() != "Accepted" {
				t.Errorf("%d %q, want %d %q", got.Code, got.Body, c.code, c.text)
			}
			if asked != c.promise {
				t.Errorf("a promise of %s, want %s", asked, c.promise)
			}
			if c.promise >= 0 && got.Header().Get("Matriarch-Member") != "n1" {
				t.Error("does not say who answers")
			}
			if lsn := got.Header().Get("lsn"); (lsn == "50331744") != (c.code == 200) {
				t.Errorf("position %q", lsn)
			}
		})
	}
}

// A leader that gets no answer stops its server: however many other requests are
// under way, this one has a place.
func TestFailsafeIsNotCrowdedOut(t *testing.T) {
	m := one("n1", failsafeOn)
	hang, begun := make(chan struct{}), make(chan struct{}, 1000)
	m.OnReload = func() error { begun <- struct{}{}; <-hang; return nil }
	s := mustServer(t, m, nil)
	done := make(chan struct{})
	const many = 200 // more than there are places
	for range many {
		go func() { ask(s, "POST", "/reload", ""); done <- struct{}{} }()
	}
	for crowded := false; !crowded; {
		select {
		case <-done: // one that found no place
			crowded = true
		case <-begun:
		}
	}
	if got := ask(s, "POST", "/failsafe", otherPlea); got.Code != 200 {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	close(hang)
	for range many - 1 {
		<-done
	}
}

func TestGetFailsafe(t *testing.T) {
	m := one("n1", nil)
	s := mustServer(t, m, nil)
	if got := ask(s, "GET", "/failsafe", ""); got.Code != 502 {
		t.Errorf("nothing recorded: %d", got.Code)
	}
	m.C.Change(func(v *cluster.View) {
		v.Failsafe = []cluster.FailsafeMember{{Name: "n1", APIURL: "http://10.77.0.11:8008/patroni"}, {Name: "n2", APIURL: "http://10.77.0.12:8008/patroni"}}
	})
	if got := ask(s, "GET", "/failsafe", ""); got.Code != 200 ||
		got.Body.String() != `{"n1": "http://10.77.0.11:8008/patroni", "n2": "http://10.77.0.12:8008/patroni"}` {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

// What tells of the mode: metrics and the status.
func TestFailsafeIsTold(t *testing.T) {
	m := one("n1", func(s *api.Status) {
		failsafeOn(s)
		storeLost(s)
		s.FailsafeActive = true
		s.View.Failsafe = []cluster.FailsafeMember{{Name: "n1"}}
	})
	s := mustServer(t, m, nil)
	metrics := ask(s, "GET", "/metrics", "").Body.String()
	for _, want := range []string{"patroni_failsafe_mode_is_active", "patroni_failsafe_mode_enabled", "patroni_failsafe_member", "patroni_cluster_unlocked"} {
		if !strings.Contains(metrics, want+`{scope="lab",name="n1"} 1`) {
			t.Errorf("%s is not 1", want)
		}
	}
	if status := ask(s, "GET", "/patroni", "").Body.String(); !strings.Contains(status, `"failsafe_mode_is_active": true`) {
		t.Error(status)
	}
	// A replica that streams is ready, although it knows no more of the store.
	if got := ask(s, "GET", "/readiness", ""); got.Code != 200 {
		t.Errorf("readiness %d", got.Code)
	}
}
