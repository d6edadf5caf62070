package watchdog

import (
	"runtime"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// Options say which device a Dog keeps, and how.
type Options struct {
	// Device is its path.
	Device string
	// Mark is the file that tells a later Dog that this one left the device
	// running; empty: none.
	Mark string
	// Open replaces the kernel's interface in tests.
	Open  func(path string) (Device, error)
	Clock clock.Clock
	// Changed is called after State changed, or a Feed was answered. It returns at
	// once.
	Changed func()
	// Thread is called on the thread that speaks to the device, which is its own.
	Thread func()
}

// Feed is what a confirmed renewal allows: the host is to be reset at Reset, and
// not within Every from now, when the next renewal is due. Required: a device
// that resets it only later is of no use.
type Feed struct {
	Reset    boot.Instant
	Every    time.Duration
	Required bool
	// Nonce comes back in State.Answered.
	Nonce uint64
}

// State is what is known about the device.
type State struct {
	// Active: the host is reset when the device is not fed for Timeout.
	Active  bool
	Timeout time.Duration
	// Kept: the server is not a writer, and the device cannot be stopped: it is fed
	// by a timer, and the host is reset when the guard ends.
	Kept bool
	// Left: a former guard left the device running; it is neither fed nor stopped
	// until somebody says what the server is.
	Left bool
	// Trouble is why the device is of no use, or of less than it should be.
	Trouble string
	// Failed: the last Feed was in vain. After a while it says so no more, so that
	// it may be tried again.
	Failed bool
	// Answered is the nonce of the last Feed that was carried out.
	Answered uint64
}

// Dog keeps one device. A thread of its own speaks to the device, since some
// drivers take their time; the methods never wait for it.
type Dog struct {
	o    Options
	wake chan struct{}
	done chan struct{}

	mu     sync.Mutex
	wish   wish // the newest that was not carried out
	busy   bool // there is one, or it is being carried out
	ending bool
	state  State
}

// wish is one word to the Dog; only the newest counts.
type wish struct {
	kind wishKind
	feed Feed
}

type wishKind int

const (
	nothing wishKind = iota
	feeding
	resting
)

// New returns a Dog. A device that a former one left running is opened at once;
// otherwise nothing is touched before the first Feed.
func New(o Options) *Dog {
	if o.Open == nil {
		o.Open = openDevice
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	d := &Dog{o: o, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l := &leash{o: o}
	l.recover()
	d.state = l.state
	go d.run(l)
	return d
}

// Feed lets the device run until f.Reset.
func (d *Dog) Feed(f Feed) { d.say(wish{feeding, f}) }

// Rest says that the server is certainly not a writer.
func (d *Dog) Rest() { d.say(wish{kind: resting}) }

// Close lets the device go as it is: disarmed, or running.
func (d *Dog) Close() {
	d.mu.Lock()
	d.ending = true
	d.mu.Unlock()
	d.poke()
	<-d.done
}

// Busy reports whether the newest word is not carried out yet. Changed is called
// when it is.
func (d *Dog) Busy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.busy
}

// State returns a copy of what is known.
func (d *Dog) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

func (d *Dog) say(w wish) {
	d.mu.Lock()
	d.wish, d.busy = w, true
	d.mu.Unlock()
	d.poke()
}

func (d *Dog) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *Dog) take() (w wish, ending bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w, d.wish = d.wish, wish{}
	return w, d.ending
}

// publish tells what was done.
func (d *Dog) publish(st State) {
	d.mu.Lock()
	changed := d.state != st || d.busy
	d.state, d.busy = st, d.wish.kind != nothing
	d.mu.Unlock()
	if changed && d.o.Changed != nil {
		d.o.Changed()
	}
}

// run carries out one wish after the other.
func (d *Dog) run(l *leash) {
	defer close(d.done)
	runtime.LockOSThread()
	if d.o.Thread != nil {
		d.o.Thread()
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(l.again())
		select {
		case <-d.wake:
		case <-timer.C:
		}
		w, ending := d.take()
		switch w.kind {
		case feeding:
			l.feed(w.feed)
		case resting:
			l.rest()
		case nothing:
			l.tick()
		}
		d.publish(l.state)
		if ending {
			l.end()
			return
		}
	}
}
