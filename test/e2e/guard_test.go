package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestGuardKilled kills the primary's guard: the agent starts another at once,
// and neither the server nor the lease notices.
func TestGuardKilled(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded})
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	w := lab.StartWriter(t, lead.DSN())
	timeline, server := status(t, lead).Timeline, lead.Postmaster()
	for range 3 {
		w.WaitProgress(t, 10*time.Second)
		w.Gap()
		killed := guardOf(t, lead)
		_ = syscall.Kill(killed, syscall.SIGKILL)
		lab.Until(t, 10*time.Second, "another guard", func() string {
			if now := lead.Find("matriarch guard"); len(now) != 1 || now[0] == killed {
				return fmt.Sprint("guards: ", now)
			}
			return ""
		})
		w.WaitProgress(t, 10*time.Second)
	}
	// Longer than the lease: it is kept under the new guard.
	held := time.Now()
	for time.Since(held) < 22*time.Second {
		w.WaitProgress(t, 5*time.Second)
		if lead.Postmaster() != server {
			t.Fatalf("the server was ended\n%s", lead.Agent.Tail(30))
		}
		time.Sleep(200 * time.Millisecond)
	}
	if now := c.WaitHealthy(20 * time.Second); now != lead || status(t, now).Timeline != timeline {
		t.Fatalf("%s leads on timeline %d: want %s on %d", now.Name, status(t, now).Timeline, lead.Name, timeline)
	}
	w.Stop()
	if lost := w.Lost(t, lead.DSN()); len(lost) > 0 {
		t.Fatalf("%d rows lost: %v", len(lost), lost)
	}

	// And the new guard guards: it acts when the agent cannot.
	f := c.WatchFall(lead)
	lead.Agent.Signal(syscall.SIGSTOP)
	f.Wait(t, 60*time.Second)
	lead.Agent.Signal(syscall.SIGCONT)
	c.WaitHealthy(60 * time.Second)
}

func guardOf(t *testing.T, m *lab.Member) int {
	t.Helper()
	found := m.Find("matriarch guard")
	if len(found) != 1 {
		t.Fatalf("guards of %s: %v, want one", m.Name, found)
	}
	return found[0]
}
