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

// external are the stores that run on a host of their own.
var external = []lab.StoreKind{lab.Etcd, lab.ZooKeeper}

// stores are the coordination stores that every story is told on.
var stores = []lab.StoreKind{lab.Embedded, lab.ZooKeeper}

// TestStory is the life of a cluster: it is made, it replicates, and it keeps
// its primary through whatever happens to it. The parts follow each other on
// one cluster, while a client writes through the entrypoint and remembers every
// acknowledged row.
func TestStory(t *testing.T) {
	for _, kind := range stores {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := lab.NewCluster(t, lab.Options{Store: kind})
			c.StartAll()
			c.WaitHealthy(60 * time.Second)
			bootstrappedOnce(t, c)
			replicasRefuseWrites(t, c)
			rolesAndFiles(t, c)

			w := lab.StartWriter(t, c.DSN())
			part(t, c, w, "agent told to stop", func(lead *lab.Member) {
				lead.Agent.Signal(syscall.SIGTERM)
				if code, err := lead.Agent.Wait(30 * time.Second); err != nil || code != 0 {
					t.Fatalf("the agent ended with %d, %v\n%s", code, err, lead.Agent.Tail(20))
				}
				c.WaitLeader(30*time.Second, lead)
				lead.StartAgent()
			})
			part(t, c, w, "switchover", func(lead *lab.Member) {
				code, body, err := c.Others(lead)[0].Send("POST", "/switchover", `{"leader":"`+lead.Name+`"}`, 40*time.Second)
				if err != nil || code != 200 {
					t.Fatalf("switchover: %d %s %v\n%s", code, body, err, c.Tails(15))
				}
				c.WaitLeader(10*time.Second, lead)
			})
			timeline := status(t, c.WaitHealthy(30*time.Second)).Timeline
			part(t, c, w, "PostgreSQL killed", func(lead *lab.Member) {
				_ = syscall.Kill(lead.Postmaster(), syscall.SIGKILL)
				w.WaitProgress(t, 30*time.Second)
				if now := c.WaitHealthy(30 * time.Second); now != lead || status(t, now).Timeline != timeline {
					t.Fatalf("after a crash of PostgreSQL alone %s leads on timeline %d: want %s, started in place on %d", now.Name, status(t, now).Timeline, lead.Name, timeline)
				}
			})
			part(t, c, w, "agent killed", func(lead *lab.Member) {
				pid := lead.Postmaster()
				lead.Agent.Signal(syscall.SIGKILL)
				c.WaitLeader(60*time.Second, lead)
				if syscall.Kill(pid, 0) == nil && lead.Postmaster() == pid {
					t.Fatalf("%s was promoted while the former primary's postmaster %d lives", c.Leader().Name, pid)
				}
				lead.StartAgent()
			})
			part(t, c, w, "host powered off", func(lead *lab.Member) {
				lead.PowerOff()
				c.WaitLeader(60*time.Second, lead)
				lead.PowerOn()
				lead.StartAgent()
			})
			part(t, c, w, "host cut off from everybody", func(lead *lab.Member) {
				lead.Unplug()
				c.WaitLeader(60*time.Second, lead)
				if lead.Postmaster() != 0 {
					t.Fatalf("another leads and the postmaster of %s still runs", lead.Name)
				}
				lead.Plug()
			})
			wholeClusterRestarts(t, c, w)
			w.Stop()
			lead := c.WaitHealthy(60 * time.Second)
			if lost := w.Lost(t, lead.DSN()); len(lost) > 0 {
				// Asynchronous replication may lose what was written since the last
				// published position when a host is lost; a clean stop loses nothing.
				t.Logf("%d of %d acknowledged rows lost over the whole story (asynchronous)", len(lost), w.Count())
			}
			noSecretsInLogs(t, c)
		})
	}
}

// part is one part of the story: it breaks the leader, and afterwards the
// cluster is whole again and writes go on.
func part(t *testing.T, c *lab.Cluster, w *lab.Writer, name string, do func(lead *lab.Member)) {
	t.Helper()
	lead := c.WaitHealthy(60 * time.Second)
	w.WaitProgress(t, 30*time.Second)
	w.Gap()
	do(lead)
	w.WaitProgress(t, 40*time.Second)
	gap := w.Gap()
	c.WaitHealthy(60 * time.Second)
	t.Logf("%s: longest gap between acknowledged writes %s", name, gap.Round(10*time.Millisecond))
}

func status(t *testing.T, m *lab.Member) lab.Status {
	t.Helper()
	s, err := m.Status()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func bootstrappedOnce(t *testing.T, c *lab.Cluster) {
	t.Helper()
	ids := map[string]bool{}
	for _, m := range c.Members {
		ids[lab.MustSQL(t, m.DSN(), "SELECT system_identifier::text FROM pg_control_system()")[0]] = true
	}
	if len(ids) != 1 {
		t.Fatalf("members have different databases: %v", ids)
	}
}

func replicasRefuseWrites(t *testing.T, c *lab.Cluster) {
	t.Helper()
	lead := c.Leader()
	lab.MustSQL(t, lead.DSN(), "CREATE TABLE story (x int)")
	lab.MustSQL(t, lead.DSN(), "INSERT INTO story VALUES (42)")
	for _, m := range c.Others(lead) {
		lab.Until(t, 10*time.Second, "the row on "+m.Name, func() string {
			rows, err := lab.SQL(m.DSN(), "SELECT x::text FROM story")
			if err != nil || len(rows) != 1 {
				return fmt.Sprint(rows, err)
			}
			return ""
		})
		if _, err := lab.SQL(m.DSN(), "INSERT INTO story VALUES (1)"); err == nil || !strings.Contains(err.Error(), "25006") {
			t.Fatalf("an insert on the replica %s: %v, want SQLSTATE 25006 (read-only)", m.Name, err)
		}
	}
	if rows := lab.MustSQL(t, c.DSN(), "SELECT pg_is_in_recovery()::text"); rows[0] != "false" {
		t.Fatal("the entrypoint's read-write port leads to a standby")
	}
	// It falls back to the primary only until it has heard of the replicas.
	lab.Until(t, 10*time.Second, "the entrypoint's read-only port leading to a replica", func() string {
		rows, err := lab.SQL(c.ReadDSN(), "SELECT pg_is_in_recovery()::text")
		if err != nil || rows[0] != "true" {
			return fmt.Sprint(rows, err)
		}
		return ""
	})
}

// rolesAndFiles: roles exist with SCRAM verifiers, files that hold secrets are
// private.
func rolesAndFiles(t *testing.T, c *lab.Cluster) {
	t.Helper()
	rows := lab.MustSQL(t, c.DSN(), "SELECT rolname || ' ' || left(rolpassword, 13) FROM pg_authid WHERE rolname IN ('postgres','replicator','rewinder') ORDER BY 1")
	if got := strings.Join(rows, "; "); got != "postgres SCRAM-SHA-256; replicator SCRAM-SHA-256; rewinder SCRAM-SHA-256" {
		t.Fatalf("roles: %s", got)
	}
}

func noSecretsInLogs(t *testing.T, c *lab.Cluster) {
	t.Helper()
	for _, m := range c.Members {
		for _, file := range []string{m.Agent.Log, m.DataDir() + ".matriarch/postgres.log"} {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"secret-super", "secret-rep", "secret-rewind"} {
				if strings.Contains(string(b), secret) {
					t.Errorf("%s holds the password %s", file, secret)
				}
			}
		}
	}
}

func wholeClusterRestarts(t *testing.T, c *lab.Cluster, w *lab.Writer) {
	t.Helper()
	c.WaitHealthy(60 * time.Second)
	for _, m := range c.Members {
		m.PowerOff()
	}
	for _, m := range c.Members {
		m.PowerOn()
		m.StartAgent()
	}
	c.WaitHealthy(90 * time.Second)
	w.WaitProgress(t, 60*time.Second)
}
