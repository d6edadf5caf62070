package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// debian is where scripts/deps.sh unpacks Debian's package of Patroni.
const debian = "/usr/local/lib/matriarch-test/patroni"

// ctl is a patronictl with a configuration that names a store and nothing else.
type ctl struct {
	t    *testing.T
	prog string
	conf string
}

func ctlFor(t *testing.T, c *lab.Cluster, prog string) ctl {
	t.Helper()
	conf := filepath.Join(c.Entry.Dir(), "ctl.yml")
	text := fmt.Sprintf("scope: lab\n%s: {hosts: ['%s']}\n", c.Opt.Store, c.StoreAt)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return ctl{t, prog, conf}
}

// run runs a command line and returns its outputs and exit code.
func (k ctl) run(stdin string, args ...string) (out, errOut string, code int) {
	k.t.Helper()
	cmd := exec.Command("timeout", append([]string{"120", k.prog, "-c", k.conf}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+debian+"/usr/lib/python3/dist-packages", "LC_ALL=C.UTF-8", "PGUSER=postgres", "PGPASSWORD=secret-super")
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		k.t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// ok runs a command that must succeed and say all of the words.
func (k ctl) ok(want []string, args ...string) string {
	k.t.Helper()
	out, errOut, code := k.run("", args...)
	if code != 0 {
		k.t.Fatalf("patronictl %s ended with %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			k.t.Fatalf("patronictl %s does not say %q:\n%s%s", strings.Join(args, " "), w, out, errOut)
		}
	}
	return out
}

func words(words ...string) []string { return words }

// TestDebiansPatronictl: the patronictl of Debian's package does its work on a
// cluster of ours, on each of the stores that both know.
func TestDebiansPatronictl(t *testing.T) {
	for _, kind := range []lab.StoreKind{lab.Etcd, lab.ZooKeeper} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := lab.NewCluster(t, lab.Options{Store: kind, Members: 2, Timing: [3]int{20, 1, 3}})
			c.StartAll()
			lead := c.WaitHealthy(60 * time.Second)
			k := ctlFor(t, c, debian+"/usr/bin/patronictl")
			if out := k.ok(nil, "version"); !strings.HasPrefix(out, "patronictl version 3.0.") {
				t.Errorf("docs/patronictl.md is about 3.0, this is %s", out)
			}
			readsTheCluster(t, c, k, lead)
			changesTheCluster(t, c, k)
			movesTheLeader(t, c, k)
			if kind == lab.Etcd { // the rest goes through REST, whatever the store
				sameAsOurs(t, c, k)
				restartsServers(t, c, k)
				reinitializes(t, c, k)
			}
			removesTheCluster(t, c, k)
		})
	}
}

// row is a member in list's JSON.
type row struct {
	Member, Host, Role, State string
	TL                        int
	Lag                       *int   `json:"Lag in MB"`
	Scheduled                 string `json:"Scheduled restart"`
	Pending                   string `json:"Pending restart"`
}

func listed(k ctl) map[string]row {
	k.t.Helper()
	var rows []row
	out := k.ok(nil, "list", "-f", "json")
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		k.t.Fatalf("%v in %s", err, out)
	}
	byName := map[string]row{}
	for _, r := range rows {
		byName[r.Member] = r
	}
	return byName
}

func readsTheCluster(t *testing.T, c *lab.Cluster, k ctl, lead *lab.Member) {
	t.Helper()
	other := c.Others(lead)[0]
	k.ok(words(lead.Name+": Patroni 4.1.4 PostgreSQL 15.", other.Name+": Patroni 4.1.4 PostgreSQL 15."), "version", "lab")
	rows := listed(k)
	if r := rows[lead.Name]; r.Role != "Leader" || r.State != "running" || r.Host != lead.IP || r.TL != 1 || r.Lag != nil {
		t.Errorf("the leader is listed as %+v", r)
	}
	if r := rows[other.Name]; r.Role != "Replica" || r.State != "running" || r.Host != other.IP || r.TL != 1 || r.Lag == nil || *r.Lag != 0 {
		t.Errorf("the replica is listed as %+v", r)
	}
	k.ok(words("+ Cluster: lab ", "| "+lead.Name+" ", "| Leader "), "list")
	k.ok(words("| Tags |"), "list", "--extended", "--timestamp")
	k.ok(words("lab\t"+lead.Name+"\t"+lead.IP+"\tLeader\trunning\t1\t"), "list", "-f", "tsv")
	k.ok(words("  Member: "+other.Name+"\n  Role: Replica\n"), "list", "-f", "yaml")
	k.ok(words("| + "+other.Name+" "), "topology")
	k.ok(words("host="+lead.IP+" port=5432\n"), "dsn")
	k.ok(words("host="+other.IP+" port=5432\n"), "dsn", "-r", "replica")
	k.ok(words("a\tb\n1\tTrue\n"), "query", "-c", "select 1 as a, pg_is_in_recovery() as b", "-r", "replica")
	k.ok(words(`[{"b": false}]`), "query", "-c", "select pg_is_in_recovery() as b", "--format", "json", "-U", "postgres")
	k.ok(words("ttl: 20\n", "  use_pg_rewind: true\n"), "show-config")
	k.ok(nil, "history")
}

// sameAsOurs: our program under that name prints the same where both versions
// have the same to print.
func sameAsOurs(t *testing.T, c *lab.Cluster, k ctl) {
	t.Helper()
	link := filepath.Join(c.Entry.Dir(), "patronictl")
	if err := os.Symlink(lab.Binary(t), link); err != nil {
		t.Fatal(err)
	}
	ours := ctlFor(t, c, link)
	for _, args := range [][]string{{"show-config"}, {"dsn"}, {"dsn", "-r", "replica"}, {"dsn", "-m", "nobody"},
		{"history"}, {"history", "-f", "json"}, {"edit-config", "--force", "-s", "ttl=25"}, {"resume"}, {"version", "lab"},
		{"query", "-c", "select 1 as a, null as b, 'x' as c"}, {"query", "-c", "select 1 as a, 'x' as c", "--format", "json", "-r", "replica"},
		{"restart", "lab", "n2", "--force"}, {"restart", "lab", "nobody", "--force"}, {"reload", "lab", "--force"},
		{"flush", "lab", "restart", "--force"}, {"flush", "lab", "switchover", "--force"},
		{"switchover", "lab", "--leader", "nobody", "--force"}, {"failover", "lab", "--candidate", "nobody", "--force"}, {"failover", "lab", "--force"}} {
		out, errOut, code := k.run("", args...)
		c.WaitHealthy(60 * time.Second)
		out2, errOut2, code2 := ours.run("", args...)
		c.WaitHealthy(60 * time.Second)
		if said(out) != said(out2) || code != code2 {
			t.Errorf("patronictl %s\nDebian's (%d):\n%s%s\nours (%d):\n%s%s", strings.Join(args, " "), code, out, errOut, code2, out2, errOut2)
		}
	}
}

// said is an output without what differs between the versions: the table of the
// members and the program's own version.
func said(out string) string {
	var kept []string
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "patronictl version") && (strings.HasPrefix(line, "| TL") || !strings.ContainsAny(line[:1], "+|\n")) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func changesTheCluster(t *testing.T, c *lab.Cluster, k ctl) {
	t.Helper()
	k.ok(words("+ttl: 25", "Configuration changed"), "edit-config", "--force", "-s", "ttl=25", "-p", "work_mem=5MB")
	onAll(t, c, "work_mem", "5MB")
	k.ok(words("Success: cluster management is paused"), "pause", "--wait")
	for _, m := range c.Members {
		if d, err := clusterOf(m); err != nil || !d.Pause {
			t.Errorf("%s does not know of the pause: %v", m.Name, err)
		}
	}
	k.ok(words(" Maintenance mode: on"), "list")
	if _, errOut, code := k.run("", "pause"); code != 1 || !strings.Contains(errOut, "Cluster is already paused") {
		t.Errorf("a second pause: %d %s", code, errOut)
	}
	k.ok(words("Success: cluster management is resumed"), "resume", "--wait")
}

// history is what patronictl says of the branches so far.
func history(k ctl) int {
	k.t.Helper()
	var rows []struct {
		TL     int
		Leader string `json:"New Leader"`
	}
	out := k.ok(nil, "history", "-f", "json")
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		k.t.Fatalf("%v in %s", err, out)
	}
	return len(rows)
}

func movesTheLeader(t *testing.T, c *lab.Cluster, k ctl) {
	t.Helper()
	lead := c.WaitHealthy(60 * time.Second)
	other := c.Others(lead)[0]
	before := history(k)
	k.ok(words(`Successfully switched over to "`+other.Name+`"`), "switchover", "lab", "--leader", lead.Name, "--candidate", other.Name, "--force")
	if now := c.WaitHealthy(60 * time.Second); now != other {
		t.Fatalf("%s leads after a switchover to %s", now.Name, other.Name)
	}
	// This version names the leader in a failover too, which makes it a switchover.
	k.ok(words(`Successfully switched over to "`+lead.Name+`"`), "failover", "lab", "--candidate", lead.Name, "--force")
	if now := c.WaitHealthy(60 * time.Second); now != lead {
		t.Fatalf("%s leads after a failover to %s", now.Name, lead.Name)
	}
	lab.Until(t, 30*time.Second, "two more branches in the history", func() string {
		if n := history(k) - before; n != 2 {
			return fmt.Sprintf("%d more", n)
		}
		return ""
	})
	if _, errOut, code := k.run("", "switchover", "lab", "--leader", other.Name, "--force"); code != 1 || !strings.Contains(errOut, "is not the leader") {
		t.Errorf("a switchover from another: %d %s", code, errOut)
	}
	k.ok(words("Switchover scheduled"), "switchover", "lab", "--leader", lead.Name, "--candidate", other.Name, "--scheduled", "2099-01-01T00:00+00:00", "--force")
	k.ok(words(" Switchover scheduled at: 2099-01-01T00:00:00+00:00", "to: "+other.Name), "list")
	k.ok(words("Success: scheduled switchover deleted"), "flush", "lab", "switchover", "--force")
}

// started is when a member's server was started.
func started(t *testing.T, m *lab.Member) string {
	t.Helper()
	return lab.MustSQL(t, m.SocketDSN(), "SELECT pg_postmaster_start_time()::text")[0]
}

func restartsServers(t *testing.T, c *lab.Cluster, k ctl) {
	t.Helper()
	lead := c.WaitHealthy(60 * time.Second)
	other := c.Others(lead)[0]
	for _, m := range []*lab.Member{other, lead} {
		was := started(t, m)
		k.ok(words("Success: restart on member "+m.Name), "restart", "lab", m.Name, "--force")
		if now := c.WaitHealthy(60 * time.Second); now != lead {
			t.Fatalf("a restart of %s moved the leader to %s", m.Name, now.Name)
		}
		if started(t, m) == was {
			t.Errorf("%s was not restarted", m.Name)
		}
	}
	k.ok(words("Success: restart scheduled on member "+other.Name), "restart", "lab", other.Name, "--force", "--scheduled", "2099-01-01T00:00+00:00")
	lab.Until(t, 20*time.Second, "the scheduled restart in the list", func() string { // the member's key is written beside the answer
		if r := listed(k)[other.Name]; r.Scheduled != "2099-01-01T00:00:00+00:00" {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
	k.ok(words("No scheduled restart for member "+lead.Name, "Success: flush scheduled restart for member "+other.Name), "flush", "lab", "restart", "--force")
	k.ok(words("Configuration changed"), "edit-config", "--force", "-p", "max_connections=70")
	lab.Until(t, 30*time.Second, "pending restarts in the list", func() string {
		for name, r := range listed(k) {
			if r.Pending != "*" {
				return fmt.Sprintf("%s: %+v", name, r)
			}
		}
		return ""
	})
	k.ok(words("Success: restart on member "+lead.Name, "Success: restart on member "+other.Name), "restart", "lab", "--force", "--pending")
	c.WaitHealthy(60 * time.Second)
	onAll(t, c, "max_connections", "70")
	out := k.ok(nil, "reload", "lab", "--force")
	for _, m := range c.Members {
		if !slices.ContainsFunc([]string{"Reload request received for member ", "No changes to apply on member "}, func(s string) bool { return strings.Contains(out, s+m.Name) }) {
			t.Errorf("reload says nothing of %s:\n%s", m.Name, out)
		}
	}
}

func reinitializes(t *testing.T, c *lab.Cluster, k ctl) {
	t.Helper()
	lead := c.WaitHealthy(60 * time.Second)
	other := c.Others(lead)[0]
	mark := filepath.Join(other.DataDir(), "a mark")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	k.ok(words("Success: reinitialize for member "+other.Name), "reinit", "lab", other.Name, "--force", "--wait")
	lab.Until(t, 60*time.Second, "new data", func() string {
		if _, err := os.Stat(mark); err == nil {
			return "the old data are still there\n" + c.Tails(5)
		}
		return ""
	})
	c.WaitHealthy(60 * time.Second)
	if _, errOut, code := k.run("", "reinit", "lab", lead.Name, "--force"); code != 1 {
		t.Errorf("reinit of the leader ended with %d: %s", code, errOut)
	}
}

// removesTheCluster: its keys, once nobody runs any more.
func removesTheCluster(t *testing.T, c *lab.Cluster, k ctl) {
	t.Helper()
	for _, m := range append(c.Others(c.WaitHealthy(60*time.Second)), c.Leader()) {
		stopped(t, m)
	}
	if _, errOut, code := k.run("lab\nno\n", "remove", "lab"); code != 1 {
		t.Errorf("remove without the phrase ended with %d: %s", code, errOut)
	}
	if out, errOut, code := k.run("lab\nYes I am aware\n", "remove", "lab"); code != 0 {
		t.Fatalf("remove ended with %d\n%s%s", code, out, errOut)
	}
	if n := history(k); n != 0 {
		t.Errorf("after the removal there are still %d branches", n)
	}
}

// stopped ends a member's agent cleanly.
func stopped(t *testing.T, m *lab.Member) {
	t.Helper()
	m.Agent.Signal(syscall.SIGTERM)
	if code, err := m.Agent.Wait(60 * time.Second); err != nil || code != 0 {
		t.Fatalf("%s ended with %d, %v", m.Name, code, err)
	}
}
