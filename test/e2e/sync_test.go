package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestSync: with synchronous_mode a row that was acknowledged is never lost,
// whichever host is, and the loss of the synchronous standby is a pause and not
// the end of writing.
func TestSync(t *testing.T) {
	for _, kind := range stores {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := lab.NewCluster(t, lab.Options{Store: kind, Timing: [3]int{20, 1, 3}, DCS: "    synchronous_mode: true\n"})
			c.StartAll()
			lead := c.WaitHealthy(60 * time.Second)
			sync := waitSync(t, c, lead, 20*time.Second)
			w := lab.StartWriter(t, c.DSN())
			w.WaitProgress(t, 20*time.Second)

			lead.PowerOff()
			next := c.WaitLeader(60*time.Second, lead)
			if next != sync {
				t.Fatalf("%s leads after the primary was lost, want the synchronous standby %s", next.Name, sync.Name)
			}
			w.WaitProgress(t, 20*time.Second)
			noneLost(t, w, next)
			lead.PowerOn()
			lead.StartAgent()
			lead = c.WaitHealthy(60 * time.Second)
			sync = waitSync(t, c, lead, 20*time.Second)

			w.Gap()
			sync.PowerOff()
			other := waitSyncNot(t, c, lead, sync, 60*time.Second)
			w.WaitProgress(t, 20*time.Second)
			t.Logf("synchronous standby %s powered off: longest gap %s, then %s was synchronous", sync.Name, w.Gap().Round(10*time.Millisecond), other.Name)
			if now := c.Leader(); now != lead {
				t.Fatalf("the synchronous standby was lost and %s leads no more", lead.Name)
			}
			sync.PowerOn()
			sync.StartAgent()
			c.WaitHealthy(60 * time.Second)

			patch(t, sync, `{"synchronous_mode": false}`)
			lab.Until(t, 20*time.Second, "no synchronous standby", func() string {
				return anySync(c, lead)
			})
			patch(t, other, `{"synchronous_mode": true}`)
			waitSync(t, c, lead, 20*time.Second)
			w.WaitProgress(t, 20*time.Second)
			w.Stop()
			noneLost(t, w, c.Leader())
		})
	}
}

func noneLost(t *testing.T, w *lab.Writer, m *lab.Member) {
	t.Helper()
	if lost := w.Lost(t, m.DSN()); len(lost) > 0 {
		t.Fatalf("%d of %d acknowledged rows are not on %s although replication is synchronous: %v", len(lost), w.Count(), m.Name, lost)
	}
}

// waitSync waits until the store and the server agree on a synchronous standby.
func waitSync(t *testing.T, c *lab.Cluster, lead *lab.Member, limit time.Duration) *lab.Member {
	t.Helper()
	return waitSyncNot(t, c, lead, nil, limit)
}

func waitSyncNot(t *testing.T, c *lab.Cluster, lead, not *lab.Member, limit time.Duration) (found *lab.Member) {
	t.Helper()
	lab.Until(t, limit, "a synchronous standby", func() string {
		d, err := clusterOf(lead)
		if err != nil {
			return err.Error()
		}
		names := setting(lead, "synchronous_standby_names")
		for _, m := range c.Others(lead) {
			if m == not || d.role(m.As()) != "sync_standby" {
				continue
			}
			if names != m.As() && names != `"`+m.As()+`"` {
				return fmt.Sprintf("the store says %s, the server %q", m.As(), names)
			}
			if code, _, err := m.Get("/sync"); err != nil || code != 200 {
				return fmt.Sprintf("GET /sync of %s: %d, %v", m.Name, code, err)
			}
			found = m
			return ""
		}
		return fmt.Sprintf("%+v, synchronous_standby_names %q", d.Members, names)
	})
	return found
}

// anySync says what is synchronous, and nothing when nothing is.
func anySync(c *lab.Cluster, lead *lab.Member) string {
	d, err := clusterOf(lead)
	if err != nil {
		return err.Error()
	}
	for _, m := range c.Members {
		if d.role(m.As()) == "sync_standby" {
			return m.Name + " is synchronous in the store"
		}
	}
	if names := setting(lead, "synchronous_standby_names"); names != "" {
		return "synchronous_standby_names = " + names
	}
	return ""
}
