package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/watchdog"
)

// SocketFD is the descriptor on which a guard finds its end of the socket pair.
const SocketFD = 3

const (
	// proofWait is how long one attempt to kill may take before it is reported
	// as failed; the attempts go on for ever.
	proofWait = time.Second
	// goneCheck is how often a guard without an agent looks whether the fast
	// shutdown that it asked for is complete.
	goneCheck = 50 * time.Millisecond
)

// Program is the binary that a guard runs.
type Program struct {
	Version string // tells an agent that takes over
	// Helper are the arguments that lead the binary to the release of a session
	// (see Release); none: a session is left to run out.
	Helper []string
	Env    []string // the helper's whole environment
}

// Main is the life of a guard process. It returns when it has no agent and
// nothing is left to guard.
func Main(d Duty, p Program) error {
	if err := d.check(); err != nil {
		return err
	}
	// Priorities are per thread: the one that polls must be the one that kills.
	runtime.LockOSThread()
	if err := noCore(); err != nil {
		return err
	}
	// What is meant for a terminal's foreground, or for the agent by a service
	// manager that signals the whole group, must not end the guard.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	k, err := newKiller(d.DataDir, clock.Real{})
	if err != nil {
		return err
	}
	defer k.close()
	d.DataDir = k.dir
	timer, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("guard: create a timer on CLOCK_BOOTTIME: %w", err)
	}
	defer unix.Close(timer)
	if err := unix.SetNonblock(SocketFD, true); err != nil {
		return fmt.Errorf("guard: descriptor %d: %w (the guard is started by the agent, not by hand)", SocketFD, err)
	}
	unix.CloseOnExec(SocketFD)
	c := &child{killer: k, clock: clock.Real{}, sock: SocketFD, timer: timer, duty: d, program: p}
	c.note = os.Getenv(NoteEnv)
	// Without it nobody can take over, as in a container; what the guard is for does
	// not hang on a directory.
	unreachable := c.openHandover()
	defer c.closeHandover()
	if _, err := k.find(); err != nil { // touches the code and memory that the kill needs
		return err
	}
	// Before the fencer starts: its thread adds a capability of its own, which one
	// word to all threads later would take away again.
	raised := raise(unix.CAP_IPC_LOCK, unix.CAP_SYS_NICE)
	if c.kern, c.kernel, err = startFencer(d); err != nil {
		return err
	}
	if err := c.startDog(os.Getenv(WatchdogEnv)); err != nil {
		return err
	}
	c.told = c.kernel
	c.say(message{kind: kindKernel, flags: c.kernel.flags(), text: c.kernel.Trouble})
	c.abilities = harden(raised)
	if unreachable != nil {
		c.abilities.refuse(unreachable.Error() + " (no other agent can take the server over; make the directory writable)")
	}
	c.say(message{kind: kindReady, flags: c.abilities.flags(), text: c.abilities.Refused})
	return c.run()
}

// child is the state of a guard process; one goroutine owns it.
type child struct {
	killer      *killer
	clock       clock.Clock
	duty        Duty
	program     Program
	abilities   Abilities
	sock, timer int
	kern        int    // to the fencer; -1 when there is none
	note        string // file for what was done; empty: none
	in, out     [maxMessage]byte

	kernel, told KernelState // as the fencer said last, and as the agent was told
	unanswered   int         // words that the fencer has not answered

	dog     *watchdog.Dog // nil: no device
	dogWake int
	dogTold watchdog.State

	watch   fence.Watch  // what it goes by, and whether it has an agent
	session []byte       // handle of the session that the armed lease belongs to
	owed    owed         // the acknowledgement of the newest arm
	asking  *atomic.Bool // whether a fast shutdown is still wanted; nil: none was

	handover handover
	releases releases
}

// run handles words and deadlines until there is nothing left to guard.
func (c *child) run() error {
	for {
		// Socket first, clock second: a disarm that arrived while this process
		// could not run was still sent in time.
		c.listen()
		c.accept()
		c.listenKernel()
		c.hearReleases()
		c.hearDog()
		wake := c.act()
		// Let go of an unanswered word only when the fence is lifted: the next server
		// on this port needs it gone.
		if c.watch.Alone && !c.watch.Armed && c.unanswered == 0 && c.releases.running == 0 && !c.dogBusy() {
			return nil
		}
		if err := c.wait(wake); err != nil {
			return err
		}
	}
}

// tellKernel hands a word to the fencer.
func (c *child) tellKernel(m message) {
	if unix.Sendto(c.kern, m.encode(c.out[:]), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, nil) == nil {
		c.unanswered++
	}
}

// lift has the kernel-timed fence taken away, and the watchdog device disarmed:
// nothing is left to be held back.
func (c *child) lift() {
	c.restDog()
	if c.kern >= 0 {
		c.tellKernel(message{kind: kindDisarm})
	}
}

// listenKernel takes the fencer's answers: a deadline is acknowledged only when
// the kernel has it.
func (c *child) listenKernel() {
	for c.kern >= 0 {
		n, err := unix.Read(c.kern, c.in[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return // EAGAIN
		}
		m, err := decode(c.in[:n])
		if err != nil {
			return
		}
		c.unanswered--
		if c.kernel = kernelState(m); c.kernel != c.told {
			c.told = c.kernel
			c.say(message{kind: kindKernel, flags: c.kernel.flags(), text: m.text})
		}
		if m.nonce != 0 && m.nonce == c.owed.nonce && m.flags&flagGranted != 0 {
			c.owed.kernel = false
			c.grant()
		}
	}
}

// act does what the clock demands and returns when to look again; zero is
// never.
func (c *child) act() boot.Instant {
	now, alone := c.clock.Now(), c.alone()
	act, until := c.watch.Next(now, alone)
	switch act {
	case fence.Wait:
		return until
	case fence.Kill:
		c.fence()
		return 0
	case fence.Stop:
		c.watch.Asking(now, alone)
		c.asking = new(atomic.Bool)
		c.asking.Store(true)
		go askShutdown(c.killer.dir, c.asking)
	}
	if alive, err := c.killer.signalRoots(0); err == nil && alive == 0 && c.stopped() {
		return 0
	}
	return min(now.Add(goneCheck), c.watch.KillAt)
}

// wait sleeps until a word arrives or wake is reached.
func (c *child) wait(wake boot.Instant) error {
	// A zero time disarms the timer.
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wake))}
	if err := unix.TimerfdSettime(c.timer, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		return fmt.Errorf("guard: set timer: %w", err)
	}
	// A negative descriptor is passed over.
	fds := [...]unix.PollFd{{Fd: int32(c.timer), Events: unix.POLLIN}, {Fd: int32(c.kern), Events: unix.POLLIN}, {Fd: int32(c.dogWake), Events: unix.POLLIN},
		{Fd: int32(c.sock), Events: unix.POLLIN}, {Fd: int32(c.handover.listener), Events: unix.POLLIN}, {Fd: int32(c.releases.wake), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds[:], -1); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("guard: poll: %w", err)
	}
	return nil
}

// fence kills the server, for as long as it takes, and reports the proof.
func (c *child) fence() {
	began := c.clock.Now()
	var proof Proof
	for {
		ctx, cancel := context.WithTimeout(context.Background(), proofWait)
		p, err := c.killer.kill(ctx)
		cancel()
		proof.Processes += p.Processes
		proof.Dying = p.Dying
		if err == nil {
			break
		}
		c.report(proof, err)
		nap(50 * time.Millisecond)
	}
	proof.Began, proof.Took = began, c.clock.Now().Sub(began)
	session, ended := slices.Clone(c.session), c.watch.Fencing && began < c.watch.Hard
	defer clear(session)
	c.disarm()
	c.say(message{kind: kindFenced, flags: 1, count: uint32(proof.Processes), dying: uint32(proof.Dying),
		a: int64(proof.Began), b: int64(proof.Took)})
	// From here on the disk is touched, which may hang.
	if err := placeStandbySignal(c.killer.dir); err != nil {
		c.report(proof, err)
	}
	// Somebody may have started the server between the proof and the file.
	proven := c.killAgain()
	// Until here whoever started the server behind our back could say nothing.
	c.lift()
	c.ended(Note{Ended: ended, Proof: proof}, session, proven)
	// Last of all: the reader of standard error may be the stopped agent. A server
	// that had stopped in time is the agent's story.
	if proof.Processes > 0 {
		fmt.Fprintf(os.Stderr, "guard: the lease of the server in %s ended: killed %d processes in %s\n",
			c.killer.dir, proof.Processes, proof.Took.Round(time.Microsecond))
	}
}

// killAgain kills whatever runs in the data directory and reports whether that
// is proven to be nothing.
func (c *child) killAgain() bool {
	ctx, cancel := context.WithTimeout(context.Background(), proofWait)
	defer cancel()
	p, err := c.killer.kill(ctx)
	if err != nil {
		c.report(p, err)
	}
	return err == nil
}

// report says what went wrong: an attempt gave no proof, or no standby.signal.
func (c *child) report(p Proof, err error) {
	c.say(message{kind: kindFenced, count: uint32(p.Processes), a: int64(p.Began), b: int64(p.Took), text: errText(err)})
}

// say sends a message. A full or closed socket is the agent's concern: it acts
// on what is missing.
func (c *child) say(m message) {
	if c.sock >= 0 {
		_ = unix.Sendto(c.sock, m.encode(c.out[:]), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, nil)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
