package dcstest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/internal/freeport"
)

// Process is a server that a test started, in a process group of its own. It is
// killed when the test ends.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	log  *tail
}

// start runs a server until the test ends. Its output is shown when the test
// fails.
func start(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{cmd: cmd, done: make(chan struct{}), log: &tail{}}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v (install Debian's etcd-server, zookeeper and default-jre-headless)", name, err)
	}
	go func() { _ = cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said at last:\n%s", name, p.log)
		}
	})
	return p
}

// Signal sends a signal to the server, for example SIGSTOP.
func (p *Process) Signal(s syscall.Signal) error { return syscall.Kill(p.cmd.Process.Pid, s) }

// Kill ends the server at once and waits for it.
func (p *Process) Kill() {
	select {
	case <-p.done:
		return // its pid may belong to somebody else by now
	default:
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// ended reports whether the server is gone.
func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// await waits until the server is ready.
func (p *Process) await(t testing.TB, what string, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ready(); time.Sleep(50 * time.Millisecond) {
		if p.ended() {
			t.Fatalf("%s ended at its start:\n%s", what, p.log)
		}
		if time.Now().After(end) {
			t.Fatalf("%s was not ready within %v:\n%s", what, patience, p.log)
		}
	}
}

// tail keeps the end of a server's output.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() > 64<<10 {
		l.buf.Next(l.buf.Len() - 16<<10)
	}
	return l.buf.Write(b)
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// freeAddrs returns loopback addresses with ports that were free just now.
func freeAddrs(t testing.TB, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		port, err := freeport.Next()
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	return addrs
}

// tempDir returns a directory that is removed after the server that uses it was
// killed, however it left it.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "matriarch-dcstest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}

func port(addr string) int {
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		panic(fmt.Sprintf("address %q: %v", addr, err))
	}
	n, _ := strconv.Atoi(p)
	return n
}
