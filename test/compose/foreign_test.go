package compose

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// foreignClient is a client that is not ours: each connects to both nodes and
// through the entrypoint, writes a row there, reads it on both, and is refused on
// the replica.
type foreignClient struct {
	name string
	line func(p *project) []string
}

var foreignClients = []foreignClient{
	{"psycopg2", func(*project) []string { return []string{"/usr/bin/python3", "testdata/client2.py"} }},
	{"psycopg 3", func(*project) []string { return []string{"/usr/bin/python3", "testdata/client3.py"} }},
	{"JDBC", func(p *project) []string {
		// One source file, compiled as it is run.
		return []string{"java", "-cp", "/usr/share/java/postgresql.jar", "testdata/Client.java"}
	}},
	{"psql", func(*project) []string { return []string{"/bin/sh", "testdata/client.sh"} }},
}

// run gives the client the ports of the leader, the replica and the entrypoint,
// and returns its own words; it fails the test when the client was not content.
func (c foreignClient) run(p *project, lead string) string {
	p.t.Helper()
	line := c.line(p)
	for _, s := range []string{lead, other(lead), "entrypoint"} {
		line = append(line, strconv.Itoa(p.port[s]))
	}
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = filepath.Join(".")
	cmd.Env = append(cmd.Environ(), "PGPASSWORD=postgres")
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		p.t.Errorf("%s: %v\n%s", c.name, err, text)
	}
	return text
}
