package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestTwoBranchesOfOneNumber has somebody promote two members by hand, one
// after the other, while no agent runs: both are on timeline 2 then, with other
// rows, and their history files are equal. PostgreSQL would let one stream from
// the other. The cluster must end on one of the branches, and no server may
// ever show rows of both.
func TestTwoBranchesOfOneNumber(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded})
	c.StartAll()
	a := c.WaitHealthy(60 * time.Second)
	lab.MustSQL(t, a.DSN(), "CREATE TABLE branch (who text)")
	c.WaitHealthy(30 * time.Second)
	for _, m := range c.Others(a) {
		lab.Until(t, 10*time.Second, "the table on "+m.Name, func() string {
			if _, err := lab.SQL(m.DSN(), "SELECT 1 FROM branch"); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	for _, m := range c.Members {
		m.PowerOff()
	}
	for i, m := range c.Others(a) {
		m.PowerOn()
		promoteByHand(t, m, 1+2000*i)
	}
	stop := make(chan struct{})
	mixed := make(chan string, 1)
	go func() { mixed <- watchMixed(c, stop) }()

	b, other := c.Others(a)[0], c.Others(a)[1]
	b.StartAgent()
	other.StartAgent()
	lead := c.WaitLeader(90*time.Second, nil)
	stuck := b
	if lead == b {
		stuck = other
	}
	lab.Until(t, 60*time.Second, "a word of the member on the other branch", func() string {
		if log := stuck.Agent.Since(0); !strings.Contains(log, "two timelines of one number") {
			return stuck.Agent.Tail(15)
		}
		return ""
	})
	if stuck.Postmaster() != 0 {
		t.Fatalf("%s runs although it is on another branch\n%s", stuck.Name, c.Tails(15))
	}
	configure(t, c, `{"postgresql":{"remove_data_directory_on_diverged_timelines":true}}`)
	a.PowerOn()
	a.StartAgent()
	if now := c.WaitHealthy(90 * time.Second); now != lead {
		t.Fatalf("%s leads, %s did before", now.Name, lead.Name)
	}
	want := fmt.Sprint([]string{lead.Name})
	lab.MustSQL(t, lead.DSN(), "CREATE TABLE done ()")
	for _, m := range c.Members {
		lab.Until(t, 10*time.Second, "the last change on "+m.Name, func() string {
			if _, err := lab.SQL(m.DSN(), "SELECT FROM done"); err != nil {
				return err.Error()
			}
			return ""
		})
		if rows := lab.MustSQL(t, m.DSN(), "SELECT DISTINCT who FROM branch"); fmt.Sprint(rows) != want {
			t.Fatalf("%s has rows of %v, want %s", m.Name, rows, want)
		}
	}
	close(stop)
	if problem := <-mixed; problem != "" {
		t.Fatal(problem)
	}
}

// promoteByHand makes the stopped standby a primary on its own, writes rows,
// and stops it again.
func promoteByHand(t *testing.T, m *lab.Member, rows int) {
	t.Helper()
	pgctl := func(args ...string) {
		t.Helper()
		argv := append([]string{"runuser", "-u", "postgres", "--", "/usr/lib/postgresql/15/bin/pg_ctl", "-D", m.DataDir(), "-w", "-l", m.DataDir() + ".by-hand.log"}, args...)
		if out, err := m.Run(argv...); err != nil {
			said, _ := os.ReadFile(m.DataDir() + ".by-hand.log")
			t.Fatalf("pg_ctl %v on %s: %v %s\n%s", args, m.Name, err, out, said)
		}
	}
	lab.Until(t, 10*time.Second, "the killed postmaster to be collected", func() string {
		if pid := m.Postmaster(); pid != 0 {
			return fmt.Sprint(pid)
		}
		return ""
	})
	pgctl("start")
	pgctl("promote")
	lab.MustSQL(t, m.SocketDSN(), fmt.Sprintf("INSERT INTO branch SELECT '%s' FROM generate_series(1,%d)", m.Name, rows))
	if tl := lab.MustSQL(t, m.SocketDSN(), "SELECT substr(pg_walfile_name(pg_current_wal_lsn()),1,8)"); tl[0] != "00000002" {
		t.Fatalf("%s is on timeline %s, want 2", m.Name, tl[0])
	}
	pgctl("stop", "-m", "fast")
}

// watchMixed looks until told to stop for a server that shows both branches.
func watchMixed(c *lab.Cluster, stop chan struct{}) string {
	for {
		select {
		case <-stop:
			return ""
		case <-time.After(50 * time.Millisecond):
		}
		for _, m := range c.Members {
			if m.Postmaster() == 0 {
				continue
			}
			if rows, err := lab.SQL(m.SocketDSN(), "SELECT DISTINCT who FROM branch"); err == nil && len(rows) > 1 {
				return fmt.Sprintf("%s shows rows of both branches: %v", m.Name, rows)
			}
		}
	}
}
