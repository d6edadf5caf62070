package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestDynamic is the life of a configuration: how a cluster is founded, how a
// change reaches all members, what a pause holds back, and who may lead.
func TestDynamic(t *testing.T) {
	t.Parallel()
	script := writeScript(t, `echo "$1" > "$(dirname "$0")/conninfo"
exec psql -v ON_ERROR_STOP=1 -d "$1" -c 'CREATE TABLE made_by_post_init (x int)'`)
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded, Timing: [3]int{20, 1, 3},
		Bootstrap: "  - wal-segsize: 1\n  post_init: " + script + "\n",
		Member: func(i int) string {
			return []string{"", "tags: {failover_priority: 2}\n", "tags: {nofailover: true}\n"}[i]
		}})
	for _, m := range c.Members {
		m.Edit("  pg_hba:\n  - local all all trust\n  - host replication replicator 0.0.0.0/0 scram-sha-256\n  - host all all 0.0.0.0/0 scram-sha-256\n", "")
		m.Edit("  post_init:", "  pg_hba:\n  - local all all trust\n  - host replication replicator 0.0.0.0/0 scram-sha-256\n  - host all all 0.0.0.0/0 scram-sha-256\n  post_init:")
	}
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	if lead.Name == "n3" {
		t.Fatal("n3 made the cluster although it is tagged nofailover")
	}
	founded(t, c, lead, filepath.Dir(script))

	reloadable(t, c, lead)
	needsRestart(t, c, lead)
	accessRules(t, c, lead)
	refusesNonsense(t, lead)
	mistakes(t, c)
	paused(t, c)
	tags(t, c)
	lagging(t, c)
}

func writeScript(t *testing.T, body string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "matriarch-script-")
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "post_init.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// founded: options of initdb, the script and the first pg_hba.conf were used.
func founded(t *testing.T, c *lab.Cluster, lead *lab.Member, dir string) {
	t.Helper()
	for name, want := range map[string]string{"data_checksums": "on", "server_encoding": "UTF8", "lc_collate": "C", "wal_segment_size": "1MB"} {
		if got := setting(lead, name); got != want {
			t.Errorf("%s is %q, want %q as bootstrap.initdb says", name, got, want)
		}
	}
	if rows := lab.MustSQL(t, lead.DSN(), "SELECT count(*)::text FROM made_by_post_init"); rows[0] != "0" {
		t.Errorf("the table of post_init: %v", rows)
	}
	conninfo, err := os.ReadFile(filepath.Join(dir, "conninfo"))
	if err != nil || strings.Contains(string(conninfo), "secret-super") {
		t.Errorf("post_init was given %q, %v: want a connection string without the password", conninfo, err)
	}
	lines := strings.Join(lab.MustSQL(t, lead.DSN(), "SELECT type || ' ' || auth_method FROM pg_hba_file_rules ORDER BY line_number DESC LIMIT 3"), "; ")
	if lines != "host scram-sha-256; host scram-sha-256; local trust" {
		t.Errorf("the last lines of pg_hba.conf: %s", lines)
	}
}

// onAll waits until a setting has a value on every member.
func onAll(t *testing.T, c *lab.Cluster, name, want string) {
	t.Helper()
	for _, m := range c.Members {
		lab.Until(t, 30*time.Second, name+" on "+m.Name, func() string {
			if got := setting(m, name); got != want {
				return fmt.Sprintf("%q, want %q", got, want)
			}
			return ""
		})
	}
}

func reloadable(t *testing.T, c *lab.Cluster, lead *lab.Member) {
	t.Helper()
	patch(t, c.Others(lead)[0], `{"postgresql": {"parameters": {"work_mem": "7MB"}}}`)
	onAll(t, c, "work_mem", "7MB")
	patch(t, lead, `{"postgresql": {"parameters": {"work_mem": null}}}`)
	onAll(t, c, "work_mem", "4MB")
}

// pending is what a member says of parameters that wait for a restart.
func pending(m *lab.Member) (bool, string) {
	_, body, err := m.Get("/patroni")
	var s struct {
		Pending bool           `json:"pending_restart"`
		Reason  map[string]any `json:"pending_restart_reason"`
	}
	if err != nil || json.Unmarshal([]byte(body), &s) != nil {
		return false, fmt.Sprint(body, err)
	}
	return s.Pending, fmt.Sprint(s.Reason)
}

// needsRestart: a parameter that only a restart changes is shown as pending; a
// raised max_connections, which a standby must have before its primary, can be
// taken in any order without a standby that refuses to start.
func needsRestart(t *testing.T, c *lab.Cluster, lead *lab.Member) {
	t.Helper()
	patch(t, lead, `{"postgresql": {"parameters": {"max_connections": 80}}}`)
	for _, m := range c.Members {
		lab.Until(t, 20*time.Second, "a restart pending on "+m.Name, func() string {
			if yes, why := pending(m); !yes || !strings.Contains(why, "max_connections") {
				return fmt.Sprintf("pending %v, reason %s", yes, why)
			}
			return ""
		})
		if got := setting(m, "max_connections"); got != "60" {
			t.Errorf("max_connections is %s on %s before any restart", got, m.Name)
		}
	}
	lab.Until(t, 20*time.Second, "pending_restart in /cluster", func() string {
		d, err := clusterOf(lead)
		for _, m := range d.Members {
			if !m.PendingRestart {
				return fmt.Sprintf("%s has none; %v", m.Name, err)
			}
		}
		return ""
	})
	// The members' agents restarted one after the other, the primary's first: the
	// switchover and the restart of each standby must all come up.
	for _, m := range append([]*lab.Member{lead}, c.Others(lead)...) {
		m.Agent.Signal(syscall.SIGTERM)
		if code, err := m.Agent.Wait(40 * time.Second); err != nil || code != 0 {
			t.Fatalf("the agent of %s ended with %d, %v\n%s", m.Name, code, err, m.Agent.Tail(10))
		}
		m.StartAgent()
		c.WaitHealthy(60 * time.Second)
	}
	onAll(t, c, "max_connections", "80")
	for _, m := range c.Members {
		lab.Until(t, 10*time.Second, "no restart pending on "+m.Name, func() string {
			if yes, why := pending(m); yes {
				return why
			}
			return ""
		})
	}
}

func accessRules(t *testing.T, c *lab.Cluster, lead *lab.Member) {
	t.Helper()
	rules := `["local all all trust", "host replication replicator 0.0.0.0/0 scram-sha-256", "host all all 0.0.0.0/0 scram-sha-256", "host nobody nobody 192.0.2.7/32 reject"]`
	patch(t, lead, `{"postgresql": {"pg_hba": `+rules+`}}`)
	for _, m := range c.Members {
		lab.Until(t, 20*time.Second, "the new pg_hba.conf on "+m.Name, func() string {
			rows, err := lab.SQL(m.DSN(), "SELECT count(*)::text FROM pg_hba_file_rules WHERE address = '192.0.2.7'")
			if err != nil || rows[0] != "1" {
				return fmt.Sprint(rows, err)
			}
			return ""
		})
	}
}

// refusesNonsense: a change that could not be used is refused and changes nothing.
func refusesNonsense(t *testing.T, m *lab.Member) {
	t.Helper()
	_, before, _ := m.Get("/config")
	for _, body := range []string{`{"ttl": "long"}`, `{"synchronous_mode": "quorum"}`, `{"postgresql": 7}`} {
		if code, answer, err := m.Send("PATCH", "/config", body, 10*time.Second); code < 400 || code > 499 {
			t.Errorf("PATCH /config %s: %d %s %v, want a refusal", body, code, answer, err)
		}
	}
	if _, after, _ := m.Get("/config"); after != before {
		t.Errorf("refused changes changed the configuration:\n%s\n%s", before, after)
	}
}

// mistakes: what only PostgreSQL can judge is shared with all members all the
// same; it takes none of them down, not even one that starts with it, and every
// agent says which setting is refused.
func mistakes(t *testing.T, c *lab.Cluster) {
	t.Helper()
	lead := c.WaitHealthy(30 * time.Second)
	_, before, _ := lead.Get("/config")
	patch(t, lead, `{"postgresql": {"parameters": {"work_mem": "plenty", "maintenance_work_mem": "33MB"}}}`)
	onAll(t, c, "maintenance_work_mem", "33MB")
	for _, m := range c.Members {
		says(t, m, "work_mem", "plenty")
	}
	m := c.Others(lead)[0]
	ended(t, m)
	m.StartAgent()
	if now := c.WaitHealthy(60 * time.Second); now != lead {
		t.Fatalf("%s leads after the restart of a replica, want %s", now.Name, lead.Name)
	}
	patch(t, lead, `{"postgresql": {"parameters": {"work_mem": null, "maintenance_work_mem": null}, "pg_hba": ["local all all perhaps"]}}`)
	onAll(t, c, "maintenance_work_mem", "64MB")
	for _, m := range c.Members {
		says(t, m, "perhaps")
	}
	if code, body, err := lead.Send("PUT", "/config", before, 10*time.Second); err != nil || code != 200 {
		t.Fatalf("PUT /config: %d %s %v", code, body, err)
	}
	c.WaitHealthy(30 * time.Second)
}

// paused: in a pause a crashed primary stays down, and its lease is given up;
// with the pause over there is a primary again.
func paused(t *testing.T, c *lab.Cluster) {
	t.Helper()
	lead := c.WaitHealthy(60 * time.Second)
	patch(t, lead, `{"pause": true}`)
	for _, m := range c.Members {
		lab.Until(t, 20*time.Second, "the pause known to "+m.Name, func() string {
			_, body, err := m.Get("/patroni")
			if !strings.Contains(body, `"pause": true`) {
				return fmt.Sprint(body, err)
			}
			return ""
		})
	}
	_ = syscall.Kill(lead.Postmaster(), syscall.SIGKILL)
	lab.Until(t, 20*time.Second, "the lease given up", func() string {
		d, err := clusterOf(c.Others(lead)[0])
		if err != nil || d.role(lead.Name) == "leader" {
			return fmt.Sprint(d, err)
		}
		return ""
	})
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if lead.Postmaster() != 0 {
			t.Fatalf("in a pause the killed PostgreSQL was started\n%s", lead.Agent.Tail(10))
		}
		if now := c.Leader(); now != nil {
			t.Fatalf("in a pause %s was promoted", now.Name)
		}
	}
	patch(t, c.Others(lead)[0], `{"pause": null}`)
	c.WaitHealthy(60 * time.Second)
}

// tags: the higher priority wins among equals, and nofailover never does.
func tags(t *testing.T, c *lab.Cluster) {
	t.Helper()
	n1, n2, n3 := c.Members[0], c.Members[1], c.Members[2]
	if lead := c.WaitHealthy(60 * time.Second); lead != n1 {
		switchover(t, c, lead, n1)
	}
	n1.Agent.Signal(syscall.SIGTERM)
	_, _ = n1.Agent.Wait(40 * time.Second)
	if lead := c.WaitLeader(30*time.Second, n1); lead != n2 {
		t.Fatalf("%s leads, want n2: n3 is tagged nofailover", lead.Name)
	}
	n2.Agent.Signal(syscall.SIGTERM)
	_, _ = n2.Agent.Wait(40 * time.Second)
	// The store lost its majority with two of three agents: bring n1 back first.
	// It lacks the last record of n2, which only n3 may have, and waits for it.
	n1.StartAgent()
	lab.Until(t, 60*time.Second, "n1 waiting for the last record of n2", func() string {
		return missing(n1.Agent, "waiting for the last record of n2")
	})
	n2.StartAgent()
	if lead := c.WaitHealthy(60 * time.Second); lead == n3 {
		t.Fatal("n3 leads, which is tagged nofailover")
	} else if lead != n1 {
		switchover(t, c, lead, n1)
	}
	code, body, err := n1.Send("POST", "/switchover", `{"leader":"n1","candidate":"n3"}`, 20*time.Second)
	if err != nil || code == 200 || c.Leader() != n1 {
		t.Errorf("a switchover to a member tagged nofailover: %d %s %v", code, body, err)
	}
}

func switchover(t *testing.T, c *lab.Cluster, from, to *lab.Member) {
	t.Helper()
	code, body, err := to.Send("POST", "/switchover", `{"leader":"`+from.Name+`","candidate":"`+to.Name+`"}`, 40*time.Second)
	if err != nil || code != 200 {
		t.Fatalf("switchover from %s to %s: %d %s %v\n%s", from.Name, to.Name, code, body, err, c.Tails(10))
	}
	if now := c.WaitHealthy(40 * time.Second); now != to {
		t.Fatalf("%s leads after a switchover to %s", now.Name, to.Name)
	}
}

// lagging: a replica too far behind does not take over, even when nobody else
// can, and does once it may.
func lagging(t *testing.T, c *lab.Cluster) {
	t.Helper()
	lead := c.WaitHealthy(60 * time.Second)
	n2, n3 := c.Members[1], c.Members[2] // n3 may never lead
	if lead == n2 {
		switchover(t, c, n2, c.Members[0])
		lead = c.Members[0]
	}
	patch(t, lead, `{"maximum_lag_on_failover": 1048576}`)
	n2.Cut(lead.IP) // no WAL; the store's third vote keeps both connected to it
	lab.MustSQL(t, lead.DSN(), "CREATE TABLE bulk AS SELECT g, repeat('x', 200) AS t FROM generate_series(1, 40000) g")
	lab.MustSQL(t, lead.DSN(), "SELECT pg_switch_wal()")
	lab.Until(t, 20*time.Second, "the leader's position published", func() string {
		_, body, err := n3.Get("/cluster")
		var d struct {
			Members []struct {
				Name string
				Lag  any
			}
		}
		if err != nil || json.Unmarshal([]byte(body), &d) != nil {
			return fmt.Sprint(body, err)
		}
		for _, m := range d.Members {
			if lag, ok := m.Lag.(float64); m.Name == n2.Name && ok && lag > 4<<20 {
				return ""
			}
		}
		return body
	})
	lead.PowerOff()
	n2.Mend()
	lab.Until(t, 60*time.Second, "n2 saying why it may not lead", func() string {
		return missing(n2.Agent, "bytes behind the last known position of the leader, more than the 1048576 allowed")
	})
	if now := c.Leader(); now != nil {
		t.Fatalf("%s leads although it lags", now.Name)
	}
	lead.PowerOn()
	lead.StartAgent()
	if now := c.WaitHealthy(60 * time.Second); now != lead {
		t.Fatalf("%s leads, want %s, which alone has all rows", now.Name, lead.Name)
	}
	if rows := lab.MustSQL(t, n2.DSN(), "SELECT count(*)::text FROM bulk"); rows[0] != "40000" {
		t.Errorf("n2 has %s of 40000 rows", rows[0])
	}
}
