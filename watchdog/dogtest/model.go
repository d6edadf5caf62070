// Package dogtest has a watchdog device for tests, which behaves like the core
// of the Linux kernel's watchdog drivers, and resets nothing: as a value (Model),
// and as a file that other processes open (Mount).
package dogtest

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Model is one device. Set its properties before it is used.
type Model struct {
	NoWayOut  bool          // it cannot be stopped
	NoMagic   bool          // the driver does not know the letter V: closing stops it
	NoOptions bool          // the driver does not have WDIOC_SETOPTIONS
	Fixed     bool          // its timeout cannot be changed
	Longest   time.Duration // longer timeouts are refused; 0: an hour
	Default   time.Duration // the timeout at first; 0: a minute
	Broken    bool          // pings fail

	mu      sync.Mutex
	open    bool
	active  bool
	letter  bool // V was the last that was written
	timeout time.Duration
	due     time.Time // when it fires
	fired   bool
	log     []string
	pings   int
}

// Open opens it, which starts it.
func (m *Model) Open() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open {
		return unix.EBUSY
	}
	if m.timeout == 0 {
		m.timeout = max(m.Default, 0)
		if m.timeout == 0 {
			m.timeout = time.Minute
		}
	}
	m.open, m.letter = true, false
	if !m.active { // one that runs is not pinged by the opening
		m.active = true
		m.start()
	}
	m.note("open")
	return nil
}

// Options are the driver's WDIOF_*.
func (m *Model) Options() uint32 {
	o := uint32(unix.WDIOF_KEEPALIVEPING)
	if !m.Fixed {
		o |= unix.WDIOF_SETTIMEOUT
	}
	if !m.NoMagic {
		o |= unix.WDIOF_MAGICCLOSE
	}
	return o
}

// Write pings it.
func (m *Model) Write(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.look()
	if m.Broken {
		return unix.EIO
	}
	m.letter = false
	for _, c := range b {
		m.letter = m.letter || c == 'V'
	}
	if m.active && len(b) > 0 {
		m.start()
		m.pings++
	}
	m.note("write " + string(b))
	return nil
}

// SetTimeout sets it, in seconds.
func (m *Model) SetTimeout(t time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.look()
	longest := m.Longest
	if longest == 0 {
		longest = time.Hour
	}
	if m.Fixed {
		return unix.EOPNOTSUPP
	}
	if t < time.Second || t > longest {
		return unix.EINVAL
	}
	m.timeout = t
	if m.active {
		m.start() // the core pings after it
	}
	m.note(fmt.Sprint("timeout ", t))
	return nil
}

// Timeout returns it.
func (m *Model) Timeout() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.timeout
}

// Disable is WDIOC_SETOPTIONS with WDIOS_DISABLECARD.
func (m *Model) Disable() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.look()
	switch {
	case m.NoOptions:
		return unix.EOPNOTSUPP
	case m.NoWayOut:
		return unix.EBUSY
	}
	m.active = false
	m.note("disable")
	return nil
}

// Close closes it: after the letter, or with a driver that does not know it, it
// stops; otherwise it is pinged once more.
func (m *Model) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.look()
	if m.active && (m.letter || m.NoMagic) && !m.NoWayOut {
		m.active = false
	}
	if m.active {
		m.start()
	}
	m.open = false
	m.note("close")
}

// start begins to count anew; m.mu is held.
func (m *Model) start() { m.due = time.Now().Add(m.timeout) }

// look notices that it has fired; m.mu is held.
func (m *Model) look() {
	if m.active && !time.Now().Before(m.due) {
		m.fired = true
	}
}

func (m *Model) note(what string) { m.log = append(m.log, what) }

// State says how a device stands.
type State struct {
	Open, Active, Fired bool
	Left                time.Duration // until it fires
	Pings               int
}

// State returns it.
func (m *Model) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.look()
	s := State{Open: m.open, Active: m.active, Fired: m.fired, Pings: m.pings}
	if m.active {
		s.Left = time.Until(m.due)
	}
	return s
}

// Log returns what was done to it, oldest first.
func (m *Model) Log() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.log...)
}
