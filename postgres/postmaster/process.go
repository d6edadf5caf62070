package postmaster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one postmaster: our child, or one that we found running.
type Process struct {
	PID   int
	ticks uint64
	done  chan struct{}
	fd    int // pidfd, -1 where the kernel or a sandbox refuses it
	stop  chan struct{}
	once  sync.Once
	mu    sync.Mutex
	exit  *os.ProcessState // of our own child, once it has ended
}

// ErrGone means that the process has ended.
var ErrGone = errors.New("the postmaster has ended")

// Adopt takes over a running process by number. It is watched from now on
// until it ends.
func Adopt(pid int) (*Process, error) {
	st, err := readStat(pid)
	if err != nil || st.state == 'Z' {
		return nil, ErrGone
	}
	p := &Process{PID: pid, ticks: st.ticks, done: make(chan struct{}), stop: make(chan struct{}), fd: -1}
	if fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK); err == nil {
		p.fd = fd
	}
	if !p.same() {
		p.closeFD()
		return nil, ErrGone
	}
	go p.watch()
	return p, nil
}

// launched wraps a process that we started and must reap.
func launched(cmd *exec.Cmd) *Process {
	p := &Process{PID: cmd.Process.Pid, done: make(chan struct{}), stop: make(chan struct{}), fd: -1}
	if st, err := readStat(p.PID); err == nil {
		p.ticks = st.ticks
	}
	go func() {
		_ = cmd.Wait()
		p.mu.Lock()
		p.exit = cmd.ProcessState
		p.mu.Unlock()
		close(p.done)
	}()
	return p
}

// watch waits for the end of a process that is not our child, or for Release.
func (p *Process) watch() {
	if p.fd >= 0 {
		defer p.closeFD()
		if p.waitFD() {
			p.finish()
			return
		}
	}
	for p.same() {
		select {
		case <-p.stop:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	p.finish()
}

// finish closes done unless the watch was given up.
func (p *Process) finish() {
	if !p.same() {
		close(p.done)
	}
}

// waitFD waits on the pidfd through the runtime's poller, so that no thread is
// held. It returns false when the poller cannot wait on it or gave up.
func (p *Process) waitFD() bool {
	dup, err := unix.FcntlInt(uintptr(p.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(dup), "pidfd")
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-p.stop:
		case <-ended:
		}
		f.Close()
	}()
	rc, err := f.SyscallConn()
	if err != nil {
		return false
	}
	err = rc.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return err == nil && n > 0
	})
	return err == nil
}

// Release gives up watching an adopted process, which lives on.
func (p *Process) Release() { p.once.Do(func() { close(p.stop) }) }

func (p *Process) closeFD() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

// same reports whether the number still means the process that we know.
func (p *Process) same() bool {
	st, err := readStat(p.PID)
	return err == nil && st.ticks == p.ticks && st.state != 'Z'
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Alive reports whether the process still runs.
func (p *Process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return p.same()
	}
}

// StartTicks is the start time in clock ticks since boot; with PID it names the
// process for good.
func (p *Process) StartTicks() uint64 { return p.ticks }

// Exit is how a postmaster ended.
type Exit struct {
	Known  bool // it was our child, so that the kernel told us
	Code   int
	Signal string // such as "SIGKILL"; empty when it exited by itself
}

// Exit says how our child ended; not Known for an adopted process, or one that
// lives.
func (p *Process) Exit() Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exit == nil {
		return Exit{}
	}
	ws, ok := p.exit.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return Exit{Known: true, Code: p.exit.ExitCode()}
	case ws.Signaled():
		return Exit{Known: true, Signal: signalName(ws.Signal())}
	}
	return Exit{Known: true, Code: ws.ExitStatus()}
}

func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(sig))
}

// String is the predicate of a sentence about the server.
func (e Exit) String() string {
	switch {
	case !e.Known:
		return "ended; how is not known, since it was not started by this agent"
	case e.Signal != "":
		return "was ended by " + e.Signal
	case e.Code != 0:
		return fmt.Sprintf("ended with exit status %d", e.Code)
	}
	return "ended in order"
}

// Wait waits for the end of the process.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Signal sends a signal to the process, never to a reused number.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd >= 0 {
		err := unix.PidfdSendSignal(p.fd, sig, nil, 0)
		if err == nil || errors.Is(err, unix.ESRCH) {
			return mapGone(err)
		}
	}
	if !p.same() {
		return ErrGone
	}
	return mapGone(syscall.Kill(p.PID, sig))
}

func mapGone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return ErrGone
	}
	if err != nil {
		return fmt.Errorf("signal the postmaster: %w", err)
	}
	return nil
}
