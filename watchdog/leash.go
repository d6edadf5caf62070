package watchdog

import (
	"errors"
	"fmt"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

const (
	// tries bounds how often one Feed is repeated because the host was slow.
	tries = 5
	// idleTimeout is what a device that cannot be stopped is set to while the
	// server is not a writer.
	idleTimeout = time.Minute
	// forgive is how long a failure stands: then the device may be tried again.
	forgive = time.Minute
)

// leash is what a Dog does with its device; one goroutine owns it.
type leash struct {
	o       Options
	dev     Device
	timeout time.Duration // as the driver made it; 0: not known
	reset   boot.Instant  // when the newest Feed has the host reset
	tight   bool          // the timeout can follow the time that is left until then
	state   State
	failed  boot.Instant // when the last Feed that was in vain came
}

// recover takes over a device that was left running. It is not fed: nobody has
// shown yet that it may be.
func (l *leash) recover() {
	path := l.readMark()
	if path == "" {
		return
	}
	dev, err := l.o.Open(path)
	if err != nil {
		l.state.Trouble = fmt.Sprintf("a former guard left the watchdog running, and this host will be reset unless it was stopped since: %v", err)
		return
	}
	l.dev, l.state.Left = dev, true
}

// feed gives the device what is left until the reset.
func (l *leash) feed(f Feed) {
	trouble, err := l.arm(f)
	l.state.Answered, l.state.Failed, l.state.Trouble = f.Nonce, err != nil, trouble
	if err != nil {
		l.state.Trouble, l.failed = err.Error(), l.o.Clock.Now()
	}
}

// arm feeds the device, and once more where it took so long that the ping came
// too late for the timeout. The error says that it does not protect; trouble,
// that it does so badly.
func (l *leash) arm(f Feed) (trouble string, err error) {
	for range tries {
		trouble, err = l.armOnce(f)
		if err != nil || trouble != "" || l.o.Clock.Now().Add(l.state.Timeout) <= f.Reset {
			break
		}
	}
	return trouble, err
}

func (l *leash) armOnce(f Feed) (trouble string, err error) {
	room := f.Reset.Sub(l.o.Clock.Now()).Truncate(time.Second)
	if room < time.Second {
		// The guard kills now; a device that runs does what it was told last.
		return "", errors.New("the lease is too short for the watchdog, or its confirmation came too late")
	}
	if l.dev == nil {
		if err := l.open(); err != nil {
			return "", err
		}
	}
	got, err := l.set(room)
	if err != nil {
		l.drop()
		return "", err
	}
	switch {
	case got > room && f.Required:
		l.drop()
		return "", fmt.Errorf("%s resets this host only after %v, and the lease has ended by then: raise ttl, or take another driver", l.o.Device, got)
	case got > room:
		trouble = fmt.Sprintf("%s resets this host only after %v, when the lease may have ended", l.o.Device, got)
	case got < room && got < f.Every:
		l.drop()
		return "", fmt.Errorf("%s resets this host after %v, and renewals are %v apart: lower loop_wait, or take another driver", l.o.Device, got, f.Every)
	case got < room:
		trouble = fmt.Sprintf("%s resets this host after %v without a renewal, before the lease demands it", l.o.Device, got)
	case !l.dev.Stoppable():
		trouble = fmt.Sprintf("%s is stopped by the kernel when its holder is killed, so it does not help then", l.o.Device)
	}
	if err := l.dev.Ping(); err != nil {
		// Not stopped: it may run, and the server may be a writer.
		l.close(false)
		return "", err
	}
	l.state.Active, l.state.Timeout, l.state.Kept, l.state.Left = true, got, false, false
	l.reset, l.tight = f.Reset, got == room
	return trouble, nil
}

func (l *leash) open() error {
	// The mark first: who dies between the two leaves at worst a device to the next
	// one that does not run.
	marked := l.readMark() != ""
	if err := l.writeMark(); err != nil {
		return err
	}
	dev, err := l.o.Open(l.o.Device)
	if err != nil {
		if !marked { // else it is another guard's, which holds the device
			l.removeMark()
		}
		return err
	}
	l.dev, l.timeout = dev, 0
	return nil
}

// set makes the device's timeout t, as far as the driver can.
func (l *leash) set(t time.Duration) (time.Duration, error) {
	if l.timeout == t {
		return t, nil
	}
	got, err := l.dev.SetTimeout(t)
	if err != nil && !errors.Is(err, ErrFixed) {
		return 0, err
	}
	l.timeout = got
	return got, nil
}

// tighten shortens the timeout to what is left, so that the reset stays where it
// is even if the kernel feeds the device when its holder is killed. It never
// moves the reset away: a device that cannot be set so short is left as it is.
func (l *leash) tighten() {
	room := l.reset.Sub(l.o.Clock.Now()).Truncate(time.Second)
	if room >= l.timeout {
		return
	}
	if room < time.Second {
		l.tight = false
		return
	}
	got, err := l.set(room)
	if l.tight = err == nil && got == room; !l.tight {
		return
	}
	if err := l.dev.Ping(); err != nil {
		l.tight = false // the next Feed finds out
	}
}

// drop gives up a device that is of no use before the server becomes a writer. A
// device that ran for a writer goes on running: that it is too short or too long
// now is no reason to do without.
func (l *leash) drop() {
	if !l.state.Active {
		l.stop()
	}
}

// rest disarms the device.
func (l *leash) rest() {
	if !l.state.Failed { // which stands for a while, with its reason
		l.state.Trouble = ""
	}
	if l.dev == nil {
		l.recover() // a Ping that failed let go of it, and it may run
	}
	if l.dev != nil {
		l.stop()
	}
}

// stop disarms the open device and closes it, or keeps it alive.
func (l *leash) stop() {
	err := l.dev.Stop()
	if errors.Is(err, ErrNoWayOut) {
		l.keep()
		return
	}
	if cerr := l.close(true); err != nil || cerr != nil {
		l.state.Trouble = fmt.Sprintf("the watchdog may not be disarmed, and reset this host: %v", errors.Join(err, cerr))
		return
	}
	l.removeMark()
}

// keep feeds a device that cannot be stopped.
func (l *leash) keep() {
	l.state.Active, l.state.Left = false, false
	if got, err := l.set(idleTimeout); err == nil {
		l.state.Timeout = got
	}
	if err := l.dev.Ping(); err != nil {
		l.close(false)
		l.state.Trouble = fmt.Sprintf("the watchdog cannot be stopped, and will reset this host: %v", err)
		return
	}
	l.state.Kept = true
	l.state.Trouble = fmt.Sprintf("%s: %v: it is fed while the guard runs; when the guard ends, this host is reset within %v", l.o.Device, ErrNoWayOut, l.state.Timeout)
}

func (l *leash) close(stopped bool) error {
	err := l.dev.Close(stopped)
	l.dev, l.timeout = nil, 0
	l.state.Active, l.state.Kept, l.state.Left, l.state.Timeout = false, false, false, 0
	return err
}

// end lets the device go. One that runs goes on.
func (l *leash) end() {
	if l.dev != nil {
		l.close(false)
	}
}

// again is when to tick.
func (l *leash) again() time.Duration {
	switch {
	case l.state.Kept:
		return max(l.state.Timeout/4, 100*time.Millisecond)
	case l.state.Active && l.tight:
		return time.Second
	case l.state.Failed:
		return max(l.failed.Add(forgive).Sub(l.o.Clock.Now()), time.Millisecond)
	}
	return time.Hour
}

// tick does what the time demands.
func (l *leash) tick() {
	if l.state.Active && l.tight {
		l.tighten()
	}
	if l.state.Kept {
		if err := l.dev.Ping(); err != nil {
			l.close(false)
			l.state.Trouble = fmt.Sprintf("the watchdog cannot be stopped, and will reset this host: %v", err)
		}
	}
	if l.state.Failed && l.o.Clock.Now().Sub(l.failed) >= forgive {
		l.state.Failed = false
		if !l.state.Active && !l.state.Kept {
			l.state.Trouble = ""
		}
	}
}
