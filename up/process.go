package up

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/internal/proc"
)

// command is a process to run.
type command struct {
	name    string // for people: "agent of n1"
	program string
	args    []string
	env     []string
	dir     string // its working directory
	log     string // file for what it prints
	pid     string // file that names it
}

// process is one that runs, ours or one found. Signals go through the pidfd, so
// that none ever reaches a later process of the same number.
type process struct {
	pid   int
	fd    *os.File
	ended chan struct{} // closed when it has ended
	exit  string        // how; known of our own children, after ended
	found bool
}

// pidRecord is what a pid file holds.
type pidRecord = proc.Record

// logLimit is the size over which a log is put away at a start; one is kept.
const logLimit = 8 << 20

// launch starts a process in a session of its own, so that no signal of the
// terminal reaches it, and with nothing of ours open in it but its log.
func launch(c command) (*process, error) {
	log, err := openLog(c.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(c.program, c.args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.env, c.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{pid: cmd.Process.Pid, ended: make(chan struct{})}
	// A child not yet waited for keeps its number.
	err = p.open()
	if err == nil {
		var r pidRecord
		if r, err = proc.Of(p.pid); err == nil {
			err = writeJSON(c.pid, r)
		}
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		// Whom we could not find again we do not leave behind.
		cmd.Process.Kill()
		cmd.Wait()
		return nil, fmt.Errorf("keep track of process %d: %w", p.pid, err)
	}
	go func() {
		defer close(p.ended)
		cmd.Wait()
		p.exit = cmd.ProcessState.String()
	}()
	return p, nil
}

// find returns the process that a pid file names, nil when it runs no more.
func find(path string) (*process, error) {
	var r pidRecord
	if readJSON(path, &r) != nil {
		// No file, or a torn one, names nobody; a process without one shows at
		// its ports.
		return nil, nil
	}
	return findRecord(r)
}

func findRecord(r pidRecord) (*process, error) {
	fd, err := r.Pin()
	if errors.Is(err, os.ErrProcessDone) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	p := &process{pid: r.PID, fd: fd, ended: make(chan struct{}), found: true}
	go func() {
		defer close(p.ended)
		p.await()
	}()
	return p, nil
}

func (p *process) open() error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return err
	}
	p.fd = os.NewFile(uintptr(fd), "pidfd")
	return nil
}

// await returns when the pidfd turns readable: the process has ended.
func (p *process) await() {
	fds := []unix.PollFd{{Fd: int32(p.fd.Fd()), Events: unix.POLLIN}}
	for {
		if n, err := unix.Poll(fds, -1); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func (p *process) signal(sig unix.Signal) {
	// The one error that can come of a pinned process is that it has ended.
	_ = unix.PidfdSendSignal(int(p.fd.Fd()), sig, nil, 0)
}

// stop asks the process to end and waits for it; when ctx ends first it is
// killed, and the error says so.
func (p *process) stop(ctx context.Context) error {
	p.signal(unix.SIGTERM)
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
	}
	p.signal(unix.SIGKILL)
	<-p.ended
	return fmt.Errorf("process %d did not end in time and was killed", p.pid)
}

func openLog(path string) (*os.File, error) {
	if st, err := os.Stat(path); err == nil && st.Size() > logLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}
