package guard

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/watchdog"
)

// WatchdogEnv names the watchdog device to a guard; without it there is none.
const WatchdogEnv = "MATRIARCH_GUARD_WATCHDOG"

// WatchdogMark is the file in the state directory, beside the note, that tells
// of a device that a guard left running.
const WatchdogMark = "watchdog-armed"

// ErrWatchdog: the device is required and does not protect, so the deadlines do
// not count.
var ErrWatchdog = errors.New("the watchdog device is required and cannot be used")

// The flags of kindWatchdog, and of kindArm.
const (
	flagDogActive = 1 << iota
	flagDogKept
	flagDogLeft
	flagDogFailed
	flagDogRequired // of an arm: without the device it is not acknowledged
)

// startDog makes the part of a guard that speaks to the watchdog device: none
// without a device.
func (c *child) startDog(device string) error {
	c.dogWake = -1
	if device == "" {
		return nil
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("guard: make an eventfd: %w", err)
	}
	c.dogWake = fd
	o := watchdog.Options{Device: device, Clock: c.clock,
		Changed: func() { _, _ = unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) },
		Thread:  func() { _, _, _ = hurry() }}
	if c.note != "" {
		o.Mark = filepath.Join(filepath.Dir(c.note), WatchdogMark)
	}
	c.dog = watchdog.New(o)
	if st := c.dog.State(); st != c.dogTold {
		c.tellDog()
	}
	return nil
}

// feed hands the device what a word that arms allows, and reports whether its
// acknowledgement has to wait for that.
func (c *child) feed(m message) (wait bool) {
	if c.dog == nil {
		return false
	}
	if m.count == 0 {
		// None is wanted any more: it must not reset a host whose lease is renewed.
		if c.dogTold.Active || c.dogTold.Left {
			c.dog.Rest()
		}
		return false
	}
	required := m.flags&flagDogRequired != 0
	c.dog.Feed(watchdog.Feed{Reset: boot.Instant(m.b).Add(ms(m.count)), Every: ms(m.dying), Required: required, Nonce: m.nonce})
	return required
}

// hearDog passes on how the device stands, and answers the word that waits for it.
func (c *child) hearDog() {
	if c.dog == nil {
		return
	}
	var buf [8]byte
	_, _ = unix.Read(c.dogWake, buf[:]) // before the state: no change is overlooked
	if c.dog.State() != c.dogTold {
		c.tellDog()
	}
	if c.owed.dog && c.dogTold.Answered == c.owed.nonce {
		c.owed.dog = false
		if c.dogTold.Failed {
			c.owed = owed{} // the agent was told with the state
		}
		c.grant()
	}
}

func (c *child) tellDog() {
	st := c.dog.State()
	c.dogTold = st
	c.say(message{kind: kindWatchdog, flags: dogFlags(st), nonce: st.Answered, a: int64(st.Timeout), text: st.Trouble})
}

// restDog has the device disarmed: the server is certainly not a writer.
func (c *child) restDog() {
	if c.dog != nil {
		c.dog.Rest()
	}
}

// dogBusy: the device is not yet as it was asked to be.
func (c *child) dogBusy() bool { return c.dog != nil && c.dog.Busy() }

// owed is the acknowledgement of an arm that others have to grant first.
type owed struct {
	nonce       uint64
	kernel, dog bool
}

// grant acknowledges the word that armed, if nobody has to grant it any more.
func (c *child) grant() {
	if c.owed.nonce == 0 || c.owed.kernel || c.owed.dog || !c.watch.Armed || c.clock.Now() >= c.watch.Hard {
		return
	}
	c.say(message{kind: kindAck, nonce: c.owed.nonce})
	c.owed = owed{}
}

func dogFlags(st watchdog.State) (f uint16) {
	for _, x := range []struct {
		set bool
		bit uint16
	}{{st.Active, flagDogActive}, {st.Kept, flagDogKept}, {st.Left, flagDogLeft}, {st.Failed, flagDogFailed}} {
		if x.set {
			f |= x.bit
		}
	}
	return f
}

func dogState(m message) watchdog.State {
	return watchdog.State{Active: m.flags&flagDogActive != 0, Kept: m.flags&flagDogKept != 0, Left: m.flags&flagDogLeft != 0,
		Failed: m.flags&flagDogFailed != 0, Timeout: time.Duration(m.a), Trouble: m.text, Answered: m.nonce}
}

// SetWatchdog says how often deadlines come, and whether the guard may let them
// count without a watchdog device that works. Without it none is fed.
func (c *Client) SetWatchdog(wanted func() (every time.Duration, required bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = wanted
}

// withReset adds to a word that arms when the watchdog device is to reset the
// host.
func (c *Client) withReset(m message, d fence.Deadlines) message {
	c.mu.Lock()
	wanted := c.wanted
	c.mu.Unlock()
	if wanted == nil || d.Reset.IsZero() {
		return m
	}
	every, required := wanted()
	m.count, m.dying = uint32(d.Reset.Sub(d.Hard)/time.Millisecond), uint32(every/time.Millisecond)
	if required {
		m.flags |= flagDogRequired
	}
	return m
}

// hearDog takes the state of the watchdog device; c.mu is held. An arm that was
// sent meanwhile may be refused with it.
func (c *Client) hearDog(m message) {
	was, now := c.state.Watchdog, dogState(m)
	c.state.Watchdog = now
	switch {
	case now.Trouble != "" && now.Trouble != was.Trouble:
		c.log.Warn("watchdog device", "trouble", now.Trouble)
	case now.Active && !was.Active:
		c.log.Info("watchdog device is active: it resets this host unless the lease is renewed", "timeout", now.Timeout)
	case was.Active && !now.Active && !now.Kept:
		c.log.Info("watchdog device is disarmed")
	}
	if now.Failed && c.waiting != 0 && m.nonce == c.waiting && c.strict {
		c.settle(fmt.Errorf("%w: %s", ErrWatchdog, now.Trouble))
	}
	c.signal()
}

// Watchdog returns what is known about the watchdog device.
func (c *Client) Watchdog() watchdog.State { return c.State().Watchdog }

func ms(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }
