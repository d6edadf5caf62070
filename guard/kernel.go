package guard

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/guard/netfence"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// KernelFence says whether a guard also lets the kernel close the server's port
// at the hard deadline (see netfence).
type KernelFence string

// The values of KernelFence.
const (
	KernelFenceOff       KernelFence = "off"
	KernelFenceAutomatic KernelFence = "automatic" // where it can be had
	KernelFenceRequired  KernelFence = "required"  // without it the guard does not serve
)

// KernelFences are all values.
var KernelFences = []KernelFence{KernelFenceOff, KernelFenceAutomatic, KernelFenceRequired}

// Duty is what a guard process is started for.
type Duty struct {
	DataDir     string
	Port        uint16 // of the server
	KernelFence KernelFence
	// Grace is how long a server whose agent is gone is left alone for another
	// agent, never past the soft deadline; negative: until then.
	Grace time.Duration
	// CleanStop is how long its shutdown may take then before it is killed; 0:
	// until the hard deadline.
	CleanStop time.Duration
	// Handover is the socket on which another agent takes over; empty: none can.
	Handover string
}

func (d Duty) check() error {
	if !slices.Contains(KernelFences, d.KernelFence) || d.Port == 0 && d.KernelFence != KernelFenceOff {
		return fmt.Errorf("guard: kernel fence %q for port %d (the guard is started by the agent, not by hand)", d.KernelFence, d.Port)
	}
	return nil
}

// KernelState is what is known about the kernel-timed fence.
type KernelState struct {
	// Active: it stands while the guard is armed, and could be raised otherwise.
	Active bool
	// Barred: the fence of a former guard stands, and the port may be silent. A
	// Disarm removes it: only when the server is certainly not a writer.
	Barred bool
	// Trouble is why it is not active, or why the former one still stands.
	Trouble string
}

const (
	flagActive = 1 << iota
	flagBarred
	flagGranted // the fencer: the deadline may be acknowledged
)

func (k KernelState) flags() (f uint16) {
	if k.Active {
		f |= flagActive
	}
	if k.Barred {
		f |= flagBarred
	}
	return f
}

func kernelState(m message) KernelState {
	return KernelState{Active: m.flags&flagActive != 0, Barred: m.flags&flagBarred != 0, Trouble: m.text}
}

// fencer speaks to the kernel's packet filter on a thread of its own: a
// transaction of somebody else may hold one up for seconds, and the kill waits
// for nothing. It and the guard's own thread exchange words over a socket pair,
// since a thread that waits in the kernel is woken without help of Go's
// scheduler.
type fencer struct {
	fence    *netfence.Fence
	required bool
	sock     int
	in, out  [maxMessage]byte
}

// startFencer returns this end of the socket, or -1 when there is nothing for a
// fencer to do, and the state at the start.
func startFencer(d Duty) (sock int, at KernelState, err error) {
	if d.Port == 0 {
		return -1, at, nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, at, fmt.Errorf("guard: make socket pair: %w", err)
	}
	ready := make(chan KernelState)
	go func() {
		runtime.LockOSThread() // for good: its capability and priority are its own
		f := &fencer{sock: pair[1], required: d.KernelFence == KernelFenceRequired,
			fence: netfence.Open(d.DataDir, d.Port, d.KernelFence != KernelFenceOff, clock.Real{})}
		_, _, _ = hurry()
		at := f.state(nil)
		ready <- at
		if at.Active || at.Barred {
			f.run()
		}
	}()
	if at = <-ready; !at.Active && !at.Barred {
		unix.Close(pair[0])
		unix.Close(pair[1])
		return -1, at, nil
	}
	return pair[0], at, unix.SetNonblock(pair[0], true)
}

// state tells how the fence stands; failed is a Lift that did not succeed.
func (f *fencer) state(failed error) KernelState {
	trouble := errors.Join(f.fence.Trouble(), failed)
	// A fence that could not be lifted may close the port later: whether it has is
	// asked only now, and not again.
	return KernelState{Active: f.fence.Able() && trouble == nil, Trouble: errText(trouble),
		Barred: f.fence.Barred() || failed != nil}
}

// run obeys one word after the other.
func (f *fencer) run() {
	for {
		if err := f.step(); err != nil {
			// Nothing is acknowledged any more: the agent starts another guard.
			fmt.Fprintln(os.Stderr, "guard: the thread of the kernel-timed fence ends:", err)
			return
		}
	}
}

// step waits for a word, obeys and answers it.
func (f *fencer) step() error {
	n, err := unix.Read(f.sock, f.in[:])
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return err
	}
	m, err := decode(f.in[:n])
	if err != nil {
		return err
	}
	answer := message{kind: kindKernel, nonce: m.nonce}
	var failed error
	switch m.kind {
	case kindArm:
		granted := f.fence.Raise(boot.Instant(m.b))
		if granted && (!f.required || f.fence.Trouble() == nil) {
			answer.flags = flagGranted
		}
	case kindDisarm:
		failed = f.fence.Lift()
	}
	st := f.state(failed)
	answer.flags |= st.flags()
	answer.text = st.Trouble
	return unix.Sendto(f.sock, answer.encode(f.out[:]), unix.MSG_NOSIGNAL, nil)
}
