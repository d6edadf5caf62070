package e2e

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// patience is how long any answer may take on a busy machine; the bounds of the
// server are far below, and what has none takes for ever.
const patience = 20 * time.Second

// readPaths are all paths that read, and some health checks.
var readPaths = []string{"/patroni", "/vote", "/metrics", "/lease", "/liveness", "/readiness", "/primary", "/replica?lag=1MB", "/health",
	"/cluster", "/history", "/config", "/failsafe", "/journal"}

// children lists the processes whose parent is pid.
func children(t *testing.T, pid int) []int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, f := range strings.Fields(string(text)) {
		var child int
		fmt.Sscan(f, &child)
		out = append(out, child)
	}
	return out
}

// hang stops a postmaster and all its children until the returned function is
// called.
func hang(t *testing.T, postmaster int) (goOn func()) {
	t.Helper()
	pids := append([]int{postmaster}, children(t, postmaster)...)
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	return func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

// allAnswer asks every path, ten times each at once, and returns the answers.
func allAnswer(t *testing.T, what string, m *lab.Member) map[string]string {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers, longest := map[string]string{}, map[string]time.Duration{}
	for range 10 {
		for _, path := range readPaths {
			wg.Go(func() {
				begin := time.Now()
				code, body, err := m.Send("GET", path, "", patience)
				took := time.Since(begin)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("%s: GET %s of %s: %v", what, path, m.Name, err)
				}
				answers[path], longest[path] = fmt.Sprint(code, " ", body), max(longest[path], took)
			})
		}
	}
	wg.Wait()
	for _, path := range readPaths {
		t.Logf("%s: GET %s of %s: at most %v", what, path, m.Name, longest[path].Round(time.Millisecond))
	}
	return answers
}

// expect checks what an answer contains.
func expect(t *testing.T, what string, answers map[string]string, path, want string) {
	t.Helper()
	if !strings.Contains(answers[path], want) {
		t.Errorf("%s: GET %s lacks %q: %s", what, path, want, answers[path])
	}
}

// TestAnswersAreBounded stops PostgreSQL on a replica and on the primary, every
// process of it, and then the store: each path is answered all the same, with
// what is known and what is not.
func TestAnswersAreBounded(t *testing.T) {
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd})
	c.StartAll()
	leader := c.WaitHealthy(60 * time.Second)
	replica := c.Others(leader)[0]

	allAnswer(t, "healthy", leader)
	lab.MustSQL(t, leader.DSN(), "CREATE TABLE moved (i int)")
	lab.Until(t, 30*time.Second, "every metric of a leader that has renewed its lease", func() string {
		lab.MustSQL(t, leader.DSN(), "INSERT INTO moved VALUES (1)") // PostgreSQL tells the seconds of a lag only while it writes
		_, text, err := leader.Get("/metrics")
		if err != nil {
			return err.Error()
		}
		for _, want := range []string{"matriarch_replica_lag_bytes", "matriarch_replica_lag_seconds{", "matriarch_rule_firings_total", `request="renew"`,
			"matriarch_lease_margin_seconds_count", "matriarch_turn_duration_seconds_count", `matriarch_guard_running{`} {
			if !strings.Contains(text, want) {
				return want + " is missing"
			}
		}
		return ""
	})
	for _, m := range []*lab.Member{replica, leader} {
		what := "hung server"
		goOn := hang(t, m.Postmaster())
		t.Cleanup(goOn)
		answers := allAnswer(t, what, m)
		expect(t, what, answers, "/patroni", `200 {"state": "unknown"`)
		expect(t, what, answers, "/vote", `"fresh": false`)
		expect(t, what, answers, "/metrics", "patroni_postgres_state")
		expect(t, what, answers, "/cluster", "200 ")
		expect(t, what, answers, "/liveness", "200 ")
		goOn()
		c.WaitHealthy(60 * time.Second)
	}

	leader = c.WaitHealthy(60 * time.Second)
	for _, pid := range c.StoreHost().Find("etcd") {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	}
	what := "hung store"
	answers := allAnswer(t, what, leader)
	expect(t, what, answers, "/patroni", "200 ")
	expect(t, what, answers, "/cluster", "503 ")
	expect(t, what, answers, "/config", `"ttl"`)
	for _, change := range []struct{ method, path, body string }{
		{"PATCH", "/config", `{"ttl":30}`}, {"PUT", "/config", `{"ttl":30}`},
		{"POST", "/switchover", `{"leader":"` + leader.Name + `"}`}, {"DELETE", "/switchover", ""},
	} {
		begin := time.Now()
		code, body, err := leader.Send(change.method, change.path, change.body, patience)
		if err != nil || code < 500 {
			t.Errorf("%s: %s %s: %d %s %v", what, change.method, change.path, code, body, err)
		}
		t.Logf("%s: %s %s: %v", what, change.method, change.path, time.Since(begin).Round(time.Millisecond))
	}
}
