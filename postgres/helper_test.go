package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/internal/freeport"
	"github.com/matriarch-ha/matriarch/postgres/probe"
	"github.com/matriarch-ha/matriarch/postgres/runas"
)

const (
	superPass = "s3cret: \\'super"
	replPass  = "r3pl:secret"
	rwPass    = "rew1nd secret"
)

// lab is a directory for several servers, traversable by the server's user.
type lab struct {
	t     *testing.T
	dir   string
	heard func(line []byte) // of the logs of the servers that are made from then on
}

func newLab(t *testing.T) *lab {
	t.Helper()
	dir, err := os.MkdirTemp("", "mtr-pg-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	user, err := runas.For(filepath.Join(dir, "none"))
	must(t, err)
	must(t, user.Chown(dir))
	return &lab{t: t, dir: dir}
}

// testCtx ends only what would never end: a checkpoint takes minutes on a busy disk.
func testCtx(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := freeport.Next()
	must(t, err)
	return port
}

var testHBA = []string{
	"host replication replicator 127.0.0.1/32 scram-sha-256",
	"host all all 127.0.0.1/32 scram-sha-256",
}

func testConfig(dir string) Config {
	return Config{
		Parameters: []Param{
			{Name: "unix_socket_directories", Value: dir}, {Name: "fsync", Value: "off"}, {Name: "shared_buffers", Value: "16MB"},
			{Name: "log_statement", Value: "all"}, {Name: "wal_retrieve_retry_interval", Value: "100ms"}, {Name: "wal_keep_size", Value: "128MB"},
		},
		Controlled: []Param{
			{Name: "wal_level", Value: "replica"}, {Name: "hot_standby", Value: "on"}, {Name: "max_connections", Value: "50"},
			{Name: "max_wal_senders", Value: "8"}, {Name: "max_prepared_transactions", Value: "0"}, {Name: "max_locks_per_transaction", Value: "64"},
			{Name: "track_commit_timestamp", Value: "off"}, {Name: "max_replication_slots", Value: "8"}, {Name: "max_worker_processes", Value: "8"},
			{Name: "wal_log_hints", Value: "on"},
		},
		HBA: testHBA, BaseBackup: []Option{{Name: "no-sync"}}, // a busy disk is not what is tested
	}
}

// server makes a handle whose server is stopped when the test ends.
func (l *lab) server(name string) *Server {
	l.t.Helper()
	s, err := New(l.options(name, freePort(l.t)))
	if err != nil {
		l.t.Fatal(err)
	}
	s.SetConfig(testConfig(l.dir))
	l.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if p := s.process(); p != nil {
			_ = s.kill(ctx, p)
		}
		s.Close()
		if l.t.Failed() {
			l.t.Logf("log of %s:\n%s", name, strings.ReplaceAll(lastLines(tail(s.opt.ServerLog, 0), 40), "; ", "\n"))
		}
	})
	return s
}

func (l *lab) options(name string, port int) Options {
	opt := testOptions(l.dir, name, port)
	opt.Logger = slog.New(slog.NewTextHandler(testWriter{l.t, l.heard}, nil))
	return opt
}

func testOptions(dir, name string, port int) Options {
	return Options{
		Name: name, Scope: "lab", DataDir: filepath.Join(dir, name, "data"), ListenHosts: []string{"127.0.0.1"}, Port: port,
		Roles: Roles{Superuser: Credentials{Username: "postgres", Password: superPass},
			Replication: Credentials{Username: "replicator", Password: replPass},
			Rewind:      Credentials{Username: "rewinder", Password: rwPass}},
	}
}

// testWriter writes a server's log into the test's; heard, if any, is told each line.
type testWriter struct {
	t     *testing.T
	heard func([]byte)
}

func (w testWriter) Write(b []byte) (int, error) {
	if w.heard != nil {
		w.heard(b)
	}
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// template is a bootstrapped, stopped data directory that tests copy, so that
// only the tests about bootstrapping wait for initdb.
var template struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if template.dir != "" {
		os.RemoveAll(template.dir)
	}
	os.Exit(code)
}

func makeTemplate(ctx context.Context) {
	t := &template
	if t.dir, t.err = os.MkdirTemp("", "mtr-pg-template-"); t.err != nil {
		return
	}
	user, err := runas.For(filepath.Join(t.dir, "none"))
	if t.err = errors.Join(err, user.Chown(t.dir), os.Chmod(t.dir, 0o755)); t.err != nil {
		return
	}
	port, err := freeport.Next()
	if t.err = err; err != nil {
		return
	}
	opt := testOptions(t.dir, "template", port)
	opt.DataDir = filepath.Join(t.dir, "data")
	s, err := New(opt)
	if t.err = err; err != nil {
		return
	}
	defer s.Close()
	cfg := testConfig(t.dir)
	s.SetConfig(cfg)
	t.err = s.Bootstrap(ctx, BootstrapOptions{InitDB: []Option{{Name: "data-checksums"}, {Name: "encoding", Value: "UTF8"}, {Name: "wal-segsize", Value: "1"}}})
	if t.err == nil {
		t.err = s.AcceptBootstrap()
	}
}

// primary starts a new cluster.
func (l *lab) primary(ctx context.Context, name string) *Server {
	l.t.Helper()
	template.once.Do(func() { makeTemplate(ctx) })
	must(l.t, template.err)
	s := l.server(name)
	must(l.t, s.user.MkdirAll(filepath.Dir(s.opt.DataDir), 0o755))
	out, err := exec.Command("cp", "-a", filepath.Join(template.dir, "data"), s.opt.DataDir).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	must(l.t, s.StartPrimary(ctx, 0))
	return s
}

// replica clones a server and starts the copy as its standby.
func (l *lab) replica(ctx context.Context, name string, of *Server) *Server {
	l.t.Helper()
	s := l.server(name)
	must(l.t, s.Clone(ctx, of.source(), nil))
	must(l.t, s.StartStandby(ctx, of.upstream(), true))
	l.caughtUp(ctx, s, of)
	return s
}

func (s *Server) source() Source {
	return Source{Name: s.opt.Name, Host: "127.0.0.1", Port: fmt.Sprint(s.opt.Port)}
}

func (s *Server) upstream() *Upstream {
	return &Upstream{Name: s.opt.Name, Host: "127.0.0.1", Port: fmt.Sprint(s.opt.Port)}
}

// caughtUp waits until a standby streams and has replayed all of its primary.
func (l *lab) caughtUp(ctx context.Context, s, primary *Server) {
	l.t.Helper()
	var f Facts
	target := primary.Observe(ctx).Flushed
	err := poll(ctx, 20*time.Millisecond, "the standby to catch up", func() (bool, error) {
		f = s.Observe(ctx)
		return f.Receiver.Status == "streaming" && f.Replayed >= target, nil
	})
	if err != nil {
		l.t.Fatalf("%v: %+v", err, f)
	}
}

// sql runs a statement as superuser and returns its first value.
func (s *Server) sql(t *testing.T, ctx context.Context, text string) string {
	t.Helper()
	c, err := s.session(ctx)
	must(t, err)
	defer c.Close()
	must(t, c.Exec(ctx, "SET search_path = public"))
	rows, err := c.Query(ctx, text)
	if err != nil {
		t.Fatalf("%s: %s", text, probe.Message(err))
	}
	if len(rows) == 0 || len(rows[0]) == 0 {
		return ""
	}
	return rows[0][0]
}

// crash kills every process of a server.
func (s *Server) crash(t *testing.T, ctx context.Context) {
	t.Helper()
	p := s.process()
	if p == nil {
		t.Fatal("nothing to crash")
	}
	must(t, s.kill(ctx, p))
	must(t, p.Wait(ctx))
}

func freeze(pid int) error { return syscall.Kill(pid, syscall.SIGSTOP) }
func thaw(pid int)         { _ = syscall.Kill(pid, syscall.SIGCONT) }

// restart stops the server and starts it again in the role it had.
func restart(ctx context.Context, s *Server) error {
	standby := exists(s.standbySignal())
	if _, err := s.Stop(ctx, StopFast, StopOptions{EndArchiver: true}); err != nil {
		return err
	}
	if !standby {
		return s.StartPrimary(ctx, 30*time.Second)
	}
	s.task.Lock()
	defer s.task.Unlock()
	p, err := s.launch(ctx, true)
	if err != nil {
		return err
	}
	return s.waitReady(ctx, p, s.startTimeout())
}

// record lets a server log into memory and returns what was logged.
func record(s *Server) (said func() string) {
	w := &lockedLog{}
	s.log = slog.New(slog.NewTextHandler(w, nil))
	return w.String
}

type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// hangArchiver lets the archive commands of a server hang until the returned
// function is called, or the lab is removed: none outlives the test.
func (l *lab) hangArchiver(s *Server) (release func()) {
	l.t.Helper()
	hang := filepath.Join(l.dir, "hang-"+s.opt.Name)
	must(l.t, os.WriteFile(hang, nil, 0o644))
	cfg := testConfig(l.dir)
	cfg.Parameters = append(cfg.Parameters, Param{Name: "archive_mode", Value: "on"},
		Param{Name: "archive_command", Value: "while [ -e " + hang + " ]; do sleep 0.05; done"})
	s.SetConfig(cfg)
	return func() { must(l.t, os.Remove(hang)) }
}

// twoBranches are two servers that were promoted to one number at one point, after
// the last record of the primary that both had followed.
func (l *lab) twoBranches(ctx context.Context) (b, c *Server, pb, pc Promotion) {
	l.t.Helper()
	a := l.primary(ctx, "a")
	b, c = l.replica(ctx, "b", a), l.replica(ctx, "c", a)
	_, err := a.Stop(ctx, StopFast, StopOptions{Keep: []string{"b", "c"}})
	must(l.t, err)
	pb, err = b.Promote(ctx, 2)
	must(l.t, err)
	pc, err = c.Promote(ctx, 2)
	must(l.t, err)
	return b, c, pb, pc
}
