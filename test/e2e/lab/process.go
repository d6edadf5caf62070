package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Process is a program running on a host.
type Process struct {
	Name string
	Log  string // file with its output
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start runs a program on the host; its output goes to a log file of that name,
// which is appended to.
func (h *Host) Start(name string, env []string, argv ...string) *Process {
	h.net.t.Helper()
	p := &Process{Name: name, Log: filepath.Join(h.Dir(), name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		h.net.t.Fatal(err)
	}
	p.cmd = exec.Command("ip", append([]string{"netns", "exec", h.ns}, argv...)...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Dir = h.Dir()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := p.cmd.Start(); err != nil {
		h.net.t.Fatalf("start %s on %s: %v", name, h.Name, err)
	}
	log.Close()
	h.procs = append(h.procs, p)
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p
}

// Pid is the program's process id (ip netns exec replaces itself by it).
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Wait waits for the end and returns the exit code, or fails after the limit.
func (p *Process) Wait(limit time.Duration) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
		return 0, fmt.Errorf("%s has not ended within %s", p.Name, limit)
	}
}

// Ended reports whether the program has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Tail returns the last lines of the log.
func (p *Process) Tail(lines int) string {
	b, _ := os.ReadFile(p.Log)
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Written returns how much the log holds; Since what came after that.
func (p *Process) Written() int64 {
	st, err := os.Stat(p.Log)
	if err != nil {
		return 0
	}
	return st.Size()
}

// Since returns the log after the given place.
func (p *Process) Since(at int64) string {
	b, _ := os.ReadFile(p.Log)
	return string(b[min(at, int64(len(b))):])
}

// Run runs a program on the host to its end and returns its output.
func (h *Host) Run(argv ...string) (string, error) {
	out, err := exec.Command("ip", append([]string{"netns", "exec", h.ns}, argv...)...).CombinedOutput()
	return string(out), err
}
