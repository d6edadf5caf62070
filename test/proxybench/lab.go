package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lab is what runs.
type lab struct {
	dir   string
	port  int // PostgreSQL's; the others' follow
	procs []*exec.Cmd
	all   []target
}

// target is an address that leads to the server.
type target struct {
	name string
	port int
	pid  int // 0: the server itself
}

// The ports, counted from the first.
const (
	portREST = iota + 1
	portStore
	portPeer
	portHAProxy
	portPgBouncer
	portEntry // of the first engine; the next have the next
)

// engines are the entrypoint's ways to forward.
var engines = []string{"events", "goroutines"}

func startLab(ctx context.Context, port, connections int) (*lab, error) {
	dir, err := os.MkdirTemp("", "proxybench-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, port: port, all: []target{{name: "direct", port: port}}}
	if err := l.startAll(ctx, connections); err != nil {
		l.stop()
		return nil, err
	}
	return l, nil
}

func (l *lab) startAll(ctx context.Context, connections int) error {
	if err := os.Chmod(l.dir, 0o755); err != nil { // the server is another user's
		return err
	}
	for offset := range portEntry + len(engines) {
		ln, err := net.Listen("tcp", l.address(offset))
		if err != nil {
			return fmt.Errorf("%w (give another -base-port, or stop what listens there)", err)
		}
		ln.Close()
	}
	for _, start := range []func(context.Context, int) error{l.server, l.haproxy, l.pgbouncer} {
		if err := start(ctx, connections); err != nil {
			return err
		}
	}
	for i, e := range engines {
		if err := l.entrypoint(ctx, e, l.port+portEntry+i); err != nil {
			return err
		}
	}
	return nil
}

// targets are those of the names, all of none.
func (l *lab) targets(names []string) []target {
	if len(names) == 0 {
		return l.all
	}
	return slices.DeleteFunc(slices.Clone(l.all), func(t target) bool {
		return t.name != "haproxy" && !slices.Contains(names, t.name)
	})
}

func (l *lab) stop() {
	for _, p := range slices.Backward(l.procs) {
		_ = p.Process.Signal(os.Interrupt)
		done := make(chan struct{})
		go func() { _ = p.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			_ = p.Process.Kill()
			<-done
		}
	}
	_ = os.RemoveAll(l.dir)
}

func (l *lab) file(name, text string) (string, error) {
	path := filepath.Join(l.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// start runs a program until the end of the lab, and waits until its port answers.
func (l *lab) start(ctx context.Context, t target, argv ...string) error {
	log, err := os.Create(filepath.Join(l.dir, t.name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	l.procs = append(l.procs, cmd)
	t.pid = cmd.Process.Pid
	if t.name != "agent" {
		l.all = append(l.all, t)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, err := l.client(ctx, "psql", t.port, "-XAtc", "select 1").CombinedOutput()
		if err == nil && l.leads() {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%s does not serve at port %d: %s\n%s", t.name, t.port, bytes.TrimSpace(out), text)
		}
	}
}

// leads: the member is the primary, and not only makes its database.
func (l *lab) leads() bool {
	resp, err := http.Get("http://" + l.address(portREST) + "/primary")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (l *lab) client(ctx context.Context, program string, port int, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, program, append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "postgres", "-d", "postgres"}, args...)...)
}

func (l *lab) address(offset int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.port+offset))
}

func (l *lab) server(ctx context.Context, connections int) error {
	y, err := l.file("member.yml", fmt.Sprintf(`scope: proxybench
name: one
restapi: {listen: %q}
embedded:
  listen_peer: %q
  listen_client: %q
  advertise: %q
  partners: [{name: one, peer: %q, client: %q}]
bootstrap:
  dcs: {postgresql: {parameters: {max_connections: %d}}}
  initdb: [{auth: trust}]
postgresql:
  listen: %q
  data_dir: %q
  authentication: {superuser: {username: postgres}, replication: {username: replicator, password: none}}
  parameters: {unix_socket_directories: '', shared_buffers: 256MB, fsync: 'off'}
  pg_hba: [host all all 127.0.0.1/32 trust]
`, l.address(portREST), l.address(portPeer), l.address(portStore), l.address(portPeer), l.address(portPeer), l.address(portStore),
		connections, l.address(0), filepath.Join(l.dir, "data")))
	if err != nil {
		return err
	}
	if err := l.start(ctx, target{name: "agent", port: l.port}, binary(), "agent", y); err != nil {
		return err
	}
	out, err := l.client(ctx, "pgbench", l.port, "-i", "-q", "-s", "5").CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgbench -i: %w\n%s", err, out)
	}
	return nil
}

func binary() string { return cmp.Or(os.Getenv("MATRIARCH"), "bin/matriarch") }

func (l *lab) entrypoint(ctx context.Context, engine string, port int) error {
	y, err := l.file(engine+".yml", fmt.Sprintf(`scope: proxybench
embedded: {partners: [{name: one, peer: %q, client: %q}]}
proxy: {listen: "127.0.0.1:%d", listen_replicas: false, stats: false, engine: %s}
`, l.address(portPeer), l.address(portStore), port, engine))
	if err != nil {
		return err
	}
	return l.start(ctx, target{name: engine, port: port}, binary(), "proxy", y)
}

func (l *lab) haproxy(ctx context.Context, connections int) error {
	c, err := l.file("haproxy.cfg", fmt.Sprintf(`global
    maxconn %d
defaults
    mode tcp
    timeout client 30m
    timeout server 30m
    timeout connect 4s
listen postgres
    bind %s
    server one %s maxconn %d check
`, connections+100, l.address(portHAProxy), l.address(0), connections))
	if err != nil {
		return err
	}
	return l.start(ctx, target{name: "haproxy", port: l.port + portHAProxy}, "haproxy", "-db", "-f", c)
}

// pgbouncer is compared where it is installed. It gives each session its server, as
// the others do.
func (l *lab) pgbouncer(ctx context.Context, connections int) error {
	path, err := exec.LookPath("pgbouncer")
	if errors.Is(err, exec.ErrNotFound) {
		fmt.Fprintln(os.Stderr, "pgbouncer is not installed and left out (apt-get install pgbouncer)")
		return nil
	}
	c, err := l.file("pgbouncer.ini", fmt.Sprintf(`[databases]
postgres = host=127.0.0.1 port=%d user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = session
max_client_conn = %d
default_pool_size = %d
`, l.port, l.port+portPgBouncer, connections+100, connections))
	if err != nil {
		return err
	}
	argv := []string{path, "-q", c}
	if os.Getuid() == 0 {
		argv = []string{path, "-q", "-u", "postgres", c}
	}
	return l.start(ctx, target{name: "pgbouncer", port: l.port + portPgBouncer}, argv...)
}

var tpsLine = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)

// pgbench is transactions per second, connections included where each has its own.
func (l *lab) pgbench(ctx context.Context, port int, mode string, clients int, d time.Duration) (float64, error) {
	args := []string{"-n", "-S", "-T", strconv.Itoa(int(d.Seconds())), "-c", strconv.Itoa(clients), "-j", strconv.Itoa(min(clients, 2))}
	switch mode {
	case "connect":
		args = append(args, "-C")
	case "simple", "prepared":
		args = append(args, "-M", mode)
	default:
		return 0, fmt.Errorf("mode %q: want prepared, simple or connect", mode)
	}
	out, err := l.client(ctx, "pgbench", port, args...).CombinedOutput()
	m := tpsLine.FindSubmatch(out)
	if err != nil || m == nil {
		return 0, errors.Join(err, errors.New(strings.TrimSpace(string(out))))
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}
