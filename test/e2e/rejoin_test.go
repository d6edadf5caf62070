package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestRejoin makes primaries diverge: cut off, but still written to by a client
// on their own host until they are fenced. What becomes of their data is the
// operator's word: rewound, left as they are, or copied anew; never are the
// rows that the cluster does not have served, and never are they thrown away.
func TestRejoin(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded})
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	makeBranch(t, c, lead)

	old, from := diverge(t, c, lead, "first")
	old.Plug()
	c.WaitHealthy(60 * time.Second)
	log := old.Agent.Since(from)
	if !strings.Contains(log, "rewind done") || strings.Contains(log, "clone done") {
		t.Fatalf("%s was not rewound:\n%s", old.Name, log)
	}
	noBranch(t, c, "first")
	report := lostReport(t, old)
	if !strings.Contains(report, "xid ") {
		t.Fatalf("the report names no transaction:\n%s", report)
	}

	// Neither rewinding nor copying anew is allowed.
	configure(t, c, `{"postgresql":{"use_pg_rewind":false}}`)
	old, from = diverge(t, c, c.Leader(), "second")
	control := filepath.Join(old.DataDir(), "global", "pg_control")
	old.Plug()
	lab.Until(t, 30*time.Second, "a word on what to do", func() string {
		log := old.Agent.Since(from)
		if strings.Contains(log, "use_pg_rewind is off") && strings.Contains(log, "remove_data_directory_on_diverged_timelines") {
			return ""
		}
		return log
	})
	before := mustRead(t, control)
	c.WaitLeader(10*time.Second, old)
	configure(t, c, `{"ttl":21}`) // gives it a reason to look again
	lab.Until(t, 20*time.Second, "the setting at the stopped member", func() string {
		_, body, err := old.Get("/config")
		if err != nil || !strings.Contains(body, "21") {
			return body
		}
		return ""
	})
	if old.Postmaster() != 0 || mustRead(t, control) != before {
		t.Fatalf("the diverged data were touched\n%s", old.Agent.Since(from))
	}
	noBranch(t, c, "second")

	// Copying anew is allowed.
	configure(t, c, `{"postgresql":{"remove_data_directory_on_diverged_timelines":true}}`)
	c.WaitHealthy(60 * time.Second)
	if log := old.Agent.Since(from); !strings.Contains(log, "clone done") || strings.Contains(log, "rewind done") {
		t.Fatalf("%s was not copied anew:\n%s", old.Name, log)
	}
	noBranch(t, c, "second")
	if kept, err := filepath.Glob(old.DataDir() + ".replaced*"); err != nil || len(kept) == 0 {
		t.Fatalf("the directory with the diverged rows was not kept: %v %v", kept, err)
	}
}

// diverge cuts the leader off, writes rows that nobody else gets, and returns it
// once another leads, with the place in its log where that began.
func diverge(t *testing.T, c *lab.Cluster, lead *lab.Member, who string) (old *lab.Member, from int64) {
	t.Helper()
	from = lead.Agent.Written()
	lead.Unplug()
	for range 3 {
		lab.MustSQL(t, lead.SocketDSN(), "INSERT INTO branch VALUES ('"+who+"')")
	}
	next := c.WaitLeader(60*time.Second, lead)
	if lead.Postmaster() != 0 {
		t.Fatalf("%s leads and the postmaster of %s still runs", next.Name, lead.Name)
	}
	lab.MustSQL(t, next.DSN(), "INSERT INTO branch VALUES ('"+next.Name+"')")
	return lead, from
}

// makeBranch makes the table of diverge, and waits until every member has it: whoever
// leads next must.
func makeBranch(t *testing.T, c *lab.Cluster, lead *lab.Member) {
	t.Helper()
	lab.MustSQL(t, lead.DSN(), "CREATE TABLE branch (who text)")
	for _, m := range c.Members {
		lab.Until(t, 30*time.Second, "the table at "+m.Name, func() string {
			if lab.MustSQL(t, m.DSN(), "SELECT (to_regclass('branch') IS NOT NULL)::text")[0] == "true" {
				return ""
			}
			return "not there"
		})
	}
}

func configure(t *testing.T, c *lab.Cluster, patch string) {
	t.Helper()
	if code, body, err := c.Leader().Send("PATCH", "/config", patch, 10*time.Second); err != nil || code != 200 {
		t.Fatalf("PATCH /config %s: %d %s %v", patch, code, body, err)
	}
}

// noBranch: no running server has the rows of the branch that was left.
func noBranch(t *testing.T, c *lab.Cluster, who string) {
	t.Helper()
	for _, m := range c.Members {
		if m.Postmaster() == 0 {
			continue
		}
		if n := lab.MustSQL(t, m.DSN(), "SELECT count(*)::text FROM branch WHERE who = '"+who+"'"); n[0] != "0" {
			t.Fatalf("%s has %s rows of the branch that was left", m.Name, n[0])
		}
	}
}

func lostReport(t *testing.T, m *lab.Member) string {
	t.Helper()
	found, err := filepath.Glob(m.DataDir() + ".lost-wal/*/lost-transactions.txt")
	if err != nil || len(found) != 1 {
		t.Fatalf("reports of what was lost: %v %v", found, err)
	}
	return mustRead(t, found[0])
}

func mustRead(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
