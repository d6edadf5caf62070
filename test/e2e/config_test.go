package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestConfigRefused: a file with mistakes stops the start before anything was
// touched, and names all of them at once, each with its place and a remedy.
func TestConfigRefused(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Embedded, Members: 1})
	m := c.Members[0]
	good, err := os.ReadFile(m.File())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		name string
		edit []string
		says []string
	}{
		{"wrong values", []string{"ttl: 20", "ttl: soon", "use_slots: true", "use_slots: maybe", ":5432\n", ":postgres\n",
			"scope: lab", "scope: lab/one"},
			[]string{"member.yml:", "bootstrap.dcs.ttl = \"soon\": must be a whole number of seconds",
				"bootstrap.dcs.postgresql.use_slots = \"maybe\": must be on or off; write true or false",
				"postgresql.listen", "its port is not a number", "scope = \"lab/one\": must not contain a slash"}},
		{"promises not kept yet", []string{"    ttl: 20\n", "    ttl: 20\n    synchronous_mode_strict: true\n    synchronous_mode: quorum\n    standby_cluster: {host: 10.0.0.1}\n"},
			[]string{"bootstrap.dcs.synchronous_mode_strict", "bootstrap.dcs.synchronous_mode", "quorum", "bootstrap.dcs.standby_cluster"}},
		{"two stores", []string{"scope: lab\n", "scope: lab\nzookeeper: {hosts: ['10.0.0.1:2181']}\n"},
			[]string{"only one store may be configured", "zookeeper (", "embedded ("}},
		{"no programs", []string{"  data_dir: ", "  bin_dir: /nonexistent/bin\n  data_dir: "},
			[]string{"/nonexistent/bin", "postgresql.bin_dir", "install"}},
		{"not YAML", []string{"restapi:", "restapi: [\n"}, []string{"member.yml:"}},
	} {
		t.Run(k.name, func(t *testing.T) {
			if err := os.WriteFile(m.File(), good, 0o600); err != nil {
				t.Fatal(err)
			}
			m.Edit(k.edit...)
			says := refused(t, m)
			for _, want := range k.says {
				if !strings.Contains(says, want) {
					t.Errorf("the message does not say %q:\n%s", want, says)
				}
			}
			if _, err := os.Stat(m.DataDir()); !os.IsNotExist(err) {
				t.Errorf("the data directory was made (%v) by a start that was refused", err)
			}
		})
	}
}

// refused starts the agent, expects it to end with an error, and returns what
// it said.
func refused(t *testing.T, m *lab.Member) string {
	t.Helper()
	_ = os.Remove(filepath.Join(m.Dir(), "agent.log"))
	m.StartAgent()
	code, err := m.Agent.Wait(30 * time.Second)
	if err != nil || code == 0 {
		t.Fatalf("the agent ended with %d, %v: want an error\n%s", code, err, m.Agent.Tail(20))
	}
	return m.Agent.Tail(50)
}

// restarted starts the agent with an edited file and a new log.
func restarted(t *testing.T, m *lab.Member) {
	t.Helper()
	_ = os.Remove(filepath.Join(m.Dir(), "agent.log"))
	m.StartAgent()
}

// ended stops the agent in the clean way.
func ended(t *testing.T, m *lab.Member) {
	t.Helper()
	m.Agent.Signal(syscall.SIGTERM)
	if code, err := m.Agent.Wait(30 * time.Second); err != nil || code != 0 {
		t.Fatalf("the agent ended with %d, %v\n%s", code, err, m.Agent.Tail(20))
	}
}

// says waits until the agent's log has all the words while the agent runs on.
func says(t *testing.T, m *lab.Member, words ...string) {
	t.Helper()
	lab.Until(t, 30*time.Second, "the log to explain", func() string {
		if m.Agent.Ended() {
			t.Fatalf("the agent ended\n%s", m.Agent.Tail(20))
		}
		return missing(m.Agent, words...)
	})
}

// TestConfigStart: what only shows when the agent meets the machine: taken
// ports, missing stores, foreign, misowned and damaged data.
func TestConfigStart(t *testing.T) {
	t.Parallel()
	c := lab.NewCluster(t, lab.Options{Store: lab.Etcd, Members: 2})
	one, two := c.Members[0], c.Members[1]
	two.Edit("scope: lab\n", "scope: other\n")
	file := func(m *lab.Member) string {
		b, err := os.ReadFile(m.File())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	good := map[*lab.Member]string{one: file(one), two: file(two)}
	edit := func(t *testing.T, m *lab.Member, oldnew ...string) {
		t.Helper()
		if err := os.WriteFile(m.File(), []byte(good[m]), 0o600); err != nil {
			t.Fatal(err)
		}
		m.Edit(oldnew...)
	}

	t.Run("REST port taken", func(t *testing.T) {
		l := one.Listen(8008)
		if text := refused(t, one); !strings.Contains(text, "restapi.listen") || !strings.Contains(text, "address already in use") {
			t.Errorf("the message does not name the port:\n%s", text)
		}
		l.Close()
		empty(t, one)
	})
	t.Run("store away", func(t *testing.T) {
		c.StoreHost().Unplug()
		restarted(t, one)
		says(t, one, "waiting for the store", c.StoreAt)
		ended(t, one)
		empty(t, one)
		c.StoreHost().Plug()
	})
	t.Run("PostgreSQL's port taken", func(t *testing.T) {
		l := one.Listen(5432)
		restarted(t, one)
		says(t, one, "Address already in use")
		l.Close()
	})
	t.Run("killed while it makes the database", func(t *testing.T) {
		ended(t, one)
		restarted(t, one)
		says(t, one, "making the database of a new cluster")
		one.Agent.Signal(syscall.SIGKILL)
		if _, err := one.Agent.Wait(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		restarted(t, one)
		lab.Until(t, 60*time.Second, one.Name+" leading all the same", func() string {
			if _, err := lab.SQL(one.DSN(), "SELECT 1"); err != nil {
				return fmt.Sprint(err, "\n", one.Agent.Tail(10))
			}
			return ""
		})
	})
	// Stopped in the middle of making its database, a member leaves no claim
	// behind that would keep it from ever being made.
	ended(t, one)
	edit(t, one, "scope: lab\n", "scope: lab\nlogs: {level: info}\n")
	restarted(t, one)
	restarted(t, two)
	for _, m := range c.Members {
		lab.Until(t, 60*time.Second, m.Name+" leading its own cluster", func() string {
			if _, err := lab.SQL(m.DSN(), "CREATE TABLE IF NOT EXISTS whose AS SELECT '"+m.Name+"'::text AS name"); err != nil {
				return fmt.Sprint(err, "\n", c.Tails(10))
			}
			return ""
		})
	}
	t.Run("unknown key", func(t *testing.T) { says(t, one, "member.yml:", "logs: unknown setting", "did you mean log?") })

	t.Run("two of one name", func(t *testing.T) {
		ended(t, two)
		before := fingerprint(t, two)
		edit(t, two, "scope: other\n", "scope: lab\n", "name: n2\n", "name: n1\n")
		if text := refused(t, two); !strings.Contains(text, `a member named "n1"`) || !strings.Contains(text, one.IP+":8008") {
			t.Errorf("the message does not name the other:\n%s", text)
		}
		untouched(t, two, before)
	})
	t.Run("data of another cluster", func(t *testing.T) {
		before := fingerprint(t, two)
		edit(t, two, "scope: other\n", "scope: lab\n")
		if text := refused(t, two); !strings.Contains(text, "the data directory belongs to the database system") || !strings.Contains(text, "postgresql.data_dir") {
			t.Errorf("the message does not explain whose data these are:\n%s", text)
		}
		if two.Postmaster() != 0 {
			t.Error("PostgreSQL was started on the data of another cluster")
		}
		untouched(t, two, before)
		if rows := lab.MustSQL(t, one.DSN(), "SELECT name FROM whose"); rows[0] != "n1" {
			t.Errorf("the cluster has the rows of %s", rows[0])
		}
		edit(t, two)
	})
	t.Run("data directory of another owner", func(t *testing.T) {
		before := fingerprint(t, two)
		st, err := os.Stat(two.DataDir())
		if err != nil {
			t.Fatal(err)
		}
		own := st.Sys().(*syscall.Stat_t)
		if err := os.Chown(two.DataDir(), 0, 0); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(filepath.Join(two.Dir(), "agent.log"))
		two.StartAgent()
		lab.Until(t, 30*time.Second, "the owner named", func() string {
			return missing(two.Agent, "the data directory cannot be used", "chown -R postgres "+two.DataDir())
		})
		two.Agent.Signal(syscall.SIGTERM)
		_, _ = two.Agent.Wait(30 * time.Second)
		untouched(t, two, before)
		if err := os.Chown(two.DataDir(), int(own.Uid), int(own.Gid)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("data directory open to all", func(t *testing.T) {
		if err := os.Chmod(two.DataDir(), 0o777); err != nil {
			t.Fatal(err)
		}
		restarted(t, two)
		says(t, two, "has invalid permissions")
		if err := os.Chmod(two.DataDir(), 0o700); err != nil {
			t.Fatal(err)
		}
		leads(t, c, two, "n2")
		ended(t, two)
	})
	t.Run("PostgreSQL refuses a parameter", func(t *testing.T) {
		edit(t, two, "shared_buffers: 16MB", "shared_buffers: plenty")
		restarted(t, two)
		says(t, two, "shared_buffers", "plenty")
		two.Agent.Signal(syscall.SIGTERM)
		_, _ = two.Agent.Wait(30 * time.Second)
	})
	t.Run("PostgreSQL refuses pg_hba.conf", func(t *testing.T) {
		edit(t, two, "- local all all trust", "- local all all perhaps")
		restarted(t, two)
		says(t, two, "perhaps")
		two.Agent.Signal(syscall.SIGTERM)
		_, _ = two.Agent.Wait(30 * time.Second)
	})
	t.Run("corrected", func(t *testing.T) {
		edit(t, two)
		restarted(t, two)
		leads(t, c, two, "n2")
		ended(t, two)
	})
	ended(t, one)
}

// leads waits until the member leads with its own rows.
func leads(t *testing.T, c *lab.Cluster, m *lab.Member, rows string) {
	t.Helper()
	lab.Until(t, 60*time.Second, m.Name+" leading", func() string {
		got, err := lab.SQL(m.DSN(), "SELECT name FROM whose WHERE NOT pg_is_in_recovery()")
		if err != nil || len(got) != 1 || got[0] != rows {
			return fmt.Sprint(got, err, "\n", m.Agent.Tail(8))
		}
		return ""
	})
}

// empty: nothing was made where the database is to be.
func empty(t *testing.T, m *lab.Member) {
	t.Helper()
	if entries, err := os.ReadDir(m.DataDir()); err == nil && len(entries) > 0 {
		t.Errorf("%s holds %v", m.DataDir(), entries)
	}
}

// fingerprint is a sum over all names and contents of a data directory.
func fingerprint(t *testing.T, m *lab.Member) string {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(m.DataDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintln(sum, path)
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum.Write(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

func untouched(t *testing.T, m *lab.Member, before string) {
	t.Helper()
	if fingerprint(t, m) != before {
		t.Errorf("the data directory of %s was changed", m.Name)
	}
}
