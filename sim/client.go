package sim

import (
	"slices"
	"time"

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
	born   time.Duration
	warned bool // its wait was cancelled: the client knows that it may be lost
}

// clients write all the time: one through the entrypoint, one directly to
// whatever server takes it.
type clients struct {
	w    *world
	node int
}

func (c *clients) start() {
	c.w.after(c.w.cfg.writeEvery, c.through)
	c.w.after(c.w.cfg.writeEvery, c.direct)
}

// through writes by way of the entrypoint.
func (c *clients) through() {
	w := c.w
	w.after(w.cfg.writeEvery/2+w.upTo(w.cfg.writeEvery), c.through)
	if m := w.entry.open(); m != nil {
		c.write(m.server, w.entry.session)
	}
}

// direct tries any server, as a client does that was configured by hand.
func (c *clients) direct() {
	w := c.w
	w.after(w.cfg.writeEvery/2+w.upTo(w.cfg.writeEvery), c.direct)
	first := w.rng.IntN(len(w.members))
	for i := range w.members {
		if s := w.members[(first+i)%len(w.members)].server; s.writable() {
			c.write(s, 0)
			return
		}
	}
}

// write begins a transaction; the server acknowledges it when it is flushed,
// here and where the server must wait for it.
func (c *clients) write(s *server, via int) {
	w := c.w
	if !s.writable() || s.paused || !w.net.both(c.node, s.m.index) {
		return
	}
	size := wal.LSN(100 + w.rng.IntN(400))
	if w.rng.IntN(16) == 0 {
		size += wal.LSN(w.rng.IntN(w.cfg.burst))
	}
	born := w.now
	s.later(time.Millisecond+s.slow(), s.life, func() {
		if !s.writable() {
			return
		}
		if s.noSpace() {
			return
		}
		s.append(size)
		x := &commit{s: s, branch: s.branch, lsn: s.end, reign: s.reign, sync: len(s.syncNames) > 0, via: via, born: born}
		if s.flushed(x) {
			c.reply(x)
			return
		}
		s.waiters = append(s.waiters, x)
		s.mayCancel(x)
	})
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
			w.clients.reply(x)
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
			s.m.w.clients.reply(x)
		} else {
			left = append(left, x)
		}
	}
	s.waiters = left
}

// reply is the moment of the acknowledgement, if it reaches the client.
func (c *clients) reply(x *commit) {
	w := c.w
	if x.s.m.closed() {
		w.stats.Seen.Closed++
		return
	}
	if !w.net.open(x.s.m.index, c.node) || x.via != 0 && !w.entry.alive(x.via) {
		return
	}
	w.stats.Commits++
	w.check.acked(x)
}

// entrypoint follows the leader of the view, and believes it as long as the
// leader itself said that its lease lasts.
type entrypoint struct {
	w        *world
	node     int
	view     *snapshot
	target   *member
	session  int
	deadline time.Duration
	watch    *watcher
}

func (e *entrypoint) start() {
	e.watch = e.w.store.watch(e.node, e.see, func() {
		e.w.after(time.Second, e.start)
	})
	e.watch.changed()
	if e.session == 0 {
		e.session = 1
		e.ask()
	}
}

func (e *entrypoint) see(x *snapshot) {
	e.view = x
	m := e.w.member(x.view.Leader.Name)
	if m == e.target || m == nil {
		return
	}
	e.target, e.deadline = m, 0
	e.session++
	e.question()
}

// ask questions the leader for ever.
func (e *entrypoint) ask() {
	e.question()
	e.w.after(700*time.Millisecond+e.w.upTo(400*time.Millisecond), e.ask)
}

func (e *entrypoint) question() {
	w, m, asked := e.w, e.target, e.w.now
	if m == nil {
		return
	}
	w.net.send(e.node, m.index, func() {
		m.agent.in(m.agent.epoch, func() {
			k := &m.agent.keeper
			left := k.deadlines.Hard.Sub(m.host.now())
			if !k.held || left <= 0 || !m.server.writable() {
				return
			}
			w.net.send(m.index, e.node, func() {
				if e.target == m {
					e.extend(asked + left - left/200)
				}
			})
		})
	})
}

func (e *entrypoint) extend(to time.Duration) {
	if e.w.now > e.deadline {
		e.session++
	}
	e.deadline = max(e.deadline, to)
}

// open returns the server that a new session goes to.
func (e *entrypoint) open() *member {
	if e.target == nil || e.w.now >= e.deadline {
		return nil
	}
	return e.target
}

// alive: the session was not cut.
func (e *entrypoint) alive(session int) bool { return e.session == session && e.w.now < e.deadline }
