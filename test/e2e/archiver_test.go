package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestHungArchiver: a clean shutdown waits for the archiver, for ever if that
// hangs. A switchover must not: the candidate leads as soon as it has the last
// record, and the old primary becomes its replica when its archiver is done.
func TestHungArchiver(t *testing.T) {
	t.Parallel()
	release := filepath.Join(os.TempDir(), fmt.Sprintf("matriarch-archiver-%d", os.Getpid())) // in sight of the server's user
	t.Cleanup(func() { os.Remove(release) })
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd, Members: 2, Timing: [3]int{20, 1, 3},
		PgParams: "    archive_mode: 'on'\n    archive_command: 'while [ ! -e " + release + " ]; do sleep 0.1; done'\n"})
	c.WaitStore(20 * time.Second)
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	lab.MustSQL(t, lead.DSN(), "CREATE TABLE before AS SELECT 1 AS i")

	code, body, err := lead.Send("POST", "/switchover", `{"leader":"`+lead.Name+`"}`, 30*time.Second)
	if err != nil || code != 200 {
		t.Fatalf("switchover: %d %s %v\n%s", code, body, err, c.Tails(20))
	}
	next := c.WaitLeader(20*time.Second, lead)
	if lead.Postmaster() == 0 {
		t.Fatalf("the former primary did not wait for its archiver\n%s", lead.Agent.Tail(20))
	}
	lab.MustSQL(t, next.DSN(), "INSERT INTO before VALUES (2)")

	if err := os.WriteFile(release, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if now := c.WaitHealthy(60 * time.Second); now != next {
		t.Fatalf("%s leads, not %s", now.Name, next.Name)
	}
}
