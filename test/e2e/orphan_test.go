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
