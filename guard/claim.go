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
type MuteError struct {
	PID  int
	heir *heir
}

func (e *MuteError) Error() string {
	return fmt.Sprintf("the guard of a former agent, process %d, does not answer", e.PID)
}

// Kill ends that guard.
func (e *MuteError) Kill() {
	e.heir.kill()
	e.heir.wait()
}

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
	for until := clk.Now().Add(2 * ackWait); errors.Is(err, unix.EAGAIN) && clk.Now() < until; conn, err = dialHandover(socket) {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		// Somebody listens: more have come than it has taken yet.
		return nil, fmt.Errorf("%w, or it does not take connections: %w", ErrServes, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoGuard, err)
	}
	p, err := heirOf(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("%w: %w", ErrNoGuard, err)
	}
	said, err := greeting(ctx, conn)
	if err == nil && said[len(said)-1].kind == kindHello {
		return inherit(p, conn, said, log, clk), nil
	}
	conn.Close()
	switch {
	case ctx.Err() != nil:
		p.close()
		return nil, context.Cause(ctx)
	case err == nil && said[len(said)-1].flags&flagStopping != 0:
		switch {
		case p.ends(ctx, endWait):
			return nil, ErrStopping
		case ctx.Err() != nil:
			p.close()
			return nil, context.Cause(ctx)
		}
		return nil, &MuteError{p.pid, p}
	case err == nil:
		p.close()
		return nil, ErrServes
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &MuteError{p.pid, p}
	}
	// It closed the connection without a word, or is dying.
	if p.ends(ctx, ackWait) {
		return nil, ErrNoGuard
	}
	p.close()
	return nil, fmt.Errorf("%w: it does not talk to this user", ErrServes)
}

// greeting reads what a guard says to who connects: the last message is its hello,
// or its refusal.
func greeting(ctx context.Context, conn *net.UnixConn) (said []message, err error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.SetReadDeadline(time.Now().Add(2 * ackWait)); err != nil {
		return nil, err
	}
	buf := make([]byte, maxMessage)
	defer clear(buf)
	for len(said) < 16 {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		m, err := decode(buf[:n])
		if err != nil {
			continue // of a later release: it is mute to this one
		}
		if said = append(said, m); m.kind == kindHello || m.kind == kindRefuse {
			return said, conn.SetReadDeadline(time.Time{})
		}
	}
	return nil, os.ErrDeadlineExceeded
}

// inherit makes the guard that said this the one of this process.
func inherit(p *heir, conn *net.UnixConn, said []message, log *slog.Logger, clk clock.Clock) *Inherited {
	i := &Inherited{Client: newClient(p, p.pid, conn, log, clk)}
	// What the guard still owes to the former agent must not answer a word of this one.
	i.nonce = uint64(clk.Now())
	for _, m := range said {
		switch i.Client.hear(m); m.kind {
		case kindTrust:
			i.Deadlines = fence.Deadlines{Soft: boot.Instant(m.a), Hard: boot.Instant(m.b)}
			i.Session, i.Postmaster, i.StartTicks = []byte(m.text), int(m.count), m.nonce
		case kindHello:
			i.Version = m.text
		}
	}
	go i.Client.listen()
	return i
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
	pid int
	mu  sync.Mutex
	fd  int // pidfd; -1 when it has ended, or is not watched any more
}

func (p *heir) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd >= 0 {
		_ = unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0)
	}
}

func (p *heir) wait() string {
	for !p.ended(time.Minute) {
	}
	p.close()
	return "ended"
}

// ends reports whether the process ends within d, and before ctx.
func (p *heir) ends(ctx context.Context, d time.Duration) bool {
	for until := time.Now().Add(d); time.Now().Before(until) && ctx.Err() == nil; {
		if p.ended(20 * time.Millisecond) {
			p.close()
			return true
		}
	}
	return false
}

// ended waits for the process's end, d at most.
func (p *heir) ended(d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(d/time.Millisecond))
	return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
}

func (p *heir) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	unix.Close(p.fd)
	p.fd = -1
}

// heirOf finds out who listens on the other end, and whether to trust it.
func heirOf(conn *net.UnixConn) (*heir, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	ok := false
	if cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		ok = trusted(int(fd))
	}); cerr != nil || err != nil {
		return nil, errors.Join(cerr, err)
	}
	if !ok || cred.Pid == 0 {
		return nil, fmt.Errorf("the handover socket belongs to user %d, process %d: not to this user's guard", cred.Uid, cred.Pid)
	}
	fd, err := unix.PidfdOpen(int(cred.Pid), 0)
	return &heir{pid: int(cred.Pid), fd: fd}, err
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
