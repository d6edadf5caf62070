package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// allFollow waits until a member leads and all others stream from it. The status of
// older Patronis does not say that they do.
func allFollow(t *testing.T, c *lab.Cluster, lead *lab.Member) {
	t.Helper()
	lab.Until(t, 90*time.Second, lead.Name+" leading, with the others streaming", func() string {
		if code, _, err := lead.Get("/primary"); err != nil || code != 200 {
			return fmt.Sprintf("it says %d (%v)\n%s", code, err, c.Tails(6))
		}
		rows, err := lab.SQL(lead.DSN(), "SELECT count(*)::text FROM pg_stat_replication WHERE state = 'streaming'")
		if err != nil || rows[0] != fmt.Sprint(len(c.Members)-1) {
			return fmt.Sprintf("%v stream (%v)\n%s", rows, err, c.Tails(6))
		}
		for _, m := range c.Others(lead) { // a base backup streams too
			if rows, err := lab.SQL(m.SocketDSN(), "SELECT pg_is_in_recovery()::text"); err != nil || rows[0] != "true" {
				return fmt.Sprintf("%s: %v %v", m.Name, rows, err)
			}
		}
		return ""
	})
}

// TestFailsafeMixed: failsafe mode in a cluster with a member that runs Debian's
// Patroni: it accepts a leader of ours, and ours accept it.
func TestFailsafeMixed(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join(debian, "usr", "bin", "patroni")); err != nil {
		t.Skipf("no Patroni here: %v; scripts/deps.sh test unpacks it", err)
	}
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd, DCS: failsafeOn})
	other := c.Members[2]
	other.RunsPatroni(debian)
	for _, m := range c.Members[:2] {
		m.StartAgent()
	}
	c.StartEntry()
	lead := c.WaitLeader(60*time.Second, nil)
	other.StartAgent()
	allFollow(t, c, lead)
	recorded(t, c)
	w := lab.StartWriter(t, lead.DSN())
	w.WaitProgress(t, 15*time.Second)
	r := reignOf(t, c, lead, w)
	c.KillStore()
	r.holds(t, "without the store, a member running another program", 2*ttl+5*time.Second)
	if _, body, err := other.Get("/patroni"); err != nil || !strings.Contains(body, `"failsafe_mode_is_active": true`) {
		t.Errorf("%s: %v %s", other.Name, err, body)
	}
	c.StartStore()
	c.WaitStore(30 * time.Second)
	r.holds(t, "with the store again", ttl+5*time.Second)
	w.Stop()

	// The other way round. Their promises have to be over first.
	lab.Until(t, 60*time.Second, "the mode to be over", func() string {
		for _, m := range c.Members {
			if got := gauge(m, "patroni_failsafe_mode_is_active"); got != "0" {
				return m.Name + ": " + got
			}
		}
		return ""
	})
	code, body, err := lead.Send("POST", "/switchover", fmt.Sprintf(`{"leader":%q,"candidate":%q}`, lead.Name, other.Name), 60*time.Second)
	if err != nil || code != 200 {
		t.Fatalf("switchover: %d %s %v\n%s", code, body, err, c.Tails(10))
	}
	allFollow(t, c, other)
	recorded(t, c)
	w = lab.WriteTo(t, other.DSN(), 1e9)
	w.WaitProgress(t, 15*time.Second)
	r = reignOf(t, c, other, w)
	c.KillStore()
	r.holds(t, "led by another program without the store", 2*ttl+5*time.Second)
	c.StartStore()
	c.WaitStore(30 * time.Second)
	r.holds(t, "and with it again", ttl+5*time.Second)
	w.Stop()
}
