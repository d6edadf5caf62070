package compose

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/internal/freeport"
	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// TestWhatAChangeNeeds holds the table of docs/lab.md to what happens: what a
// change of a member file, of the compose file and of the Dockerfile needs to
// take effect, and what is not enough.
func TestWhatAChangeNeeds(t *testing.T) {
	t.Parallel()
	p := newProject(t, "change")
	p.anyOrder()
	replica := other(p.waitHealthy(time.Minute, nodes...))

	t.Run("ports", func(t *testing.T) { p.with(t).publishedAndExposed() })
	t.Run("member file", func(t *testing.T) { p.with(t).memberFile(replica) })
	t.Run("compose file", func(t *testing.T) { p.with(t).composeFile(replica) })
	t.Run("Dockerfile", func(t *testing.T) { p.with(t).dockerfile() })
	t.Run("volumes", func(t *testing.T) { p.with(t).volumes() })
}

// anyOrder starts everything in the worst order: those that need something
// before what they need.
func (p *project) anyOrder() {
	p.t.Helper()
	for _, s := range []string{"entrypoint", "pg-slave", "pg-master"} {
		p.do("up", "-d", "--no-deps", s)
	}
	for _, s := range nodes { // each has looked for the store in vain
		lab.Until(p.t, time.Minute, s+" saying that there is no store", func() string {
			if text := p.logs(s); strings.Contains(text, "zookeeper") {
				return ""
			} else {
				return text
			}
		})
	}
	p.do("up", "-d", "--no-deps", "zookeeper")
	lead := p.waitHealthy(2*time.Minute, nodes...)
	p.readableLogs()
	p.see("started as entrypoint, pg-slave, pg-master, zookeeper: %s leads", lead)
}

// publishedAndExposed: PostgreSQL's port is reached from this host, the REST
// interface's only from another container.
func (p *project) publishedAndExposed() {
	for _, s := range nodes {
		if out := p.docker("port", s); !strings.Contains(out, "5432/tcp") || strings.Contains(out, "8008") {
			p.t.Errorf("published of %s: %s, want 5432 and not 8008", s, out)
		}
	}
	if out, err := p.inside("pg-master", "matriarch", "--api", "http://pg-slave:8008", "list"); err != nil {
		p.t.Errorf("8008 of pg-slave from pg-master: %v\n%s", err, out)
	}
	p.see("5432 of each node is published; 8008 is reached between containers only")
}

// edit replaces text in a file of the lab.
func (p *project) edit(name, from, to string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	if strings.Count(string(b), from) != 1 {
		p.t.Fatalf("%s has %q %d times, want once", name, from, strings.Count(string(b), from))
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), from, to, 1)), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

var memberFiles = map[string]string{"pg-master": "pg-master/postgres0.yml", "pg-slave": "pg-slave/postgres1.yml"}

// memberFile: `reload` is enough for most settings; those that PostgreSQL reads
// at its start are pending until a restart; what the agent reads at its own start
// needs the container's.
func (p *project) memberFile(node string) {
	setting := func(name string) string {
		rows, err := lab.SQL(p.dsn(node), "SHOW "+name)
		if err != nil {
			return err.Error()
		}
		return rows[0]
	}
	await := func(name, want string) {
		p.t.Helper()
		lab.Until(p.t, time.Minute, name+" being "+want, func() string {
			if got := setting(name); got != want {
				return got
			}
			return ""
		})
	}
	before := setting("shared_buffers")
	p.edit(memberFiles[node], "unix_socket_directories: '.'", "unix_socket_directories: '.'\n    work_mem: 7MB\n    shared_buffers: 40MB")
	if got := setting("work_mem"); got != "4MB" {
		p.t.Errorf("work_mem is %s before the reload", got)
	}
	p.mustInside(node, "matriarch", "reload", "--force")
	await("work_mem", "7MB")
	lab.Until(p.t, time.Minute, "a pending restart", func() string {
		if out, _ := p.inside(node, "matriarch", "list"); !strings.Contains(out, "*") {
			return out
		}
		return ""
	})
	if got := setting("shared_buffers"); got != before {
		p.t.Errorf("shared_buffers is %s before the restart, was %s", got, before)
	}
	p.mustInside(node, "matriarch", "restart", "--pending", "--force")
	await("shared_buffers", "40MB")
	p.see("member file of %s: work_mem after `reload`, shared_buffers after `restart`", node)

	// pgpass is where the agent writes the password for pg_basebackup and rewind.
	p.edit(memberFiles[node], "pgpass: /tmp/", "pgpass: /tmp/new-")
	newFile := func() bool {
		out, err := p.inside(node, "sh", "-c", "ls /tmp")
		return err == nil && strings.Contains(out, "new-")
	}
	p.mustInside(node, "matriarch", "reload", "--force")
	lab.Until(p.t, time.Minute, "the reload naming pgpass as what needs a restart", func() string {
		if text := p.logs(node); !strings.Contains(text, "postgresql.pgpass") {
			return "not named"
		}
		return ""
	})
	if newFile() {
		p.t.Error("a reload moved postgresql.pgpass, which docs/configuration.md says needs a restart of the agent")
	}
	p.docker("restart", node)
	p.waitHealthy(2*time.Minute, nodes...)
	if !newFile() {
		p.t.Error("postgresql.pgpass is not the new one after the container's restart")
	}
	p.see("member file of %s: pgpass, which the agent reads at its start, after `docker restart`, and `reload` named it in a warning", node)
}

func (p *project) mustInside(service string, args ...string) string {
	p.t.Helper()
	out, err := p.inside(service, args...)
	if err != nil {
		p.t.Fatalf("%s: %s: %v\n%s", service, strings.Join(args, " "), err, out)
	}
	return out
}

// composeFile: a restart takes nothing of it, `up` makes the container of the
// changed service anew and leaves the others alone.
func (p *project) composeFile(node string) {
	port, err := freeport.Next()
	if err != nil {
		p.t.Fatal(err)
	}
	variable := published[node]
	p.edit("compose.yaml", "${"+variable+":", fmt.Sprintf("%d:5432\", \"${%s:", port, variable))
	old, neighbour := p.container(node), p.container(other(node))
	p.do("restart", node)
	if out := p.docker("port", node); strings.Contains(out, fmt.Sprint(port)) {
		p.t.Errorf("a restart published the new port: %s", out)
	}
	p.do("up", "-d")
	if p.container(node) == old || p.container(other(node)) != neighbour {
		p.t.Errorf("up made anew: %s %v, %s %v; want the first alone", node, p.container(node) != old, other(node), p.container(other(node)) != neighbour)
	}
	p.waitHealthy(2*time.Minute, nodes...)
	lab.MustSQL(p.t, strings.Replace(p.dsn(node), fmt.Sprint(p.port[node]), fmt.Sprint(port), 1), "SELECT 1")
	p.see("compose file: a new port of %s after `up`, not after `restart`; no other container was made anew", node)
}

// dockerfile: `up` goes on with the image that exists; `build`, then `up`, takes
// the change.
func (p *project) dockerfile() {
	label := func() string {
		return p.docker("inspect", "pg-master", "--format", `{{index .Config.Labels "lab.changed"}}`)
	}
	p.edit("Dockerfile", "\nUSER postgres\n", "\nLABEL lab.changed=yes\nUSER postgres\n")
	image := p.docker("inspect", "pg-master", "--format", "{{.Image}}")
	p.do("up", "-d")
	if label() == "yes" {
		p.t.Error("up built the image anew")
	}
	p.do("build", "pg-master")
	p.t.Cleanup(func() { // the name is the lab's: it must mean the unchanged image again
		if out, err := p.run("docker", "tag", image, p.docker("inspect", "pg-master", "--format", "{{.Config.Image}}")); err != nil {
			p.t.Errorf("%v: %s", err, out)
		}
	})
	if label() == "yes" {
		p.t.Error("build changed a running container")
	}
	p.do("up", "-d")
	p.waitHealthy(2*time.Minute, nodes...)
	if label() != "yes" {
		p.t.Error("up after build still runs the old image")
	}
	p.see("Dockerfile: a new label after `build` and `up`, not after either alone")
}

// volumes: `down` keeps the data, `down -v` does not.
func (p *project) volumes() {
	lead := p.waitHealthy(time.Minute, nodes...)
	p.sql(lead, "CREATE TABLE kept AS SELECT 1 AS id")
	p.waitRows(other(lead), "kept", 1)
	p.do("down")
	p.do("up", "-d")
	lead = p.waitHealthy(2*time.Minute, nodes...)
	p.waitRows(lead, "kept", 1)
	p.do("down", "-v")
	p.do("up", "-d")
	lead = p.waitHealthy(2*time.Minute, nodes...)
	if rows := p.sql(lead, "SELECT coalesce(to_regclass('kept')::text, 'gone')"); rows[0] != "gone" {
		p.t.Errorf("after down -v the table is %s", rows[0])
	}
	p.see("down and up: the data are there; down -v and up: a new cluster")
}
