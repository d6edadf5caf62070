package e2e

import (
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestPrimaryStall: the disk of the primary hangs. Its agent, its guard and its
// network are well, so its lease would be renewed for ever; it is given up, another
// member leads, and no acknowledged row is lost. When the disk is back the former
// primary becomes a replica. A disk that hangs for a moment costs nobody the lease.
func TestPrimaryStall(t *testing.T) {
	t.Parallel()
	const limit = 9 * time.Second
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd, DCS: "    primary_stall_timeout: 9\n"})
	for _, m := range c.Members {
		m.OwnDisk()
	}
	c.StartAll()
	lead := c.WaitHealthy(90 * time.Second)
	w := lab.StartWriter(t, c.DSN())
	w.WaitProgress(t, 10*time.Second)

	timeline := status(t, lead).Timeline
	lead.HangDisk()
	time.Sleep(limit / 3) // the length of the hitch, which is what is tested
	lead.FreeDisk()
	w.WaitProgress(t, 20*time.Second)
	if now := c.WaitHealthy(30 * time.Second); now != lead || status(t, now).Timeline != timeline {
		t.Fatalf("after a short hitch %s leads\n%s", now.Name, lead.Agent.Tail(20))
	}

	hung := time.Now()
	lead.HangDisk()
	next := c.WaitLeader(60*time.Second, lead)
	t.Logf("%s leads %v after the disk of %s hung (primary_stall_timeout %v)", next.Name, time.Since(hung).Round(100*time.Millisecond), lead.Name, limit)
	if took := time.Since(hung); took < limit/2 {
		t.Errorf("given up after %v\n%s", took, lead.Agent.Tail(20))
	}
	w.WaitProgress(t, 30*time.Second)

	lead.FreeDisk()
	if now := c.WaitHealthy(120 * time.Second); now == lead {
		t.Errorf("%s leads again\n%s", now.Name, c.Tails(20))
	}
	w.Stop()
	if lost := w.Lost(t, next.DSN()); len(lost) > 0 {
		t.Errorf("%d rows lost: %v\n%s", len(lost), lost, lead.Agent.Tail(40))
	}
}
