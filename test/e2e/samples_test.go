package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestSamples: member files written for the classic lab, with their old
// spellings, start a synchronous pair on ZooKeeper as they are, and keep it
// writing through a crash of PostgreSQL and the loss of a host.
func TestSamples(t *testing.T) {
	t.Parallel()
	c := lab.NewClassic(t, "testdata/postgres0.yml", "testdata/postgres1.yml")
	c.StartAll()
	lead := c.WaitHealthy(90 * time.Second)
	standby := waitSync(t, c, lead, 30*time.Second)
	t.Logf("%s made the cluster, %s is synchronous", lead.Name, standby.Name)
	for _, want := range [][2]string{{"wal_keep_size", "128MB"}, {"archive_mode", "always"}, {"archive_timeout", "30min"}, {"wal_level", "replica"}, {"cluster_name", "my_cluster"}} {
		if got := setting(standby, want[0]); got != want[1] {
			t.Errorf("%s is %q on the replica, want %q", want[0], got, want[1])
		}
	}
	if hba := strings.Join(lab.MustSQL(t, lead.DSN(), "SELECT address || ' ' || array_to_string(user_name,',') || ' ' || auth_method FROM pg_hba_file_rules WHERE address = '0.0.0.0'"), "; "); hba != "0.0.0.0 replicator md5; 0.0.0.0 all md5" {
		t.Errorf("the lines of bootstrap.pg_hba in force: %s", hba)
	}
	lab.MustSQL(t, lead.DSN(), "CREATE TABLE story AS SELECT 42 AS x")
	lab.Until(t, 10*time.Second, "the row on the replica", func() string {
		rows, err := lab.SQL(standby.DSN(), "SELECT x::text FROM story")
		if err != nil || rows[0] != "42" {
			return fmt.Sprint(rows, err)
		}
		return ""
	})
	if _, err := lab.SQL(standby.DSN(), "INSERT INTO story VALUES (1)"); err == nil || !strings.Contains(err.Error(), "25006") {
		t.Errorf("an insert on the replica: %v, want SQLSTATE 25006", err)
	}

	w := lab.StartWriter(t, c.DSN())
	w.WaitProgress(t, 20*time.Second)
	timeline := status(t, lead).Timeline
	w.Gap()
	_ = syscall.Kill(lead.Postmaster(), syscall.SIGKILL)
	w.WaitProgress(t, 40*time.Second)
	if now := c.WaitHealthy(60 * time.Second); now != lead || status(t, now).Timeline != timeline {
		t.Errorf("after a crash of PostgreSQL %s leads on timeline %d: want %s, restarted in place on %d", now.Name, status(t, now).Timeline, lead.Name, timeline)
		lead = now
	}
	t.Logf("PostgreSQL killed: longest gap %s", w.Gap().Round(10*time.Millisecond))
	standby = waitSync(t, c, lead, 30*time.Second)

	// A row that nobody else has: the host has to be rewound when it returns,
	// although the files put its socket into the data directory.
	lead.Cut(standby.IP)
	lab.MustSQL(t, lead.DSN(), "BEGIN; SET LOCAL synchronous_commit = local; INSERT INTO story VALUES (13); COMMIT")
	lead.PowerOff()
	if now := c.WaitLeader(60*time.Second, lead); now != standby {
		t.Fatalf("%s leads, want the synchronous standby %s", now.Name, standby.Name)
	}
	w.WaitProgress(t, 40*time.Second)
	t.Logf("host powered off (ttl 30): longest gap %s", w.Gap().Round(10*time.Millisecond))
	noneLost(t, w, standby)
	lead.PowerOn()
	lead.Mend()
	lead.StartAgent()
	if now := c.WaitHealthy(60 * time.Second); now != standby {
		t.Fatalf("%s leads after the former primary returned", now.Name)
	}
	if back := waitSync(t, c, standby, 30*time.Second); back != lead {
		t.Fatalf("%s is synchronous, want %s which returned", back.Name, lead.Name)
	}
	w.Stop()
	noneLost(t, w, lead)
	if problem := missing(lead.Agent, "rewind done"); problem != "" {
		t.Error(problem)
	}
	if rows := lab.MustSQL(t, lead.DSN(), "SELECT string_agg(x::text, ',') FROM story"); rows[0] != "42" {
		t.Errorf("the rewound replica has the rows %s", rows[0])
	}
}
