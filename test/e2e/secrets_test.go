package e2e

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// secrets are distinctive texts for every place of a configuration that holds
// one, and what else must not be told.
var secrets = []string{"secret-super", "secret-rep", "secret-rewind", "secret-ssl", "secret-rest", "secret-store", "secret-conninfo", "secret-guess"}

// TestSecretsStaySecret: a cluster lives through all that makes it talk, at
// level DEBUG and with a server that logs every statement; no secret gets into
// an output, a file that others can read, or a command line.
func TestSecretsStaySecret(t *testing.T) {
	for _, kind := range []lab.StoreKind{lab.Etcd, lab.ZooKeeper} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			secretLife(t, kind)
		})
	}
}

func secretLife(t *testing.T, kind lab.StoreKind) {
	c := lab.NewCluster(t, lab.Options{Store: kind, Members: 2, Timing: [3]int{20, 1, 3},
		Member: func(i int) string {
			// One logs to a file, the other to standard error.
			dir := ""
			if i == 0 {
				dir = ", dir: log"
			}
			return "log: {level: DEBUG" + dir + "}\nmatriarch: {log_heartbeat: true}\nctl: {authentication: {username: admin, password: secret-rest}}\n"
		},
		PgParams: "    log_statement: all\n    log_min_duration_statement: 0\n    log_connections: \"on\"\n    log_parameter_max_length: -1\n",
	})
	withCredentials(t, c, kind)
	watch := watchCommandLines(t, c)
	c.StartAll()
	lead := c.WaitHealthy(60 * time.Second)
	other := c.Others(lead)[0]

	// People: what they send, and what they send wrongly.
	if code, body := sendAs(t, lead, "PATCH", "/config",
		`{"postgresql": {"recovery_conf": {"primary_conninfo": "host=nowhere password=secret-conninfo"}}}`, "secret-rest"); code != 200 {
		t.Fatalf("PATCH /config: %d %s", code, body)
	}
	for _, body := range []string{`{"password": "secret-conninfo"`, `{"ttl": "secret-conninfo"}`} {
		if code, _ := sendAs(t, lead, "PATCH", "/config", body, "secret-rest"); code == 200 {
			t.Fatalf("PATCH /config accepts %s", body)
		}
	}
	if code, _ := sendAs(t, lead, "POST", "/switchover", `{}`, "secret-guess"); code != 401 {
		t.Fatalf("a wrong password is answered with %d", code)
	}
	if code, body := sendAs(t, lead, "POST", "/switchover", `{"leader":"`+lead.Name+`"}`, "secret-rest"); code != 200 {
		t.Fatalf("switchover: %d %s", code, body)
	}
	c.WaitLeader(30*time.Second, lead)
	c.WaitHealthy(60 * time.Second)

	// Servers: one that crashes, and a standby that may not log in.
	lead, other = other, lead
	if _, err := lab.SQL(lead.SocketDSN(), "ALTER ROLE replicator PASSWORD 'another'"); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(other.Postmaster(), syscall.SIGQUIT)
	lab.Until(t, 60*time.Second, "a refused login in the standby's log", func() string {
		b, _ := os.ReadFile(filepath.Join(other.DataDir()+".matriarch", "postgres.log"))
		if !strings.Contains(string(b), "password authentication failed") {
			return "the standby may log in\n" + c.Tails(5)
		}
		return ""
	})
	if _, err := lab.SQL(lead.SocketDSN()+" options='-c log_statement=none -c log_min_duration_statement=-1'", "ALTER ROLE replicator PASSWORD 'secret-rep'"); err != nil {
		t.Fatal(err)
	}
	c.WaitHealthy(60 * time.Second)

	// A leader that loses its power and diverges: rewind, or a new copy.
	w := lab.StartWriter(t, c.DSN())
	w.WaitProgress(t, 20*time.Second)
	lead.PowerOff()
	c.WaitLeader(90*time.Second, lead)
	w.WaitProgress(t, 30*time.Second)
	w.Stop()
	lead.PowerOn()
	lead.StartAgent()
	c.WaitHealthy(90 * time.Second)

	// The store away and back, and the end.
	c.StoreHost().Unplug()
	lab.Until(t, 40*time.Second, "nobody leads without the store", func() string {
		if m := c.Leader(); m != nil {
			return m.Name + " leads"
		}
		return ""
	})
	c.StoreHost().Plug()
	c.WaitHealthy(90 * time.Second)
	for _, m := range c.Members {
		m.Agent.Signal(syscall.SIGTERM)
	}
	for _, m := range c.Members {
		if code, err := m.Agent.Wait(60 * time.Second); err != nil || code != 0 {
			t.Fatalf("%s ended with %d, %v", m.Name, code, err)
		}
	}

	for _, bad := range append(watch(), toldSecrets(t, c)...) {
		t.Error(bad)
	}
}

// withCredentials gives the store and the members' files theirs.
func withCredentials(t *testing.T, c *lab.Cluster, kind lab.StoreKind) {
	t.Helper()
	section, with := "etcd3:\n", "etcd3:\n  username: root\n  password: secret-store\n"
	if kind == lab.ZooKeeper {
		section, with = "zookeeper:\n", "zookeeper:\n  auth_data: {digest: 'admin:secret-store'}\n"
	} else {
		for _, args := range [][]string{{"user", "add", "root:secret-store"}, {"user", "grant-role", "root", "root"}, {"auth", "enable"}} {
			lab.Until(t, 30*time.Second, "etcdctl "+args[0], func() string {
				out, err := c.StoreHost().Run(append([]string{"env", "ETCDCTL_API=3", "etcdctl", "--endpoints", "http://" + c.StoreAt}, args...)...)
				if err != nil && !strings.Contains(out, "already exists") {
					return out + err.Error()
				}
				return ""
			})
		}
	}
	for _, m := range c.Members {
		m.Edit(section, with,
			"restapi:\n", "restapi:\n  authentication: {username: admin, password: secret-rest}\n",
			"password: secret-super}", "password: secret-super, sslpassword: secret-ssl}")
		if m.Index == 0 {
			m.Edit("dir: log", "dir: "+m.Dir()+"/log")
		}
	}
	entry := filepath.Join(c.Entry.Dir(), "entry.yml")
	b, err := os.ReadFile(entry)
	if err == nil {
		err = os.WriteFile(entry, []byte(strings.Replace(string(b), section, with, 1)+"log: {level: DEBUG}\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sendAs sends a request with a password.
func sendAs(t *testing.T, m *lab.Member, method, path, body, password string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+m.IP+":8008"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", password)
	resp, err := (&http.Client{Timeout: 40 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// watchCommandLines looks at every process of the cluster until the returned
// function is called, which says what was found.
func watchCommandLines(t *testing.T, c *lab.Cluster) func() []string {
	var mu sync.Mutex
	found := map[string]bool{}
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			default:
			}
			for _, s := range secrets {
				for _, m := range c.Members {
					for _, pid := range m.Find(s) {
						mu.Lock()
						found[fmt.Sprintf("%s is in the command line of a process of %s (pid %d)", s, m.Name, pid)] = true
						mu.Unlock()
					}
				}
			}
			time.Sleep(20 * time.Millisecond) // between two looks
		}
	}()
	stop := sync.OnceFunc(func() { close(end); <-done })
	t.Cleanup(stop)
	return func() []string {
		stop()
		var out []string
		for s := range found {
			out = append(out, s)
		}
		return out
	}
}

// toldSecrets looks into everything that was written: logs and journals must
// not hold a secret at all, other files only where others cannot read them.
func toldSecrets(t *testing.T, c *lab.Cluster) []string {
	t.Helper()
	var out []string
	logs := 0
	for _, h := range []*lab.Host{c.Members[0].Host, c.Members[1].Host, c.Entry} {
		err := filepath.WalkDir(h.Dir(), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			st, err := e.Info()
			if err != nil {
				return err
			}
			isLog := strings.Contains(path, ".log") || strings.Contains(path, "journal")
			if !isLog && st.Mode().Perm()&0o044 == 0 && !strings.Contains(path, ".matriarch/") {
				return nil
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if isLog && len(b) > 0 {
				logs++
			}
			for _, s := range secrets {
				if i := strings.Index(string(b), s); i >= 0 && !keptForLibpq(path, st) {
					out = append(out, fmt.Sprintf("%s holds %s: …%s…", path, s, b[max(0, i-200):min(len(b), i+100)]))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if logs < 6 { // two servers', two agents', two journals, and the entrypoint's
		out = append(out, fmt.Sprintf("only %d logs were found to look into", logs))
	}
	return out
}

// keptForLibpq: the password file in the state directory, which nobody else may
// read.
func keptForLibpq(path string, st fs.FileInfo) bool {
	return strings.Contains(filepath.Base(path), "pgpass") && st.Mode().Perm()&0o077 == 0
}
