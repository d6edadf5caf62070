package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestOrphanWithoutStore: agent and guard of the primary die together, and the agent
// that starts later cannot reach the store. It ends the server, for which no lease
// can be proven; in a pause, of which it knows by what is kept beside the data, it
// leaves the server alone.
func TestOrphanWithoutStore(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd, Members: 1})
	c.StartAll()
	m := c.WaitLeader(60*time.Second, nil)
	w := lab.StartWriter(t, m.DSN())
	w.WaitProgress(t, 10*time.Second)

	orphan(t, c, m)
	lab.Until(t, 20*time.Second, "the server without a guard to be ended", func() string {
		if pid := m.Postmaster(); pid != 0 {
			return fmt.Sprintf("postmaster %d runs\n%s", pid, m.Agent.Tail(10))
		}
		return missing(m.Agent, "runs here without a guard")
	})
	w.Stop()
	c.StartStore()
	c.WaitLeader(60*time.Second, nil)

	patch(t, m, `{"pause": true}`)
	lab.Until(t, 20*time.Second, "the pause beside the data", func() string {
		text, err := os.ReadFile(m.DataDir() + "/patroni.dynamic.json")
		if err != nil || !strings.Contains(string(text), "pause") {
			return fmt.Sprint(string(text), err)
		}
		return ""
	})
	server := m.Postmaster()
	orphan(t, c, m)
	lab.Until(t, 20*time.Second, "the word about the pause", func() string {
		return missing(m.Agent, "as the cluster was paused when it was seen last")
	})
	if now := m.Postmaster(); now != server || server == 0 {
		t.Errorf("postmaster %d, before it was %d: in a pause the server is not touched", now, server)
	}
	if _, err := lab.SQL(m.DSN(), "CREATE TABLE in_a_pause (i int)"); err != nil {
		t.Errorf("in a pause the server does not write: %v", err)
	}
}

// orphan ends a member's guard and agent and takes the store away, and starts
// another agent.
func orphan(t *testing.T, c *lab.Cluster, m *lab.Member) {
	t.Helper()
	m.Agent.Signal(syscall.SIGSTOP) // so that it starts no other guard
	for _, pid := range m.Find("matriarch guard") {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	m.Agent.Signal(syscall.SIGKILL)
	if _, err := m.Agent.Wait(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	c.KillStore()
	m.StartAgent()
}

// TestBackendKilled: a process of the primary is killed, as the kernel does when
// memory runs out. The server ends, since by itself it would start anew read-only
// (standby.signal stands beside it), and its agent starts it at once, on its
// timeline.
func TestBackendKilled(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded})
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	w := lab.StartWriter(t, lead.DSN())
	w.WaitProgress(t, 10*time.Second)
	timeline, server := status(t, lead).Timeline, lead.Postmaster()
	lab.Until(t, 20*time.Second, "standby.signal beside the primary", func() string {
		return missingFile(lead.DataDir() + "/standby.signal")
	})
	w.Gap()
	rows, err := lab.SQL(lead.DSN(), "SELECT pid::text FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(rows[0], &pid); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	lab.Until(t, 30*time.Second, "the server to write again", func() string {
		if now := lead.Postmaster(); now == 0 || now == server {
			return fmt.Sprintf("postmaster %d\n%s", now, lead.Agent.Tail(10))
		}
		return ""
	})
	w.WaitProgress(t, 20*time.Second)
	t.Logf("a backend was killed: %s without an acknowledged write", w.Gap().Round(10*time.Millisecond))
	if now := status(t, lead).Timeline; now != timeline {
		t.Errorf("timeline %d, want %d: the server is to be started in place", now, timeline)
	}
	if now := c.WaitHealthy(60 * time.Second); now != lead {
		t.Errorf("%s leads, want %s, whose lease never ended", now.Name, lead.Name)
	}
	w.Stop()
	if lost := w.Lost(t, lead.DSN()); len(lost) > 0 {
		t.Fatalf("%d rows lost: %v", len(lost), lost)
	}
}
