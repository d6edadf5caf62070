package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// validMember is a file without a mistake, but for what a test breaks; the
// listener is a port that is taken.
func validMember(t *testing.T) (text string, taken net.Listener) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return fmt.Sprintf(`scope: demo
name: n1
etcd3: {hosts: '%s'}
restapi: {listen: '127.0.0.1:0', connect_address: '10.0.0.1:8008'}
postgresql:
  listen: 127.0.0.1:0
  connect_address: 10.0.0.1:5432
  data_dir: %s/data
  authentication: {superuser: {username: postgres}, replication: {username: repl}}
`, l.Addr(), t.TempDir()), l
}

func TestValidate(t *testing.T) {
	w := newWorld(t, demo())
	good, taken := validMember(t)
	r := w.exec("", "validate", memberFile(t, good))
	if r.code != 0 || !strings.Contains(r.out, "no mistake") {
		t.Fatalf("exit %d: %s%s", r.code, r.out, r.err)
	}
	for _, c := range []struct {
		name     string
		old, new string
		says     []string
	}{
		{"values", "name: n1\n", "name: a/b\ntags: {nosync: perhaps}\nlog: {level: loud}\n",
			[]string{"member.yml:2:7: name = \"a/b\": must not contain a slash", "tags.nosync", "log.level"}},
		{"places", "connect_address: '10.0.0.1:8008'", "connect_address: '127.0.0.1:8008'", []string{"restapi.connect_address", "others cannot connect"}},
		{"ranges", "name: n1\n", "name: n1\nbootstrap: {dcs: {ttl: 5, loop_wait: 0}}\n", []string{"bootstrap.dcs.ttl = \"5\": must be at least 20", "bootstrap.dcs.loop_wait"}},
		{"missing", "scope: demo\n", "", []string{"scope: is required"}},
		{"not filled in", "name: n1\n", "name: '#FIXME'\n", []string{"name = \"#FIXME\": is not filled in"}},
		{"port in use", "127.0.0.1:0\n", taken.Addr().String() + "\n", []string{"postgresql.listen = \"" + taken.Addr().String() + "\": the port is already in use"}},
		{"not our address", "listen: '127.0.0.1:0'", "listen: '192.0.2.77:0'", []string{"restapi.listen", "is not an address of this machine"}},
		{"no such name", "listen: '127.0.0.1:0'", "listen: 'no.such.name.invalid:0'", []string{"restapi.listen", "does not resolve"}},
		{"store away", "etcd3: {hosts: '", "etcd3: {hosts: '127.0.0.1:1,", []string{"etcd3.hosts = \"127.0.0.1:1\": accepts no connection"}},
		{"no programs", "  data_dir", "  bin_dir: /nonexistent\n  data_dir", []string{"postgresql.bin_dir = \"/nonexistent\": is not a directory"}},
		{"programs elsewhere", "  data_dir", "  bin_dir: /\n  data_dir", []string{"initdb was not found in /", "pg_basebackup was not found in /"}},
		{"not YAML", "name: n1\n", "name: [\n", []string{"member.yml:"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatal("nothing to replace")
			}
			r := w.exec("", "validate", memberFile(t, strings.Replace(good, c.old, c.new, 1)))
			if r.code != exitFailed {
				t.Errorf("exit %d", r.code)
			}
			for _, want := range c.says {
				if !strings.Contains(r.err, want) {
					t.Errorf("%q is not in\n%s", want, r.err)
				}
			}
		})
	}
	// While the member runs, its ports are taken.
	if r := w.exec("", "validate", "-i", memberFile(t, strings.Replace(good, "127.0.0.1:0\n", taken.Addr().String()+"\n", 1))); r.code != 0 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	if r := w.exec("", "validate", "-p", memberFile(t, strings.Replace(good, "username: repl", "username: repl, password: geheim", 1))); r.code != 0 ||
		!strings.Contains(r.out, "scope: demo") || strings.Contains(r.out, "geheim") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

// What is at the place of the data directory.
func TestValidateDataDir(t *testing.T) {
	w := newWorld(t, demo())
	good, _ := validMember(t)
	_, after, _ := strings.Cut(good, "data_dir: ")
	dir, _, _ := strings.Cut(after, "\n")
	check := func(code int, says string) {
		t.Helper()
		if r := w.exec("", "validate", memberFile(t, good)); r.code != code || !strings.Contains(r.err, says) {
			t.Errorf("exit %d, want %d saying %q: %s", r.code, code, says, r.err)
		}
	}
	touch := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	touch("lost+found/x", "")
	check(0, "")
	touch("notes.txt", "")
	check(exitFailed, "no PG_VERSION: it is not a database")
	touch("PG_VERSION", "9\n")
	touch("global/pg_control", "")
	touch("pg_wal/x", "")
	check(exitFailed, "belongs to PostgreSQL 9")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check(exitFailed, "is not a directory")
}
