package e2e

import (
	"crypto/tls"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestReload changes a member's own file under a running cluster: what is right
// takes effect without a restart, what is wrong changes nothing at all.
func TestReload(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd, Members: 2, Timing: [3]int{20, 1, 3}})
	for _, m := range c.Members {
		m.StartAgent()
	}
	lead := c.WaitHealthy(60 * time.Second)
	replica := c.Others(lead)[0]
	pid := lead.Postmaster()

	hangup(t, lead)
	wrongFile(t, lead)
	refusedRules(t, lead)
	needsAgentRestart(t, lead)
	credentials(t, lead, replica)
	movedPort(t, replica)
	renewedCertificate(t, replica, lead)
	if lead.Postmaster() != pid || c.WaitLeader(10*time.Second, nil) != lead {
		t.Error("a reload restarted the server, or moved the leadership")
	}
}

// rules counts the access rules in force.
func rules(t *testing.T, m *lab.Member) string {
	t.Helper()
	return lab.MustSQL(t, m.DSN(), "SELECT count(*) FROM pg_hba_file_rules")[0]
}

// reload asks for one over REST.
func reload(t *testing.T, m *lab.Member, want int) string {
	t.Helper()
	code, body, err := m.Send("POST", "/reload", "", 10*time.Second)
	if err != nil || code != want {
		t.Fatalf("POST /reload: %d %q, %v; want %d\n%s", code, body, err, want, m.Agent.Tail(10))
	}
	return body
}

// hangup: tags, rules and parameters, by signal.
func hangup(t *testing.T, m *lab.Member) {
	t.Helper()
	at := m.Agent.Written()
	m.Agent.Signal(syscall.SIGHUP)
	lab.Until(t, 10*time.Second, "the unchanged file named as such", func() string {
		return lacks(m.Agent.Since(at), "no setting was changed")
	})
	m.Edit("scope: lab\n", "scope: lab\ntags: {zone: north, clonefrom: true}\n",
		"  - local all all trust\n", "  - local all all trust\n  - host all nobody 0.0.0.0/0 reject\n",
		"shared_buffers: 16MB", "shared_buffers: 24MB\n    work_mem: 7MB")
	m.Agent.Signal(syscall.SIGHUP)
	lab.Until(t, 20*time.Second, "the change in force", func() string {
		rows, err := lab.SQL(m.DSN(), "SELECT concat_ws(' ', current_setting('work_mem'), (SELECT count(*) FROM pg_hba_file_rules))")
		if err != nil || rows[0] != "7MB 4" {
			return fmt.Sprint(rows, err, m.Agent.Tail(6))
		}
		_, doc, err := m.Get("/patroni")
		if err != nil {
			return err.Error()
		}
		return lacks(doc, `"zone": "north"`, `"clonefrom": true`, `"pending_restart": true`,
			`"pending_restart_reason": {"shared_buffers": {"old_value": "16MB", "new_value": "24MB"}}`)
	})
	// Set back, nothing waits any more.
	m.Edit("shared_buffers: 24MB", "shared_buffers: 16MB")
	reload(t, m, 202)
	lab.Until(t, 20*time.Second, "no restart pending", func() string {
		_, doc, err := m.Get("/patroni")
		if err != nil || strings.Contains(doc, "pending_restart") {
			return fmt.Sprint(doc, err)
		}
		return ""
	})
}

// lacks says which of the words a text does not have.
func lacks(text string, words ...string) string {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return fmt.Sprintf("%q is not in\n%s", w, text)
		}
	}
	return ""
}

// wrongFile: a mistake beside right changes: none of them takes effect.
func wrongFile(t *testing.T, m *lab.Member) {
	t.Helper()
	good, err := os.ReadFile(m.File())
	if err != nil {
		t.Fatal(err)
	}
	m.Edit("work_mem: 7MB", "work_mem: 9MB", "zone: north", "zone: south, nosync: perhaps", "restapi:\n", "log: {level: loud}\nrestapi:\n")
	said := reload(t, m, 500)
	if problem := lacks(said, "nothing was reloaded", "member.yml:", `tags.nosync = "perhaps"`, `log.level = "loud"`); problem != "" {
		t.Error(problem)
	}
	// A certificate that does not exist is found only where it is read.
	if err := os.WriteFile(m.File(), good, 0o600); err != nil {
		t.Fatal(err)
	}
	m.Edit("work_mem: 7MB", "work_mem: 9MB", "zone: north", "zone: south", "restapi:\n", "restapi:\n  certfile: /nonexistent.pem\n")
	if problem := lacks(reload(t, m, 500), "nothing was reloaded", "restapi.certfile"); problem != "" {
		t.Error(problem)
	}
	if err := os.WriteFile(m.File(), good, 0o600); err != nil {
		t.Fatal(err)
	}
	reload(t, m, 202) // the server is told once more: what it has now is what was meant
	if got := lab.MustSQL(t, m.DSN(), "SHOW work_mem")[0]; got != "7MB" {
		t.Errorf("work_mem became %s", got)
	}
	if _, doc, _ := m.Get("/patroni"); !strings.Contains(doc, `"zone": "north"`) {
		t.Errorf("tags became %s", doc)
	}
}

// refusedRules: a line that the server cannot read leaves the former rules, in
// force and on disk.
func refusedRules(t *testing.T, m *lab.Member) {
	t.Helper()
	hba := filepath.Join(m.DataDir(), "pg_hba.conf")
	before, err := os.ReadFile(hba)
	if err != nil {
		t.Fatal(err)
	}
	at := m.Agent.Written()
	m.Edit("  - host all nobody 0.0.0.0/0 reject\n", "  - host all nobody 0.0.0.0/0 perhaps\n")
	reload(t, m, 202)
	lab.Until(t, 20*time.Second, "the refusal told", func() string {
		return lacks(m.Agent.Since(at), "the server refuses its new access rules", "pg_hba.conf: line 4", "perhaps")
	})
	if now, err := os.ReadFile(hba); err != nil || string(now) != string(before) || rules(t, m) != "4" {
		t.Errorf("pg_hba.conf became %s, %v", now, err)
	}
	if _, doc, err := m.Get("/journal"); err != nil || !strings.Contains(doc, "rules-refused") {
		t.Errorf("the journal does not have it: %v", err)
	}
	m.Edit("  - host all nobody 0.0.0.0/0 perhaps\n", "")
	reload(t, m, 202)
	lab.Until(t, 20*time.Second, "the corrected rules in force", func() string {
		if n := rules(t, m); n != "3" {
			return n
		}
		return ""
	})
}

// needsAgentRestart: what cannot change is named, and keeps its value.
func needsAgentRestart(t *testing.T, m *lab.Member) {
	t.Helper()
	at := m.Agent.Written()
	m.Edit("name: "+m.Name+"\n", "name: other\n", "scope: lab\n", "scope: elsewhere\n")
	reload(t, m, 202)
	lab.Until(t, 10*time.Second, "the warnings", func() string {
		return lacks(m.Agent.Since(at), "setting=name", "setting=scope", "member.yml:1:")
	})
	if _, doc, err := m.Get("/patroni"); err != nil || lacks(doc, `"name": "`+m.Name+`"`, `"scope": "lab"`) != "" {
		t.Errorf("%s, %v", doc, err)
	}
	m.Edit("name: other\n", "name: "+m.Name+"\n", "scope: elsewhere\n", "scope: lab\n")
	reload(t, m, 202)
}

// credentials: replication goes over to another role without a restart.
func credentials(t *testing.T, lead, replica *lab.Member) {
	t.Helper()
	lab.MustSQL(t, lead.DSN(), "CREATE ROLE copier REPLICATION LOGIN PASSWORD 'secret-copier'")
	lead.Edit("  - host replication replicator ", "  - host replication copier 0.0.0.0/0 scram-sha-256\n  - host replication replicator ")
	reload(t, lead, 202)
	replica.Edit("{username: replicator, password: secret-rep}", "{username: copier, password: secret-copier}")
	reload(t, replica, 202)
	lab.Until(t, 30*time.Second, "replication as the other role", func() string {
		rows, err := lab.SQL(lead.DSN(), "SELECT usename FROM pg_stat_replication WHERE state = 'streaming'")
		if err != nil || len(rows) != 1 || rows[0] != "copier" {
			return fmt.Sprint(rows, err, "\n", replica.Agent.Tail(8))
		}
		return ""
	})
	for _, name := range []string{"postgresql.conf", "postgresql.conf.backup"} {
		text, err := os.ReadFile(filepath.Join(replica.DataDir(), name))
		if err != nil || strings.Contains(string(text), "secret-") {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

// movedPort: the REST interface goes to another address of the same port, and
// the cluster learns where it can be reached.
func movedPort(t *testing.T, m *lab.Member) {
	t.Helper()
	m.Edit("listen: "+m.IP+":8008\n", "listen: '*:8008'\n")
	reload(t, m, 202)
	lab.Until(t, 10*time.Second, "the other address answering", func() string {
		_, _, err := m.Get("/patroni")
		return errText(err, lacks(m.Agent.Tail(20), "[::]:8008"))
	})
	l := m.Listen(9008)
	m.Edit("listen: '*:8008'\n", "listen: "+m.IP+":9008\n")
	if said := reload(t, m, 500); !strings.Contains(said, "restapi.listen") || !strings.Contains(said, "address already in use") {
		t.Error(said)
	}
	l.Close()
	m.Edit("listen: "+m.IP+":9008\n", "listen: "+m.IP+":8008\n")
	reload(t, m, 202)
}

func errText(err error, problem string) string {
	if err != nil {
		return err.Error()
	}
	return problem
}

// renewedCertificate: TLS is switched on, and a renewed certificate is used
// although the file that names it is the same.
func renewedCertificate(t *testing.T, m, other *lab.Member) {
	t.Helper()
	dir := filepath.Join(m.Dir(), "tls")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	certs := lab.MakeCerts(t, dir, []string{m.IP})
	m.Edit("restapi:\n", fmt.Sprintf("restapi:\n  certfile: %s\n  keyfile: %s\n", certs.Cert, certs.Key))
	reload(t, m, 202)
	first := untilServes(t, m, nil)
	lab.MakeCerts(t, dir, []string{m.IP})
	m.Agent.Signal(syscall.SIGHUP)
	untilServes(t, m, first)
	lab.Until(t, 10*time.Second, "the published address with https", func() string {
		_, doc, err := other.Get("/cluster")
		return errText(err, lacks(doc, "https://"+m.IP+":8008/patroni"))
	})
}

// untilServes waits until the port serves a certificate other than that of the
// number not, and returns its number.
func untilServes(t *testing.T, m *lab.Member, not *big.Int) *big.Int {
	t.Helper()
	var serial *big.Int
	lab.Until(t, 10*time.Second, "a new certificate", func() string {
		conn, err := tls.Dial("tcp", m.IP+":8008", &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		serial = conn.ConnectionState().PeerCertificates[0].SerialNumber
		if not != nil && serial.Cmp(not) == 0 {
			return "still the old one"
		}
		return ""
	})
	return serial
}
