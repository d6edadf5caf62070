package e2e

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestPowerLostMidway loses a host's power in the middle of what must not be
// half done: making the database, copying it, rewinding it. The cluster
// converges, and nothing half done is ever started.
func TestPowerLostMidway(t *testing.T) {
	t.Parallel()
	// A rewind that has just copied the last file is the hardest to go on from.
	powerLostMidway(t, lab.Embedded, "/backup_label", func() time.Duration { return 0 })
}

// TestSlowPowerLostMidway does so again and again at other moments.
func TestSlowPowerLostMidway(t *testing.T) {
	if os.Getenv("MATRIARCH_SLOW") == "" {
		t.Skip("takes long: set MATRIARCH_SLOW=1")
	}
	for range 10 {
		for _, kind := range stores {
			t.Run(string(kind), func(t *testing.T) {
				rewinding := []string{"/backup_label", ".rewinding"}[rand.N(2)]
				powerLostMidway(t, kind, rewinding, func() time.Duration { return time.Duration(rand.N(500)) * time.Millisecond })
			})
		}
	}
}

// powerLostMidway cuts the power that long after each began; rewinding is the
// file beside or in the data directory that shows that a rewind is at work.
func powerLostMidway(t *testing.T, kind lab.StoreKind, rewinding string, after func() time.Duration) {
	t.Helper()
	c := lab.NewCluster(t, lab.Options{Store: kind})
	cut := func(m *lab.Member, what, file string) {
		t.Helper()
		lab.UntilQuickly(t, 60*time.Second, what+" on "+m.Name, func() string {
			if _, err := os.Stat(file); err != nil {
				return err.Error()
			}
			return ""
		})
		time.Sleep(after()) // the moment varies; nothing is waited for
		m.PowerOff()
	}
	again := func(m *lab.Member) {
		m.PowerOn()
		m.StartAgent()
	}

	// Whoever makes the database.
	for _, m := range c.Members {
		m.StartAgent()
	}
	var maker *lab.Member
	lab.UntilQuickly(t, 60*time.Second, "initdb", func() string {
		for _, m := range c.Members {
			if _, err := os.Stat(m.DataDir() + "/PG_VERSION"); err == nil {
				maker = m
				return ""
			}
		}
		return "no member has begun"
	})
	time.Sleep(after())
	maker.PowerOff()
	c.WaitLeader(90*time.Second, nil)
	again(maker)
	c.WaitHealthy(90 * time.Second)
	bootstrappedOnce(t, c)

	// A copy: of a member whose data were lost.
	lead := c.WaitHealthy(60 * time.Second)
	victim := c.Others(lead)[0]
	victim.PowerOff()
	if err := os.RemoveAll(victim.DataDir()); err != nil {
		t.Fatal(err)
	}
	again(victim)
	cut(victim, "a copy", victim.DataDir()+".new")
	again(victim)
	lead = c.WaitHealthy(90 * time.Second)
	if _, err := os.Stat(victim.DataDir() + ".new"); err == nil {
		t.Fatal("the half copy is still there")
	}

	// A rewind.
	lab.MustSQL(t, lead.DSN(), "CREATE TABLE branch (who text)")
	c.WaitHealthy(30 * time.Second)
	old, from := diverge(t, c, lead, "left")
	old.Plug()
	cut(old, "a rewind", old.DataDir()+rewinding)
	again(old)
	c.WaitHealthy(90 * time.Second)
	log := old.Agent.Since(from)
	done := max(strings.Index(log, "rewind done"), strings.Index(log, "clone done"))
	if started := strings.Index(log, "start-replica done"); done < 0 || started < done {
		t.Fatalf("%s was started before its data were whole:\n%s", old.Name, log)
	}
	t.Logf("after the broken-off rewind: rewound again %v, copied anew %v", strings.Contains(log, "rewind done"), strings.Contains(log, "clone done"))
	noBranch(t, c, "left")
}
