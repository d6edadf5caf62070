package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestCleanStopWithoutSyncStandby: two servers with synchronous_mode, and the
// standby is not in the sync key: its tags forbid that. The leader is stopped
// cleanly. The standby ends exactly where the record of that stop says, so it has
// every acknowledged row and leads at once, whatever the sync key says.
func TestCleanStopWithoutSyncStandby(t *testing.T) {
	for name, o := range map[string]lab.Options{
		"zookeeper": {Store: lab.ZooKeeper},
		"embedded":  {Store: lab.Embedded, Witness: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Members, o.Timing, o.DCS = 2, [3]int{20, 1, 3}, "    synchronous_mode: true\n"
			o.Member = func(int) string { return "tags: {nosync: true}\n" }
			c := lab.NewCluster(t, o)
			if o.Witness {
				c.StartWitness()
			}
			c.StartAll()
			lead := c.WaitHealthy(60 * time.Second)
			if problem := anySync(c, lead); problem != "" {
				t.Fatalf("a member with nosync: %s", problem)
			}
			w := lab.StartWriter(t, c.DSN())
			for range 3 { // there and back, and there again: also as a former standby's successor
				w.WaitProgress(t, 20*time.Second)
				other := c.Others(lead)[0]
				timeline := status(t, lead).Timeline
				w.Gap()
				lead.Agent.Signal(syscall.SIGTERM)
				if next := c.WaitLeader(15*time.Second, lead); next != other {
					t.Fatalf("%s leads, want %s", next.Name, other.Name)
				}
				w.WaitProgress(t, 20*time.Second)
				// Within a ttl: neither the end of the session nor that of the record's
				// time was waited for.
				if gap := w.Gap(); gap > 10*time.Second {
					t.Errorf("no acknowledged write for %s after %s was stopped cleanly\n%s", gap, lead.Name, c.Tails(20))
				}
				if now := status(t, other).Timeline; now <= timeline {
					t.Errorf("%s was promoted on timeline %d, after %d", other.Name, now, timeline)
				}
				noneLost(t, w, other)
				lead.Agent.Wait(20 * time.Second)
				lead.StartAgent()
				lead = c.WaitHealthy(60 * time.Second)
			}
			w.Stop()
			noneLost(t, w, lead)
		})
	}
}

// TestMissingLastRecord: the leader stopped cleanly while its only standby was away,
// and the standby returns alone. It lacks what was acknowledged last, so it does not
// lead, however long the former leader stays away, which leads as soon as it is back.
func TestMissingLastRecord(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.ZooKeeper, Members: 2, Timing: [3]int{20, 1, 3}})
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	other := c.Others(lead)[0]
	w := lab.StartWriter(t, c.DSN())
	w.WaitProgress(t, 20*time.Second)
	other.PowerOff()
	w.WaitProgress(t, 20*time.Second)
	lead.Agent.Signal(syscall.SIGTERM)
	lead.Agent.Wait(60 * time.Second) // its walsender notices late that the standby is gone
	other.PowerOn()
	other.StartAgent()
	lab.Until(t, 30*time.Second, "what the standby waits for", func() string {
		return missing(other.Agent, "this member may not: ", "waiting for the last record of "+lead.Name, "matriarch failover --candidate")
	})
	for end := time.Now().Add(25 * time.Second); time.Now().Before(end); { // longer than ttl
		if now := c.Leader(); now != nil {
			t.Fatalf("%s leads without the last record\n%s", now.Name, c.Tails(10))
		}
		time.Sleep(time.Second) // the pace of looking
	}
	lead.StartAgent()
	if now := c.WaitHealthy(60 * time.Second); now != lead {
		t.Fatalf("%s leads, want the former leader %s", now.Name, lead.Name)
	}
	noneLost(t, w, lead)
	w.Stop()
}
