package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestWitness: two hosts with PostgreSQL and one that only votes survive the
// loss of any one of the three.
func TestWitness(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded, Members: 2, Witness: true, Timing: [3]int{20, 1, 3}})
	witness := c.StartWitness()
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	w := lab.StartWriter(t, c.DSN())
	w.WaitProgress(t, 20*time.Second)

	w.Gap()
	timeline := status(t, lead).Timeline
	c.Witness.PowerOff()
	// Longer than any lease: who leads then has renewed it without the witness.
	for end := time.Now().Add(25 * time.Second); time.Now().Before(end); {
		w.WaitProgress(t, 15*time.Second)
		if witness.Ended() && c.Leader() != lead {
			t.Fatalf("the witness is off, and %s leads no more\n%s", lead.Name, c.Tails(10))
		}
		time.Sleep(time.Second) // the pace of looking
	}
	if now := status(t, lead).Timeline; now != timeline {
		t.Fatalf("the witness was lost and the timeline went from %d to %d", timeline, now)
	}
	if gap := w.Gap(); gap > 10*time.Second {
		t.Errorf("no acknowledged write for %s while only the witness was lost", gap)
	}
	c.Witness.PowerOn()
	before := witness.Written()
	witness = c.StartWitness()
	// The witness votes again: without it nobody would, once the primary is gone.
	lab.Until(t, 30*time.Second, "the witness voting again", func() string {
		if said := witness.Since(before); !strings.Contains(said, "votes") {
			return said
		}
		return ""
	})

	lead.PowerOff()
	next := c.WaitLeader(50*time.Second, lead)
	w.WaitProgress(t, 20*time.Second)
	lead.PowerOn()
	lead.StartAgent()
	if now := c.WaitHealthy(60 * time.Second); now != next {
		t.Fatalf("%s leads after the former primary returned, want %s to stay", now.Name, next.Name)
	}
	w.Stop()
}
