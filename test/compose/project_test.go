package compose

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/internal/freeport"
	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// project is one run of the compose file.
type project struct {
	t    *testing.T
	name string
	dir  string // deploy/compose in a copy of the tree, so that its files may be changed
	// port is what each service is published at on this host.
	port  map[string]int
	env   []string
	began time.Time
}

// published are the host ports of the compose file, by the variable that moves
// each.
var published = map[string]string{
	"pg-master": "PG_MASTER_PORT", "pg-slave": "PG_SLAVE_PORT",
	"entrypoint": "ENTRYPOINT_PORT", "replicas": "ENTRYPOINT_REPLICAS_PORT", "stats": "ENTRYPOINT_STATS_PORT",
	"NODE1_PORT": "NODE1_PORT", "NODE2_PORT": "NODE2_PORT", "NODE3_PORT": "NODE3_PORT",
	"haproxy": "HAPROXY_PORT", "haproxy-stats": "HAPROXY_STATS_PORT",
}

// newProject copies the lab and chooses its ports. Nothing is started. At the
// end all that belongs to it is removed, its volumes too.
func newProject(t *testing.T, name string) *project {
	t.Helper()
	images(t)
	tree := readableDir(t)
	copyTree(t, tree)
	p := &project{t: t, name: "matriarch-test-" + name, dir: filepath.Join(tree, "deploy", "compose"), port: map[string]int{}, began: time.Now()}
	p.env = append(os.Environ(), "COMPOSE_PROJECT_NAME="+p.name, testImages)
	for _, what := range sorted(published) {
		port, err := freeport.Next()
		if err != nil {
			t.Fatal(err)
		}
		p.port[what] = port
		p.env = append(p.env, fmt.Sprintf("%s=%d", published[what], port))
	}
	p.try("down", "-v", "--remove-orphans")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last lines of the logs:\n%s", p.try("logs", "--no-color", "--tail=40"))
		}
		p.try("--profile", "haproxy", "--profile", "embedded", "--profile", "witness", "--profile", "tls", "down", "-v", "--remove-orphans", "-t", "30")
	})
	return p
}

// readableDir is a temporary directory that the containers' users can read.
func readableDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// compose is the command of this machine: the plugin, or the older program.
var compose = func() []string {
	if exec.Command("docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	return []string{"docker-compose"}
}()

// do runs a compose command and returns what it printed; it must succeed.
func (p *project) do(args ...string) string {
	p.t.Helper()
	out, err := p.run(slices.Concat(compose, args)...)
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", strings.Join(slices.Concat(compose, args), " "), err, out)
	}
	return out
}

// try is do for what may fail.
func (p *project) try(args ...string) string {
	out, err := p.run(slices.Concat(compose, args)...)
	if err != nil {
		out += "\n" + err.Error()
	}
	return out
}

// docker runs a docker command on the container of a service.
func (p *project) docker(verb, service string, args ...string) string {
	p.t.Helper()
	line := slices.Concat([]string{"docker", verb}, args, []string{p.container(service)})
	out, err := p.run(line...)
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", strings.Join(line, " "), err, out)
	}
	return out
}

// run gives one command ten minutes.
func (p *project) run(line ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir, cmd.Env = p.dir, p.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

// container is the name or number of a service's container.
func (p *project) container(service string) string {
	p.t.Helper()
	out, err := p.run("docker", "ps", "-a", "-q", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+p.name, "--filter", "label=com.docker.compose.service="+service)
	if err != nil || out == "" {
		p.t.Fatalf("no container of %s: %v %s", service, err, out)
	}
	return strings.Fields(out)[0]
}

// inside runs a command in the container of a service, as a reader would.
func (p *project) inside(service string, args ...string) (string, error) {
	return p.run(slices.Concat(compose, []string{"exec", "-T", service}, args)...)
}

// dsn connects as the lab's user to what is published for a service.
func (p *project) dsn(service string) string {
	return fmt.Sprintf("postgres://postgres:postgres@127.0.0.1:%d/postgres?connect_timeout=3&sslmode=prefer", p.port[service])
}

// sql must succeed on a service's published port.
func (p *project) sql(service, statement string) []string {
	p.t.Helper()
	return lab.MustSQL(p.t, p.dsn(service), statement)
}

// logs are what a service wrote since the project's start.
func (p *project) logs(service string) string {
	return p.try("logs", "--no-color", "--no-log-prefix", service)
}

// see says what was seen, on the test's log and in the transcript.
func (p *project) see(format string, args ...any) {
	p.t.Helper()
	text := fmt.Sprintf(format, args...)
	p.t.Log(text)
	path := os.Getenv("MATRIARCH_TRANSCRIPT")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		p.t.Error(err)
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%7.1f s  %s\n", time.Since(p.began).Seconds(), strings.ReplaceAll(text, "\n", "\n           "))
}
