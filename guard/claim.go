package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// The reasons why there is no guard to be taken over.
var (
	// ErrNoGuard: none is there.
	ErrNoGuard = errors.New("no guard of a former agent runs")
	// ErrServes: it has an agent.
	ErrServes = errors.New("the guard of this member serves another agent")
	// ErrStopping: it was stopping its server, and has ended.
	ErrStopping = errors.New("the guard of a former agent has stopped the server")
)

// MuteError is a guard that does not answer: stopped, or starved. Its deadline
// stands, so its server is to be killed before it is.
type MuteError struct{ c *Client }

func (e *MuteError) Error() string {
	return fmt.Sprintf("the guard of a former agent, process %d, does not answer", e.c.State().PID)
}

// Kill ends that guard.
func (e *MuteError) Kill() { e.c.Kill() }

// endWait is how long an agent waits for the end of a guard that stops its
// server: for the shutdown, the kill, and the helper.
const endWait = helperWait + 10*time.Second

// Inherited is a guard with its server, whose agent is gone, and what it was
// trusted with.
type Inherited struct {
	*Client
	// Version is the guard's release.
	Version string
	// Deadlines are those in force. Sent is not known any more.
	Deadlines fence.Deadlines
	// Session is the handle of the session that they come from.
	Session []byte
	// Postmaster and its start (clock ticks after boot) are the server that runs; 0:
	// none does.
	Postmaster int
	StartTicks uint64
}

// Claim takes the guard of a former agent over: from then on it has an agent
// again, and lets the server work up to the soft deadline that it knows. Arm it
// in time, or End it. The error is ErrNoGuard, ErrServes, ErrStopping (which is
// waited for), or a *MuteError.
func Claim(ctx context.Context, socket string, log *slog.Logger, clk clock.Clock) (*Inherited, error) {
	conn, err := dialHandover(socket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoGuard, err)
	}
	owner, pid, err := heirOf(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("%w: %w", ErrNoGuard, err)
	}
	c := newClient(owner, pid, conn, log, clk, true)
	wait, cancel := context.WithTimeout(ctx, 2*ackWait)
	defer cancel()
	select {
	case <-c.ready:
	case <-c.done:
		return nil, ErrNoGuard
	case <-wait.Done():
		conn.Close()
		return nil, &MuteError{c}
	}
	c.mu.Lock()
	refused, stopping, greeted, hello, m := c.refused, c.stopping, c.greeted, c.hello, c.trust
	c.mu.Unlock()
	switch {
	case !refused && !greeted:
		// It closed the connection without a word, or is dying.
		conn.Close()
		select {
		case <-c.done:
			return nil, ErrNoGuard
		case <-time.After(ackWait):
			return nil, fmt.Errorf("%w: it does not talk to this user", ErrServes)
		}
	case stopping:
		select {
		case <-c.done:
			return nil, ErrStopping
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(endWait):
			conn.Close()
			return nil, &MuteError{c}
		}
	case refused:
		conn.Close()
		return nil, ErrServes
	}
	return &Inherited{Client: c, Version: hello,
		Deadlines: fence.Deadlines{Soft: boot.Instant(m.a), Hard: boot.Instant(m.b)},
		Session:   []byte(m.text), Postmaster: int(m.count), StartTicks: m.nonce}, nil
}

// End has the guard kill the server at once, end its session, and end itself. It
// returns when it has ended, or ctx has.
func (i *Inherited) End(ctx context.Context) error {
	var buf [maxMessage]byte
	_, err := i.conn.Write(message{kind: kindEnd}.encode(buf[:]))
	err = errors.Join(err, i.conn.CloseWrite()) // it has no agent any more
	select {
	case <-i.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("guard: process %d was told to end: %w", i.State().PID, errors.Join(err, context.Cause(ctx)))
	}
}

// Pass gives the guard another access to the store, for its next helper: what
// the former agent knew may have changed.
func (i *Inherited) Pass(access []byte) error {
	f, err := seal(access)
	if err != nil {
		return err
	}
	defer f.Close()
	var buf [maxMessage]byte
	_, _, err = i.conn.WriteMsgUnix(message{kind: kindAccess}.encode(buf[:]), unix.UnixRights(int(f.Fd())), nil)
	return err
}

// heir is the process of a guard that was taken over: no child of this one.
type heir struct {
	mu sync.Mutex
	fd int // pidfd; -1 when it has ended
}

func (p *heir) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd >= 0 {
		_ = unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0)
	}
}

func (p *heir) wait() string {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	unix.Close(p.fd)
	p.fd = -1
	return "ended"
}

// heirOf finds out who listens on the other end, and whether to trust it.
func heirOf(conn *net.UnixConn) (p *heir, pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return p, 0, err
	}
	var cred *unix.Ucred
	ok := false
	if cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		ok = trusted(int(fd))
	}); cerr != nil || err != nil {
		return p, 0, errors.Join(cerr, err)
	}
	if !ok || cred.Pid == 0 {
		return p, 0, fmt.Errorf("the handover socket belongs to user %d, process %d: not to this user's guard", cred.Uid, cred.Pid)
	}
	fd, err := unix.PidfdOpen(int(cred.Pid), 0)
	return &heir{fd: fd}, int(cred.Pid), err
}

// dialHandover connects by the directory, whose path may be longer than a
// socket's address.
func dialHandover(socket string) (*net.UnixConn, error) {
	dir, err := unix.Open(filepath.Dir(socket), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "guard")
	defer f.Close()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: inDir(dir, filepath.Base(socket))}); err != nil {
		return nil, err
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}
