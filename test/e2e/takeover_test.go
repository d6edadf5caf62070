package e2e

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// runs is how often a figure is taken: once, unless there is time.
func runs(t *testing.T) int {
	if n, err := strconv.Atoi(os.Getenv("MATRIARCH_RUNS")); err == nil && n > 0 {
		return n
	}
	return 1
}

// TestAgentKilledForGood kills the primary's agent and starts none: its guard
// waits for the grace, stops the server, and has the session ended, so that
// another leads long before the ttl.
func TestAgentKilledForGood(t *testing.T) {
	t.Parallel()
	for _, kind := range stores {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := startDefaults(t, kind)
			c.WaitHealthy(90 * time.Second)
			w := lab.StartWriter(t, c.DSN())
			for range runs(t) {
				lead := c.WaitHealthy(90 * time.Second)
				w.WaitProgress(t, 30*time.Second)
				direct := lab.WriteTo(t, lead.DSN(), time.Now().UnixNano())
				direct.WaitProgress(t, 30*time.Second)
				guard := guardOf(t, lead)
				w.Gap()
				began := time.Now()
				f := c.WatchFall(lead)
				lead.Agent.Signal(syscall.SIGKILL)
				next := f.Wait(t, 40*time.Second)
				after := lab.WriteTo(t, next.DSN(), time.Now().UnixNano())
				after.WaitProgress(t, 30*time.Second)
				w.WaitProgress(t, 30*time.Second)
				gap := w.Gap()
				t.Logf("%s: agent killed, no other started: %s without an acknowledged write", kind, gap.Round(10*time.Millisecond))
				// The lease alone would have lasted 20 s at least since its last renewal.
				if time.Since(began) > 18*time.Second {
					t.Errorf("the next leader took %s\n%s", time.Since(began), c.Tails(20))
				}
				lab.Until(t, 20*time.Second, "the end of the guard", func() string {
					if running(guard) {
						return "it runs"
					}
					return ""
				})
				direct.Stop()
				after.Stop()
				lab.NoneAfter(t, direct, after)
				if lost := direct.Lost(t, next.DSN()); len(lost) > 0 {
					t.Errorf("%d rows acknowledged directly are lost after a clean shutdown: %v", len(lost), lost)
				}
				lead.StartAgent()
				c.WaitHealthy(90 * time.Second)
				mustHaveEvent(t, lead, journal.LeaseReleased)
			}
			w.Stop()
			if lost := w.Lost(t, c.WaitHealthy(60*time.Second).DSN()); len(lost) > 0 {
				t.Errorf("%d rows lost: %v", len(lost), lost)
			}
			noSecretsInLogs(t, c)
		})
	}
}

func running(pid int) bool { return syscall.Kill(pid, 0) == nil }

// TestAgentReplaced kills the primary's agent and starts another at once: it goes
// on with the server, the guard and the lease, and no client notices.
func TestAgentReplaced(t *testing.T) {
	t.Parallel()
	for _, kind := range stores {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := startDefaults(t, kind)
			lead := c.WaitHealthy(90 * time.Second)
			w, direct := lab.StartWriter(t, c.DSN()), lab.WriteTo(t, lead.DSN(), 1<<40)
			timeline, server, guard := status(t, lead).Timeline, lead.Postmaster(), guardOf(t, lead)
			for range max(2, runs(t)) {
				w.WaitProgress(t, 10*time.Second)
				direct.WaitProgress(t, 10*time.Second)
				w.Gap()
				direct.Gap()
				began := time.Now()
				lead.Agent.Signal(syscall.SIGKILL)
				if _, err := lead.Agent.Wait(10 * time.Second); err != nil {
					t.Fatal(err)
				}
				lead.StartAgent()
				lab.Until(t, 30*time.Second, "another agent that leads", func() string {
					if code, body, err := lead.Get("/primary"); err != nil || code != 200 {
						return fmt.Sprint(code, body, err)
					}
					return ""
				})
				took := time.Since(began)
				w.WaitProgress(t, 10*time.Second)
				direct.WaitProgress(t, 10*time.Second)
				t.Logf("%s: agent killed and started again: leads after %s; longest gap direct %s, by the entrypoint %s", kind,
					took.Round(10*time.Millisecond), direct.Gap().Round(time.Millisecond), w.Gap().Round(time.Millisecond))
				if lead.Postmaster() != server || guardOf(t, lead) != guard {
					t.Fatalf("server %d, guard %d: want %d and %d\n%s", lead.Postmaster(), guardOf(t, lead), server, guard, lead.Agent.Tail(30))
				}
			}
			// Longer than the lease: it is renewed by the new agent.
			for held := time.Now(); time.Since(held) < 35*time.Second; time.Sleep(200 * time.Millisecond) {
				direct.WaitProgress(t, 5*time.Second)
			}
			if now := c.WaitHealthy(20 * time.Second); now != lead || status(t, now).Timeline != timeline || lead.Postmaster() != server {
				t.Fatalf("%s leads on timeline %d: want %s on %d", now.Name, status(t, now).Timeline, lead.Name, timeline)
			}
			mustHaveEvent(t, lead, journal.TakenOver)
			for name, w := range map[string]*lab.Writer{"direct": direct, "by the entrypoint": w} {
				if bad := w.Errors(); len(bad) > 0 { // before it is stopped, which is one
					t.Errorf("%s: failed statements: %v", name, bad)
				}
				w.Stop()
				if lost := w.Lost(t, lead.DSN()); len(lost) > 0 {
					t.Errorf("%s: %d rows lost: %v", name, len(lost), lost)
				}
			}
			// And the guard guards, for the new agent.
			f := c.WatchFall(lead)
			lead.Agent.Signal(syscall.SIGSTOP)
			f.Wait(t, 60*time.Second)
			lead.Agent.Signal(syscall.SIGCONT)
			c.WaitHealthy(60 * time.Second)
			noSecretsInLogs(t, c)
		})
	}
}

// startDefaults starts a cluster with the default ttl, loop_wait and retry_timeout.
func startDefaults(t *testing.T, kind lab.StoreKind) *lab.Cluster {
	t.Helper()
	c := lab.NewCluster(t, lab.Options{Store: kind, Timing: [3]int{30, 10, 10}})
	if kind == lab.ZooKeeper {
		c.WaitStore(30 * time.Second)
	}
	c.StartAll()
	return c
}

// TestAgentReplacedBesideAMuteGuard stops the guard and kills the agent. The next
// agent cannot take anything over: it kills the server, then that guard, and the
// cluster goes on when the lease has run out, under any member, the former leader
// too once its server is up again; the old guard never acts again.
func TestAgentReplacedBesideAMuteGuard(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded})
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	direct := lab.StartWriter(t, lead.DSN())
	direct.WaitProgress(t, 10*time.Second)
	guard, server, timeline := guardOf(t, lead), lead.Postmaster(), status(t, lead).Timeline
	// The agent first, so that it does not start another guard.
	lead.Agent.Signal(syscall.SIGSTOP)
	_ = syscall.Kill(guard, syscall.SIGSTOP)
	lead.Agent.Signal(syscall.SIGKILL)
	if _, err := lead.Agent.Wait(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	lead.StartAgent()
	lab.Until(t, 60*time.Second, "the end of the unguarded server", func() string {
		if running(server) {
			return fmt.Sprintf("process %d runs", server)
		}
		return ""
	})
	direct.Stop()
	next := c.WaitHealthy(60 * time.Second)
	w := lab.WriteTo(t, next.DSN(), 1<<40)
	w.WaitProgress(t, 20*time.Second)
	if now := status(t, next).Timeline; now <= timeline {
		t.Errorf("%s leads on timeline %d as before: want a promotion after the end of the server", next.Name, now)
	}
	if found := lead.Find("matriarch guard"); len(found) != 1 || found[0] == guard {
		t.Errorf("guards of %s: %v, of which %d was to be ended", lead.Name, found, guard)
	}
	w.Stop()
	lab.NoneAfter(t, direct, w)
}

// TestTwoAgentsOfOneDirectory: while an agent stands still, no other starts beside
// it and its server.
func TestTwoAgentsOfOneDirectory(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded})
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	server := lead.Postmaster()
	first := lead.Agent
	first.Signal(syscall.SIGSTOP)
	lead.StartAgent()
	if code, err := lead.Agent.Wait(20 * time.Second); err != nil || code == 0 {
		t.Errorf("the second agent ended with %d, %v", code, err)
	}
	if problem := missing(lead.Agent, "serves another agent"); problem != "" {
		t.Error(problem)
	}
	first.Signal(syscall.SIGCONT)
	lead.Agent = first
	if now := c.WaitHealthy(30 * time.Second); now != lead || lead.Postmaster() != server {
		t.Errorf("%s leads with server %d, want %s with %d", now.Name, lead.Postmaster(), lead.Name, server)
	}
}

func mustHaveEvent(t *testing.T, m *lab.Member, name string) {
	t.Helper()
	s := memberSource(m)
	lab.Until(t, 20*time.Second, "event "+name, func() string {
		rs, problem := s.records(t)
		if problem != "" {
			return problem
		}
		for _, r := range rs {
			if r.Event != nil && r.Event.Name == name {
				if r.Event.Error != "" {
					t.Errorf("%s: %s: %s", name, r.Why, r.Event.Error)
				}
				return ""
			}
		}
		return fmt.Sprintf("not among %d records", len(rs))
	})
}
