package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// memberFile writes a member's file and returns its path.
func memberFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "member.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const memberText = `scope: lab
name: n1
etcd3: {hosts: '127.0.0.1:1'}
restapi: {authentication: {username: u, password: geheim}}
postgresql:
  data_dir: /var/lib/postgresql/15/main/with/a/name/that/is/longer/than/any/column
  parameters: {max_connections: 7, work_mem: 8MB}
tags: {nosync: true}
`

func TestConfigShow(t *testing.T) {
	w := newWorld(t, demo())
	path := memberFile(t, memberText)
	w.opts.Env = append(w.opts.Env, "PATRONI_POSTGRESQL_CONNECT_ADDRESS=10.0.0.9:5432")
	const long = "/var/lib/postgresql/15/main/with/a/name/that/is/longer/than/any/column"
	for name, args := range map[string][]string{"with origin": {"--origin", path}, "without": {path}} {
		piped := w.run("", append([]string{"config", "show"}, args...)...)
		if !strings.Contains(piped.out, "\npostgresql.data_dir                      "+long) || strings.Contains(piped.out, "\n ") {
			t.Errorf("in a pipe, %s: a setting is not one line:\n%s", name, piped.out)
		}
	}
	w.opts.Screen = &Screen{Columns: 80, Lines: 24}
	r := w.run("", "config", "show", "--origin", path)
	if r.code != 0 || r.err != "" {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	lines := strings.Split(r.out, "\n")
	for _, l := range lines {
		if len(l) > 80 || strings.Contains(l, "geheim") {
			t.Errorf("line %q", l)
		}
	}
	for _, want := range []string{
		"ttl                                      30                   dynamic",
		"retry_timeout                            10s                  default",
		"tags.nosync                              true                 member.yml:8",
		"postgresql.parameters.work_mem           8MB                  member.yml:7",
		"postgresql.parameters.max_connections    200                  dynamic",
		"postgresql.connect_address               10.0.0.9:5432        env",
		"restapi.authentication.password          ***                  member.yml:4",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is missing in\n%s", want, r.out)
		}
	}
	r = w.run("", "-c", path, "config", "show", "--origin", "-f", "json")
	doc, err := pyjson.Parse([]byte(strings.TrimSpace(r.out)))
	rows, ok := doc.([]any)
	if err != nil || !ok || len(rows) < 30 || !strings.Contains(r.out, `"origin": "`+path+`:8:16"`) || strings.Contains(r.out, "geheim") {
		t.Errorf("%v, %s", err, r.out)
	}
	if r = w.run("", "config", "show", path); strings.Contains(r.out, "dynamic") || !strings.Contains(r.out, "tags.nosync") {
		t.Errorf("without --origin:\n%s", r.out)
	}

	// Nobody answers: the file's part is shown, and that it is only that.
	r = w.exec("", "--api", "http://127.0.0.1:1", "config", "show", "--origin", path)
	if r.code != 0 || !strings.Contains(r.err, "the dynamic configuration is not known") || strings.Contains(r.out, "\nttl ") || !strings.Contains(r.out, "work_mem") {
		t.Errorf("exit %d: %s\n%s", r.code, r.err, r.out)
	}
	w.run("", "config", "show", "--role", "king", path).contains(t, exitUsage, "primary, replica, standby_leader")
	w.run("", "config", "show", path+".not").contains(t, 1, "no such file")
}

func TestWrap(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("x", 95), "a.b.c.d." + strings.Repeat("long_words.", 9), "ä" + strings.Repeat("ö", 60)} {
		pieces := wrap(text, 20)
		if strings.Join(pieces, "") != text {
			t.Errorf("%q became %q", text, pieces)
		}
		for _, p := range pieces {
			if len([]rune(p)) > 20 {
				t.Errorf("%q is too long", p)
			}
		}
	}
}
