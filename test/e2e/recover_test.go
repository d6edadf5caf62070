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

// TestRecoveredStore: the hosts of two of three votes are lost, a person makes the
// third vote's data a new store, and the two come back with their old directories.
func TestRecoveredStore(t *testing.T) {
	t.Parallel()
	const ttl = 20 * time.Second
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded, Timing: [3]int{20, 5, 5}})
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	others := c.Others(lead)
	w := lab.StartWriter(t, lead.DSN())
	w.WaitProgress(t, 10*time.Second)
	for _, m := range others {
		m.PowerOff()
	}
	lab.Until(t, 40*time.Second, "the primary without a store to be stopped", func() string {
		if lead.Postmaster() == 0 {
			return ""
		}
		return "its postmaster runs\n" + lead.Agent.Tail(10)
	})
	stopAgent(t, lead)
	out, err := lead.Run(lab.Binary(t), "store", "recover", "--force", lead.File())
	if err != nil || !strings.Contains(out, "generation 2") {
		t.Fatalf("recover: %v\n%s", err, out)
	}

	began := time.Now()
	lead.StartAgent()
	c.WaitLeader(90*time.Second, nil)
	if took := time.Since(began); took < ttl {
		t.Errorf("somebody leads %s after the first sight of the new store, before a lease in the old one is surely over", took)
	}
	for _, m := range others {
		m.PowerOn()
		m.StartAgent()
	}
	for _, m := range others {
		lab.Until(t, 30*time.Second, "the old vote to be told what to do", func() string {
			if strings.Contains(m.Agent.Tail(50), "move the store's directory aside") {
				return ""
			}
			return m.Name + ":\n" + m.Agent.Tail(10)
		})
		stopAgent(t, m)
		store := m.DataDir() + ".matriarch/store"
		if err := os.Rename(store, store+".old"); err != nil {
			t.Fatal(err)
		}
		m.StartAgent()
	}
	now := c.WaitHealthy(120 * time.Second)
	w.Stop()
	if lost := w.Lost(t, now.DSN()); len(lost) > 0 {
		t.Fatalf("%d of %d acknowledged rows lost: %s", len(lost), w.Count(), fmt.Sprint(lost))
	}
}

func stopAgent(t *testing.T, m *lab.Member) {
	t.Helper()
	m.Agent.Signal(syscall.SIGTERM)
	if _, err := m.Agent.Wait(60 * time.Second); err != nil {
		t.Fatalf("%s: %v\n%s", m.Name, err, m.Agent.Tail(20))
	}
}
