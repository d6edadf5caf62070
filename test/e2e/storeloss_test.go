package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

var storePort = map[lab.StoreKind]int{lab.Etcd: 2379, lab.ZooKeeper: 2181}

// TestStoreLost takes the store away: from everybody, and the primary stops
// taking writes when its lease is over, since nobody can know who leads then,
// and goes on without loss when the store is back; from the primary alone, and
// another takes over once the primary is fenced.
func TestStoreLost(t *testing.T) {
	for _, kind := range external {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := lab.NewCluster(t, lab.Options{Store: kind})
			c.StartAll()
			old := c.WaitHealthy(60 * time.Second)
			w := lab.StartWriter(t, old.DSN())
			w.WaitProgress(t, 10*time.Second)
			f := c.WatchFall(old)
			old.CutPort(c.StoreHost().IP, storePort[kind])
			next := f.Wait(t, 90*time.Second)
			after := lab.WriteTo(t, next.DSN(), 1e9)
			after.WaitProgress(t, 10*time.Second)
			old.Mend()
			if now := c.WaitHealthy(60 * time.Second); now != next {
				t.Fatalf("%s leads, %s did before the store was back for %s", now.Name, next.Name, old.Name)
			}
			w.Stop()
			lab.NoneAfter(t, w, after)

			wholeStoreLost(t, c, after, c.KillStore, c.StartStore)
		})
	}
}

// TestEmbeddedStoreLost powers the hosts of two of the three store members off.
func TestEmbeddedStoreLost(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded})
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	others := c.Others(lead)
	w := lab.StartWriter(t, lead.DSN())
	wholeStoreLost(t, c, w, func() {
		// The replicas go with the store. Their rows must be all that was
		// acknowledged when the leader changes later: it does not, since the
		// primary alone has the last ones.
		for _, m := range others {
			m.PowerOff()
		}
	}, func() {
		for _, m := range others {
			m.PowerOn()
			m.StartAgent()
		}
	})
}

// wholeStoreLost: the writer writes to the leader when the store goes.
func wholeStoreLost(t *testing.T, c *lab.Cluster, w *lab.Writer, lose, restore func()) {
	t.Helper()
	lead := c.WaitHealthy(60 * time.Second)
	w.WaitProgress(t, 10*time.Second)
	lose()
	began := time.Now()
	lab.Until(t, 25*time.Second, "the primary without a store to be stopped", func() string {
		if lead.Postmaster() == 0 {
			return ""
		}
		return "its postmaster runs\n" + lead.Agent.Tail(10)
	})
	w.WaitRefused(t, 10*time.Second)
	n := w.Count()
	t.Logf("stopped %s after the store was lost", time.Since(began).Round(10*time.Millisecond))
	for _, m := range c.Members {
		if m.Agent.Ended() && !m.Off() {
			t.Fatalf("the agent of %s ended\n%s", m.Name, m.Agent.Tail(20))
		}
		// A standby that was cut off from the store serves reads on.
		if m != lead && !m.Off() {
			if rows, err := lab.SQL(m.DSN(), "SELECT pg_is_in_recovery()::text"); err != nil || rows[0] != "true" {
				t.Fatalf("%s without a store: %v %v", m.Name, rows, err)
			}
		}
	}
	if more := w.Count(); more != n {
		t.Fatalf("%d rows acknowledged by a stopped server", more-n)
	}
	restore()
	c.WaitLeader(90*time.Second, nil)
	now := c.WaitHealthy(60 * time.Second)
	w.Stop()
	if lost := w.Lost(t, now.DSN()); len(lost) > 0 {
		t.Fatalf("%d of %d acknowledged rows lost: %s", len(lost), w.Count(), fmt.Sprint(lost))
	}
}
