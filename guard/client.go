package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/watchdog"
)

const (
	// startWait bounds how long a new guard may take to report that it is ready.
	startWait = 5 * time.Second
	// ackWait is how long a guard may take to acknowledge a word (G2).
	ackWait = time.Second
)

// The reasons why a guard cannot be relied on.
var (
	ErrEnded  = errors.New("the guard process has ended; start another")
	ErrNoAck  = errors.New("the guard did not acknowledge within 1s; kill it and start another")
	ErrFenced = fence.ErrFenced
)

// Options say how a guard is started.
type Options struct {
	// Executable and Args start this binary's guard: Args must lead to Main with
	// the Duty. Executable defaults to the running binary.
	Executable string
	Args       []string
	// Env is the child's whole environment. The agent's is not inherited: it may
	// hold passwords.
	Env []string
	Duty
	// Access is what the guard's helper needs to reach the store, in whatever form
	// that reads; nil: sessions are not released. It is kept in memory alone.
	Access []byte
	Logger *slog.Logger // nil discards
	Clock  clock.Clock  // nil is the real one
	Stderr *os.File     // nil is the agent's own
}

// State is a copy of what is known about a guard.
type State struct {
	PID     int
	Running bool
	// Armed is the hard deadline that was acknowledged last; zero when disarmed.
	Armed boot.Instant
	Abilities
	Kernel   KernelState
	Watchdog watchdog.State
	// Fences counts the completed fences; Proof is the last one.
	Fences int
	Proof  Proof
	// Err is what went wrong last with a fence: no proof yet, or no standby.signal.
	Err string
}

// Client is the agent's end of a running guard. Its methods may be called from
// several goroutines.
type Client struct {
	proc    guardProcess
	conn    *net.UnixConn
	log     *slog.Logger
	clock   clock.Clock
	done    chan struct{}
	ready   chan struct{}
	changed chan struct{}

	word sync.Mutex // one word at a time on the socket

	mu      sync.Mutex
	state   State
	nonce   uint64
	waiting uint64       // nonce whose acknowledgement is awaited, 0 for none
	arming  boot.Instant // what the awaited acknowledgement makes of State.Armed
	strict  bool         // ... may be refused for the watchdog device
	wanted  func() (every time.Duration, required bool)
	answer  chan error
	out     [maxMessage]byte // owned by word
	ended   string           // how the process ended
}

// guardProcess is a guard as a process: a child, or one that was taken over.
type guardProcess interface {
	wait() string // until it has ended; how
	kill()
}

// ownChild is a guard that this process has started.
type ownChild struct{ cmd *exec.Cmd }

func (p ownChild) wait() string { _ = p.cmd.Wait(); return p.cmd.ProcessState.String() }
func (p ownChild) kill()        { _ = p.cmd.Process.Kill() } // already gone is as good

// Start starts a guard and returns when it is ready. ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Client, error) {
	if o.Executable == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("guard: find the running binary: %w", err)
		}
		o.Executable = exe
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	conn, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("guard: make socket pair: %w", err)
	}
	cmd := exec.Command(o.Executable, o.Args...)
	// Two threads of Go are plenty, and each costs memory.
	cmd.Env = append([]string{"GOMAXPROCS=2"}, o.Env...)
	cmd.Dir = "/"
	cmd.Stderr = o.Stderr
	cmd.ExtraFiles = []*os.File{theirs} // becomes SocketFD
	if o.Access != nil {
		access, err := seal(o.Access)
		if err != nil {
			conn.Close()
			theirs.Close()
			return nil, err
		}
		defer access.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, access) // becomes AccessFD
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	theirs.Close() // the child's copy must be the last one, or its end goes unnoticed
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("guard: start %s: %w", o.Executable, err)
	}
	c := newClient(ownChild{cmd}, cmd.Process.Pid, conn, o.Logger, o.Clock)
	go c.listen()
	if err := c.awaitReady(ctx); err != nil {
		return nil, err
	}
	if st := c.State().Kernel; o.KernelFence == KernelFenceRequired && !st.Active {
		c.Kill()
		return nil, fmt.Errorf("guard: matriarch.kernel_fence is required, and the kernel-timed fence cannot be had: %s", st.Trouble)
	}
	return c, nil
}

func newClient(p guardProcess, pid int, conn *net.UnixConn, log *slog.Logger, clk clock.Clock) *Client {
	return &Client{proc: p, conn: conn, log: log, clock: clk,
		done: make(chan struct{}), ready: make(chan struct{}), changed: make(chan struct{}, 1),
		state: State{PID: pid, Running: true}}
}

func (c *Client) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	select {
	case <-c.ready:
		return nil
	case <-c.done:
		return fmt.Errorf("guard: process %d ended at once: %s", c.state.PID, c.ended)
	case <-ctx.Done():
		c.Kill()
		return fmt.Errorf("guard: process %d did not get ready: %w", c.state.PID, ctx.Err())
	}
}

// socketPair returns the agent's end as a connection, the guard's as a file.
func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "guard"), os.NewFile(uintptr(fds[1]), "guard child")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// listen reads the guard's words until its end, then collects the process.
func (c *Client) listen() {
	defer close(c.done)
	buf := make([]byte, maxMessage)
	for {
		n, err := c.conn.Read(buf)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				c.log.Warn("guard's socket failed", "error", err)
			}
			break
		}
		m, err := decode(buf[:n])
		if err != nil {
			c.log.Warn("guard's word not understood", "error", err)
			continue
		}
		c.hear(m)
	}
	ended := c.proc.wait()
	c.mu.Lock()
	c.ended = ended
	c.state.Running, c.state.Armed = false, 0
	c.settle(ErrEnded)
	c.mu.Unlock()
	c.signal()
	c.log.Debug("guard ended", "pid", c.state.PID, "how", ended)
}

func (c *Client) hear(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.kind {
	case kindReady:
		c.state.Abilities = abilities(m.flags, m.text)
		select {
		case <-c.ready:
		default:
			close(c.ready)
		}
	case kindTrust:
		c.state.Armed = boot.Instant(m.b)
	case kindReleased:
		if m.flags&1 == 0 {
			c.log.Info("the session of the lost lease runs out by itself: the guard's helper could not end it", "error", m.text)
		}
	case kindAck:
		if m.nonce == c.waiting {
			c.state.Armed = c.arming
			c.settle(nil)
		}
	case kindKernel:
		c.hearKernel(kernelState(m))
	case kindWatchdog:
		c.hearDog(m)
	case kindFenced:
		c.state.Err = m.text
		if m.flags&1 != 0 {
			c.state.Fences++
			c.state.Armed = 0
			c.state.Proof = Proof{Processes: int(m.count), Dying: int(m.dying), Began: boot.Instant(m.a), Took: time.Duration(m.b)}
			c.settle(ErrFenced)
		}
		c.signal()
	}
}

// hearKernel takes the state of the kernel-timed fence; c.mu is held. What it is
// at the start is for the caller of Start to tell.
func (c *Client) hearKernel(now KernelState) {
	was := c.state.Kernel
	c.state.Kernel = now
	select {
	case <-c.ready:
	default:
		return
	}
	switch {
	case now.Trouble != "" && now.Trouble != was.Trouble:
		c.log.Warn("the kernel-timed fence failed; the guard process alone fences until it stands again", "error", now.Trouble)
	case now.Active && !was.Active:
		c.log.Info("the kernel-timed fence is active again")
	}
	c.signal()
}

// Kernel returns what is known about the kernel-timed fence.
func (c *Client) Kernel() KernelState { return c.State().Kernel }

// settle answers the waiting word; c.mu is held.
func (c *Client) settle(err error) {
	if c.waiting != 0 {
		c.waiting = 0
		c.answer <- err
	}
}

func (c *Client) signal() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Arm hands the guard new deadlines, with the handle of the session that they
// come from (nil: nobody but this process can end it), and returns when it has
// acknowledged them. After an error the guard may or may not have heard.
func (c *Client) Arm(ctx context.Context, d fence.Deadlines, session []byte) error {
	if len(session) > maxText {
		return fmt.Errorf("arm the guard: a session's handle of %d bytes, want %d at most", len(session), maxText)
	}
	if err := c.tell(ctx, c.withReset(message{kind: kindArm, a: int64(d.Soft), b: int64(d.Hard), text: string(session)}, d), d.Hard); err != nil {
		return fmt.Errorf("arm the guard: %w", err)
	}
	return nil
}

// Disarm tells the guard that the server is certainly not a writer, or that
// nobody wants it fenced (pause).
func (c *Client) Disarm(ctx context.Context) error {
	if err := c.tell(ctx, message{kind: kindDisarm}, 0); err != nil {
		return fmt.Errorf("disarm the guard: %w", err)
	}
	return nil
}

// tell sends a word and waits for its acknowledgement; armed is the state that
// it leads to.
func (c *Client) tell(ctx context.Context, m message, armed boot.Instant) error {
	c.word.Lock()
	defer c.word.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, ackWait, ErrNoAck)
	defer cancel()
	answer := make(chan error, 1)
	c.mu.Lock()
	if !c.state.Running {
		c.mu.Unlock()
		return ErrEnded
	}
	c.nonce++
	m.nonce = c.nonce
	c.waiting, c.arming, c.answer = m.nonce, armed, answer
	c.strict = m.kind == kindArm && m.flags&flagDogRequired != 0
	c.mu.Unlock()

	deadline, _ := ctx.Deadline()
	err := c.conn.SetWriteDeadline(deadline)
	if err == nil {
		_, err = c.conn.Write(m.encode(c.out[:]))
	}
	if err == nil {
		select {
		case err = <-answer:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = 0
	return err
}

// State returns a copy of what is known.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Done is closed when the guard process has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Changed has a value after a fence or the guard's end; several events may
// share one value.
func (c *Client) Changed() <-chan struct{} { return c.changed }

// Close closes the agent's end. A disarmed guard ends, and Close waits for
// that; an armed one goes on alone and stops the server at its deadlines.
func (c *Client) Close() error {
	armed := !c.State().Armed.IsZero()
	err := c.conn.Close()
	if armed {
		return err
	}
	select {
	case <-c.done:
	case <-time.After(startWait):
		err = errors.Join(err, fmt.Errorf("guard: disarmed process %d does not end", c.State().PID))
	}
	return err
}

// Kill ends the guard process at once, so that its deadline does not stop the
// server: only for one that does not answer, right before another is started.
func (c *Client) Kill() {
	c.proc.kill()
	<-c.done
}
