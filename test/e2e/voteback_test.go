package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestVoteComesBack: a vote of the embedded store that was cut off, by dropped
// packets, counts again soon after the network is whole, and not only after as
// long again: TCP by itself sends again after 25 and then after 51 seconds. When
// the third vote is lost then, the primary keeps its lease by the one that came
// back.
func TestVoteComesBack(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded, Timing: [3]int{20, 1, 3}})
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	first, second := c.Others(lead)[0], c.Others(lead)[1]
	w := lab.StartWriter(t, lead.DSN())
	cut := func(m *lab.Member) {
		var rules []string
		for _, o := range c.Others(m) {
			for _, port := range []string{"sport", "dport"} {
				rules = append(rules, fmt.Sprintf("in ip saddr %s tcp %s { 2379, 2380 } drop", o.IP, port),
					fmt.Sprintf("out ip daddr %s tcp %s { 2379, 2380 } drop", o.IP, port))
			}
		}
		if err := m.Filter(rules); err != nil {
			t.Fatal(err)
		}
	}

	cut(first)
	pause(t, 28*time.Second) // between the two moments at which TCP sends again
	if err := first.Filter(nil); err != nil {
		t.Fatal(err)
	}
	from := lead.Agent.Written()
	cut(second)
	// Longer than the lease.
	for began := time.Now(); time.Since(began) < 30*time.Second; {
		w.WaitProgress(t, 5*time.Second)
		if now := c.Leader(); now != lead {
			t.Fatalf("%s does not lead any more, although two votes of three are there\n%s", lead.Name, lead.Agent.Since(from))
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err := second.Filter(nil); err != nil {
		t.Fatal(err)
	}
	c.WaitHealthy(60 * time.Second)
}
