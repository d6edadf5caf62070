package guard

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/matriarch-ha/matriarch/internal/clock"
)

// The test binary is also the guard, and the agent that starts one.
const (
	envGuard  = "TEST_GUARD_DATA_DIR"
	envPort   = "TEST_GUARD_PORT"
	envKernel = "TEST_GUARD_KERNEL_FENCE"
	envAgent  = "TEST_AGENT_DATA_DIR"
	envHand   = "TEST_GUARD_HANDOVER" // grace, clean stop, socket
	envHelper = "TEST_GUARD_HELPER"   // where a helper writes what it was given
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(envGuard) != "":
		port, _ := strconv.ParseUint(os.Getenv(envPort), 10, 16)
		d := Duty{DataDir: os.Getenv(envGuard), Port: uint16(port), KernelFence: KernelFence(os.Getenv(envKernel))}
		var p Program
		if text := os.Getenv(envHand); text != "" {
			f := strings.SplitN(text, " ", 3)
			d.Grace, _ = time.ParseDuration(f[0])
			d.CleanStop, _ = time.ParseDuration(f[1])
			d.Handover = f[2]
		}
		if dir := os.Getenv(envHelper); dir != "" {
			p = Program{Version: "test", Helper: []string{"release"}, Env: []string{envHelper + "=" + dir}}
		}
		if err := Main(d, p); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv(envAgent) != "":
		os.Exit(agentMain(os.Getenv(envAgent)))
	}
	if dir := os.Getenv(envHelper); dir != "" {
		os.Exit(helperMain(dir))
	}
	if claim, listen := os.Getenv("TEST_CLAIM"), os.Getenv("TEST_LISTEN"); claim+listen != "" {
		os.Exit(strangerMain(claim, listen))
	}
	code := m.Run()
	if dir := template.dir; dir != "" {
		_ = os.RemoveAll(filepath.Dir(dir))
	}
	os.Exit(code)
}

const binDir = "/usr/lib/postgresql/15/bin"

// owner returns the identity that PostgreSQL runs under.
func credential(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func command(t testing.TB, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t), Setsid: true}
	return cmd
}

// template is one initialised data directory that all servers are copied from.
var template struct {
	sync.Once
	dir string
}

func templateDir(t testing.TB) string {
	template.Do(func() {
		root, err := os.MkdirTemp("", "guard-test-")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(root, 0o777); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(root, "data")
		cmd := command(t, binDir+"/initdb", "-D", dir, "-U", "postgres", "-A", "trust", "-N", "--locale=C")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("initdb: %v\n%s", err, out)
		}
		template.dir = dir
	})
	if template.dir == "" {
		t.Fatal("no template: initdb failed before")
	}
	return template.dir
}

// server is a running PostgreSQL that listens on a Unix socket only, unless its
// arguments say otherwise.
type server struct {
	args []string
	t    testing.TB
	dir  string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	root, err := os.MkdirTemp("", "guard-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	if err := os.Chmod(root, 0o777); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, args: args, dir: filepath.Join(root, "data"), log: filepath.Join(root, "log")}
	if out, err := exec.Command("cp", "-a", templateDir(t), s.dir).CombinedOutput(); err != nil {
		t.Fatalf("copy template: %v\n%s", err, out)
	}
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	args := append([]string{"-D", s.dir, "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off"}, s.args...)
	s.cmd = command(s.t, binDir+"/postgres", args...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	s.done = done
	cmd := s.cmd
	go func() { _ = cmd.Wait(); close(done) }()
	s.t.Cleanup(func() {
		if _, err := Kill(context.Background(), s.dir, clock.Real{}); err != nil {
			s.t.Error(err)
		}
		<-done
	})
	s.connect().Close(context.Background())
}

func (s *server) pid() int { return s.cmd.Process.Pid }

func (s *server) dsn() string { return "host=" + s.dir + " user=postgres dbname=postgres" }

// connect connects, for as long as the server is starting.
func (s *server) connect() *pgx.Conn {
	s.t.Helper()
	for {
		conn, err := pgx.Connect(context.Background(), s.dsn())
		if err == nil {
			return conn
		}
		select {
		case <-s.done:
			text, _ := os.ReadFile(s.log)
			s.t.Fatalf("server ended: %v\n%s", err, text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// backend returns a connection and the pid that serves it.
func (s *server) backend() (*pgx.Conn, int) {
	s.t.Helper()
	conn := s.connect()
	return conn, int(conn.PgConn().PID())
}

// mustBeFenced checks the state after a fence, from outside.
func (s *server) mustBeFenced() {
	s.t.Helper()
	if pids, err := Alive(s.dir); err != nil || len(pids) != 0 {
		s.t.Errorf("processes that can still run: %v, %v", pids, err)
	}
	if conn, err := pgx.Connect(context.Background(), s.dsn()); err == nil {
		conn.Close(context.Background())
		s.t.Error("the server still accepts connections")
	}
	s.mustHaveSignalFile()
}

func (s *server) mustHaveSignalFile() {
	s.t.Helper()
	awaitSignalFile(s) // placed right after the proof was reported
	dir, err := os.Stat(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	want := dir.Sys().(*syscall.Stat_t).Uid
	// It is handed to the directory's owner right after it was made.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		file, err := os.Stat(filepath.Join(s.dir, "standby.signal"))
		if err == nil && file.Sys().(*syscall.Stat_t).Uid == want {
			return
		}
		if time.Now().After(end) {
			s.t.Errorf("standby.signal: %v, or it does not belong to %d as the data directory", err, want)
			return
		}
	}
}

// clusterState returns what the control file says.
func (s *server) clusterState() string {
	s.t.Helper()
	out, err := command(s.t, binDir+"/pg_controldata", "-D", s.dir).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if state, ok := strings.CutPrefix(line, "Database cluster state:"); ok {
			return strings.TrimSpace(state)
		}
	}
	s.t.Fatalf("no state in %s", out)
	return ""
}

// startGuard starts a guard for dir and ends it with the test.
func startGuard(t testing.TB, dir string) *Client {
	t.Helper()
	c, err := Start(context.Background(), guardOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return c
}

func guardOptions(dir string) Options {
	null, _ := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	return optionsFor(Duty{DataDir: dir, KernelFence: KernelFenceOff}, null)
}

func optionsFor(d Duty, stderr *os.File) Options {
	return Options{Duty: d, Stderr: stderr, Env: []string{envGuard + "=" + d.DataDir, NoteEnv + "=" + d.DataDir + ".note",
		fmt.Sprintf("%s=%d", envPort, d.Port), envKernel + "=" + string(d.KernelFence),
		fmt.Sprintf("%s=%s %s %s", envHand, d.Grace, d.CleanStop, d.Handover)}}
}

// awaitFence waits until the guard reports a proof.
func awaitFence(t testing.TB, c *Client) Proof {
	t.Helper()
	for {
		s := c.State()
		if s.Fences > 0 {
			return s.Proof
		}
		if !s.Running {
			t.Fatalf("guard ended without a fence: %+v", s)
		}
		select {
		case <-c.Changed():
		case <-time.After(time.Minute):
			t.Fatalf("no fence: %+v", c.State())
		}
	}
}

// pss returns the proportional memory of a process in kilobytes, in all and
// without what it shares.
func pss(t testing.TB, pid int) (all, private int) {
	b, err := os.ReadFile(procPath(pid, "smaps_rollup"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) != 3 {
			continue
		}
		n, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "Pss:":
			all = n
		case "Private_Dirty:", "Private_Clean:":
			private += n
		}
	}
	return all, private
}
