package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The flags under which existing scripts check and write configurations.
func TestAgentModes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(args ...string) (code int, out, errOut string) {
		var o, e bytes.Buffer
		code = Main(t.Context(), args, nil, strings.NewReader(""), &o, &e)
		return code, o.String(), e.String()
	}
	good := `scope: s
name: n1
embedded: {listen_peer: '127.0.0.1:0', listen_client: '127.0.0.1:0'}
restapi: {listen: '127.0.0.1:0', connect_address: '10.0.0.1:8008'}
logs: {a: 1}
postgresql:
  listen: 127.0.0.1:0
  connect_address: 10.0.0.1:5432
  data_dir: ` + dir + `/data
  authentication: {superuser: {username: postgres, password: geheim}, replication: {username: repl}}
`
	for _, c := range []struct {
		name string
		args []string
		code int
		out  string // part of it; "" for nothing at all
		err  string
	}{
		{"right", []string{"matriarch", "agent", "--validate-config", write("good.yml", good)}, 0, "", ""},
		{"as patroni", []string{"/usr/bin/patroni", "--validate-config", "-p", write("good.yml", good)}, 0, "scope: s\n", ""},
		{"wrong", []string{"patroni", "--validate-config", write("bad.yml", strings.Replace(good, "name: n1", "name: a/b", 1))}, 1, "", "must not contain a slash"},
		{"missing", []string{"patroni", "--validate-config", dir + "/not.yml"}, 1, "", "no such file"},
		{"sample", []string{"matriarch", "agent", "--generate-sample-config"}, 0, "scope: main\n", ""},
		{"two at once", []string{"patroni", "--generate-config", "--validate-config"}, 2, "", "none of the others"},
		{"print alone", []string{"patroni", "-p"}, 1, "", "--validate-config"},
		{"dsn alone", []string{"patroni", "--dsn", "x"}, 1, "", "--generate-config"},
		{"version", []string{"patroni", "--version"}, 0, "matriarch " + Version, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errOut := run(c.args...)
			if code != c.code || !strings.Contains(out, c.out) || c.out == "" && out != "" || !strings.Contains(errOut, c.err) || c.err == "" && errOut != "" {
				t.Errorf("exit %d, want %d\n%s---\n%s", code, c.code, out, errOut)
			}
			if strings.Contains(out+errOut, "geheim") {
				t.Error("a password shows")
			}
		})
	}
}
