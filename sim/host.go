package sim

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

// host is a machine: its boot clock, its power, and whether it is frozen.
type host struct {
	m      *member
	rate   float64 // of its clock against true time
	origin boot.Instant
	booted time.Duration

	up       bool
	frozen   bool
	froze    time.Duration
	waiting  []func() // what happens once it is thawed
	slowDisk time.Duration
	full     bool
	stuck    bool // what touches the disk waits
	hung     bool // the agent's turns too
}

func newHost(m *member) *host {
	h := &host{m: m, rate: m.w.clockRate()}
	h.boot()
	return h
}

// boot starts the clock at an arbitrary reading: instants of two lives of a
// host, or of two hosts, cannot be compared.
func (h *host) boot() {
	h.origin = boot.Instant(time.Second) + boot.Instant(h.m.w.upTo(1000*time.Hour))
	h.booted, h.up = h.m.w.now, true
	h.m.w.voters.changed()
}

// at is the host's reading at an instant of true time.
func (h *host) at(t time.Duration) boot.Instant {
	if t < h.booted {
		return h.origin - 1
	}
	return h.origin.Add(time.Duration(float64(t-h.booted) * h.rate))
}

func (h *host) now() boot.Instant { return h.at(h.m.w.now) }

// until is how long, in true time, until the host's clock reads i.
func (h *host) until(i boot.Instant) time.Duration {
	d := time.Duration(float64(i.Sub(h.now())) / h.rate)
	return max(0, d+1)
}

func (h *host) thawed(fn func()) { h.waiting = append(h.waiting, fn) }

func (h *host) freeze() {
	h.m.agent.interrupted()
	h.frozen, h.froze = true, h.m.w.now
	h.m.w.voters.changed()
}

func (h *host) thaw() {
	if !h.frozen {
		return
	}
	h.frozen = false
	h.m.unarmed()
	h.m.w.voters.changed()
	if h.m.w.opt.Mutant == FrozenClock {
		h.origin = h.origin.Add(h.froze - h.m.w.now)
	}
	waiting := h.waiting
	h.waiting = nil
	// Nobody can say who runs first after a thaw.
	h.m.w.rng.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
	for _, fn := range waiting {
		fn := fn
		h.m.w.after(h.m.w.upTo(20*time.Millisecond), fn)
	}
	h.release()
}

// release lets the server's processes go on, if nothing else holds them.
func (h *host) release() {
	s := h.m.server
	if s.still() {
		return
	}
	waiting := s.waiting
	s.waiting = nil
	h.m.w.more.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
	for _, fn := range waiting {
		h.m.w.after(h.m.w.moreUpTo(20*time.Millisecond), fn)
	}
}

// powerOff ends everything on the host at once.
func (h *host) powerOff() {
	h.up, h.frozen, h.waiting = false, false, nil
	h.m.w.voters.changed()
	h.m.agent.die()
	h.m.guard.die()
	h.m.server.die()
	h.m.liftFence()
	h.m.minds()
}

// powerOn boots the host; the agent starts as a service, if people have made it one
// already.
func (h *host) powerOn() {
	if h.up || h.m.gone {
		return
	}
	h.boot()
	if !h.m.joined {
		return
	}
	h.m.agent.startAfter(200*time.Millisecond + h.m.w.upTo(2*time.Second))
}
