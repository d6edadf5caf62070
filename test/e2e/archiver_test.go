package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// hungArchiver starts two members whose archivers hang until the returned
// function is called.
func hungArchiver(t *testing.T) (c *lab.Cluster, lead *lab.Member, release func()) {
	file := filepath.Join(os.TempDir(), fmt.Sprintf("matriarch-archiver-%d-%s", os.Getpid(), t.Name())) // in sight of the server's user
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(file) })
	c = lab.NewCluster(t, lab.Options{Store: lab.Etcd, Members: 2, Timing: [3]int{20, 1, 3},
		PgParams: "    archive_mode: 'on'\n    archive_command: 'while [ -e " + file + " ]; do sleep 0.1; done'\n"})
	c.WaitStore(20 * time.Second)
	c.StartAll()
	lead = c.WaitHealthy(60 * time.Second)
	lab.MustSQL(t, lead.DSN(), "CREATE TABLE before AS SELECT 1 AS i")
	return c, lead, func() { os.Remove(file) }
}

// TestHungArchiver: a clean shutdown waits for the archiver, for ever if that
// hangs. A switchover must not: the candidate leads as soon as it has the last
// record, and the old primary becomes its replica when its archiver is done.
func TestHungArchiver(t *testing.T) {
	t.Parallel()
	c, lead, release := hungArchiver(t)
	next := handOver(t, c, lead)
	lab.MustSQL(t, next.DSN(), "INSERT INTO before VALUES (2)")

	release()
	if now := c.WaitHealthy(60 * time.Second); now != next {
		t.Fatalf("%s leads, not %s", now.Name, next.Name)
	}
}

// handOver has the leader replaced, whose archiver hangs.
func handOver(t *testing.T, c *lab.Cluster, lead *lab.Member) (next *lab.Member) {
	code, body, err := lead.Send("POST", "/switchover", `{"leader":"`+lead.Name+`"}`, 30*time.Second)
	if err != nil || code != 200 {
		t.Fatalf("switchover: %d %s %v\n%s", code, body, err, c.Tails(20))
	}
	next = c.WaitLeader(20*time.Second, lead)
	if lead.Postmaster() == 0 {
		t.Fatalf("the former primary did not wait for its archiver\n%s", lead.Agent.Tail(20))
	}
	return next
}

// TestHungArchiverOfTheLastMember: the agent is killed while its server waits
// for the archiver, and then the new leader is lost. Who starts again finds a
// server that will never end by itself, and is the only one that can lead.
func TestHungArchiverOfTheLastMember(t *testing.T) {
	t.Parallel()
	c, lead, _ := hungArchiver(t)
	next := handOver(t, c, lead)
	lead.Agent.Signal(syscall.SIGKILL)
	lead.Agent.Wait(10 * time.Second)
	lead.StartAgent()
	next.PowerOff()
	if now := c.WaitLeader(90*time.Second, next); now != lead {
		t.Fatalf("%s leads, not %s", now.Name, lead.Name)
	}
	lab.MustSQL(t, lead.DSN(), "INSERT INTO before VALUES (2)")
}

// TestStoppedBehindTheAgent: a person stops the primary's server, and its
// archiver hangs. The lease is not kept for what will serve nobody.
func TestStoppedBehindTheAgent(t *testing.T) {
	t.Parallel()
	c, lead, release := hungArchiver(t)
	if err := syscall.Kill(lead.Postmaster(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	next := c.WaitLeader(60*time.Second, lead)
	lab.MustSQL(t, next.DSN(), "INSERT INTO before VALUES (2)")

	release()
	if now := c.WaitHealthy(60 * time.Second); now != next {
		t.Fatalf("%s leads, not %s", now.Name, next.Name)
	}
}
