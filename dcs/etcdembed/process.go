package etcdembed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a store process, ours or adopted. The pidfd makes sure that no
// signal ever reaches a later process of the same number.
type process struct {
	pid     int
	started uint64
	fd      *os.File // pidfd
	ended   chan struct{}
}

// logSize is the size over which the log is put away at a start; one old log is kept.
const logSize = 4 << 20

// launch starts a store in a session of its own: it has a vote and outlives the
// agent's crash, its terminal and its process group. The configuration goes
// through a pipe, so that the process list shows nothing.
func launch(_ context.Context, c Config, opt Options) (*process, error) {
	log, err := openLog(c.beside(".log"))
	if err != nil {
		return nil, fmt.Errorf("log of the embedded store: %w", err)
	}
	defer log.Close()
	conf, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(opt.Command[0], opt.Command[1:]...)
	cmd.Env = append(os.Environ(), opt.Env...)
	cmd.Stdin = bytes.NewReader(conf)
	// Nothing of ours but the log stays open in it: a pipe would break with us.
	cmd.Stderr = log
	cmd.Dir = c.stateDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the embedded store: %w", err)
	}
	p := &process{pid: cmd.Process.Pid, ended: make(chan struct{})}
	// A child that was not waited for keeps its number and its start time.
	p.started, _ = startTime(p.pid)
	if p.fd, err = pidfd(p.pid); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return nil, err
	}
	go func() {
		defer close(p.ended)
		cmd.Wait()
	}()
	return p, nil
}

func openLog(path string) (*os.File, error) {
	if st, err := os.Stat(path); err == nil && st.Size() > logSize {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
}

// lastLine is what a process that could not even write its run file said last.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > 4096 {
		f.Seek(-4096, io.SeekEnd)
	}
	b, _ := io.ReadAll(f)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

func pidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open a handle of process %d: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// findProcess finds the running store of this directory by its run file. The
// error is fs.ErrNotExist or os.ErrProcessDone where none runs.
func findProcess(c Config) (*process, State, error) {
	st, err := readState(c)
	if err != nil {
		return nil, st, err
	}
	if st.PID <= 0 || st.BootID != bootID() {
		return nil, st, os.ErrProcessDone
	}
	fd, err := pidfd(st.PID)
	if errors.Is(err, unix.ESRCH) {
		return nil, st, os.ErrProcessDone
	} else if err != nil {
		return nil, st, err
	}
	// Only now is the number pinned: compare what it belongs to.
	started, err := startTime(st.PID)
	if err != nil || started != st.StartTime {
		fd.Close()
		return nil, st, os.ErrProcessDone
	}
	p := &process{pid: st.PID, started: started, fd: fd, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.awaitEnd()
	}()
	return p, st, nil
}

// awaitEnd returns when the pidfd turns readable: the process has ended.
func (p *process) awaitEnd() {
	fds := []unix.PollFd{{Fd: int32(p.fd.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func (p *process) signal(sig unix.Signal) error {
	err := unix.PidfdSendSignal(int(p.fd.Fd()), sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// stop ends the process, and waits for its end.
func (p *process) stop(ctx context.Context) error {
	if err := p.signal(unix.SIGTERM); err != nil {
		return fmt.Errorf("stop the embedded store, process %d: %w", p.pid, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
	case <-time.After(stopPatience):
	}
	if err := p.signal(unix.SIGKILL); err != nil {
		return fmt.Errorf("kill the embedded store, process %d: %w", p.pid, err)
	}
	<-p.ended
	return nil
}
