package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// commit is one transaction of a client, from the server's side.
type commit struct {
	s      *server
	branch *branch
	lsn    wal.LSN
	reign  int
	sync   bool // the server waited for a standby
	via    int  // session of the entrypoint it came through, 0 for none
	warned bool // its wait was cancelled: the client knows that it may be lost
	op     *op  // what it writes into the register, nil for nothing

	protects bool // when its wait ended, no failover could lose it any more
	epoch    int  // of the checker then: a sync key that goes back ends that
}

// clients write all the time: one through the entrypoint, which also reads what
// is written there, one directly to whatever server takes it. Their draws come
// from a source of their own: what they do does not change what members do.
type clients struct {
	w    *world
	node int
	rng  *rand.Rand
	held bool // a statement waits for the entrypoint to serve
}

func newClients(w *world, seed uint64) *clients {
	return &clients{w: w, node: w.cfg.members + 1, rng: rand.New(rand.NewPCG(seed, 6))}
}

func (c *clients) upTo(d time.Duration) time.Duration {
	return time.Duration(c.rng.Int64N(int64(d) + 1))
}

func (c *clients) start() {
	c.w.entry.opened = c.opened
	c.w.after(c.w.cfg.writeEvery, c.through)
	c.w.after(c.w.cfg.writeEvery, c.direct)
}

// through writes by way of the entrypoint, and reads a moment later.
func (c *clients) through() {
	w := c.w
	w.after(w.cfg.writeEvery/2+c.upTo(w.cfg.writeEvery), c.through)
	c.held = w.entry.backend() == nil
	if !c.held {
		c.putThrough()
	}
	w.after(c.upTo(w.cfg.writeEvery), c.getThrough)
}

// opened lets a held client go: nobody is faster to a new primary.
func (c *clients) opened() {
	if c.held {
		c.held = false
		c.putThrough()
		c.getThrough()
	}
}

func (c *clients) putThrough() {
	e := c.w.entry
	m, session := e.backend(), e.session
	if m == nil {
		return
	}
	o := c.w.check.register.begin(c.w.now, true)
	e.send(e.node, m.index, func() { c.write(m.server, session, o) })
}

// getThrough reads the register. The server that answers may have changed its
// role since the session was let through: PostgreSQL says which it is in.
func (c *clients) getThrough() {
	w, e := c.w, c.w.entry
	m, session := e.backend(), e.session
	if m == nil {
		return
	}
	o := w.check.register.begin(w.now, false)
	e.send(e.node, m.index, func() {
		s := m.server
		s.later(time.Millisecond, s.life, func() {
			if s.proc != ha.ProcessRunning {
				return
			}
			seen := w.check.register.read(o, s)
			if m.closed() {
				return
			}
			e.send(m.index, e.node, func() {
				if e.alive(session) && w.now >= m.robbed && !e.misled(m) {
					seen()
					w.check.register.end(o, w.now)
				}
			})
		})
	})
}

// direct tries any server, as a client does that was configured by hand.
func (c *clients) direct() {
	w := c.w
	w.after(w.cfg.writeEvery/2+c.upTo(w.cfg.writeEvery), c.direct)
	first := c.rng.IntN(len(w.members))
	for i := range w.members {
		if s := w.members[(first+i)%len(w.members)].server; s.writable() {
			if w.net.both(c.node, s.m.index) {
				c.write(s, 0, nil)
			}
			return
		}
	}
}

// write begins a transaction; the server acknowledges it when it is flushed,
// here and where the server must wait for it.
func (c *clients) write(s *server, via int, o *op) {
	if !s.writable() || s.paused {
		return
	}
	size := wal.LSN(100 + c.rng.IntN(400))
	if c.rng.IntN(16) == 0 {
		size += wal.LSN(c.rng.IntN(c.w.cfg.burst))
	}
	s.later(time.Millisecond+s.slow(), s.life, func() {
		if !s.writable() || o != nil && s.registerLocked() {
			return
		}
		if s.noSpace() {
			return
		}
		s.append(size)
		x := &commit{s: s, branch: s.branch, lsn: s.end, reign: s.reign, sync: len(s.syncNames) > 0, via: via, op: o}
		if o != nil {
			c.w.check.register.wrote(x)
		}
		if s.flushed(x) {
			c.release(x)
			return
		}
		s.waiters = append(s.waiters, x)
		s.mayCancel(x)
	})
}

// registerLocked: a transaction that wrote the register's row still waits for a
// standby, and holds the row's lock.
func (s *server) registerLocked() bool {
	return slices.ContainsFunc(s.waiters, func(x *commit) bool { return x.op != nil })
}

// flushed reports whether everybody the commit waits for has it.
func (s *server) flushed(x *commit) bool {
	for _, name := range s.syncNames {
		if !slices.ContainsFunc(s.tx, func(c *conn) bool { return c.to.m.name == name && c.flush >= x.lsn }) {
			return false
		}
	}
	return true
}

// mayCancel: some clients grow tired. PostgreSQL then answers that the commit is
// done, with a warning that it may not have been replicated.
func (s *server) mayCancel(x *commit) {
	w := s.m.w
	if n := w.cfg.wide.cancels; n == 0 || x.via != 0 || // the entrypoint forwards no such cancel
		w.more.IntN(n) > 0 {
		return
	}
	s.later(w.moreUpTo(2*time.Second), s.life, func() {
		if i := slices.Index(s.waiters, x); i >= 0 && s.writable() {
			s.waiters = slices.Delete(s.waiters, i, i+1)
			x.warned, x.sync = true, false
			w.stats.Seen.Cancelled++
			w.clients.release(x)
		}
	})
}

// acknowledge replies to those whose wait is over.
func (s *server) acknowledge() {
	if len(s.waiters) == 0 || !s.writable() || s.still() {
		return
	}
	var left []*commit
	for _, x := range s.waiters {
		if s.flushed(x) {
			x.sync = len(s.syncNames) > 0 // waiters are let go when nobody is waited for any more
			s.m.w.clients.release(x)
		} else {
			left = append(left, x)
		}
	}
	s.waiters = left
}

// release is the end of a commit's wait: others see it from now on, and its
// client is answered, if that gets through.
func (c *clients) release(x *commit) {
	w := c.w
	// After a sync key went back, a standby that it does not name may confirm what a
	// thawed host's server has not been stopped from asking yet.
	misled := w.now < w.check.syncLost || w.check.syncWent && w.check.exempt(x.s)
	x.protects = !x.warned && w.store.settings.SyncMode == cluster.SyncOn && w.store.view.Sync.Active() && !w.check.paused(x.s.m) && !misled
	x.epoch = w.check.epoch
	if x.op != nil {
		w.check.register.released(x)
	}
	if x.s.m.closed() {
		w.stats.Seen.Closed++
		return
	}
	if !w.net.open(x.s.m.index, c.node) {
		return
	}
	if x.via == 0 {
		w.stats.Commits++
		w.check.acked(x)
		w.check.told(x)
		return
	}
	if !w.entry.alive(x.via) {
		return
	}
	w.check.acked(x)
	w.entry.send(x.s.m.index, c.node, func() {
		if w.entry.alive(x.via) {
			w.stats.Commits++
			w.check.told(x)
			if w.now >= x.s.m.robbed {
				w.check.register.end(x.op, w.now)
			}
		}
	})
}
