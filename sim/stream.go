package sim

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// conn is one stream from a walsender to a WAL receiver.
type conn struct {
	from, to *server
	busy     bool // a batch is on its way
	dead     bool
	flush    wal.LSN // what the standby confirmed, as the sender knows it
	broken   time.Duration
}

// reconnect lets the standby try its upstream after d, and again until it
// streams.
func (s *server) reconnect(d time.Duration) {
	s.retry++
	retry := s.retry
	w := s.m.w
	s.later(d+20*time.Millisecond+w.upTo(300*time.Millisecond), s.life, func() {
		if s.retry != retry || s.rx != nil || s.upstream.IsZero() || s.role != ha.ServerStandby || s.promote {
			return
		}
		if !s.connect() {
			s.reconnect(time.Second + w.upTo(time.Second))
		}
	})
}

// connect tries to stream from the upstream. What PostgreSQL refuses is decided
// by timeline numbers, histories and positions, never by identity.
func (s *server) connect() bool {
	w := s.m.w
	up := w.member(s.upstream.Name)
	if up == nil || up == s.m {
		return false
	}
	o := up.server
	if o.proc != ha.ProcessRunning || o.still() || o.deaf || up.closed() || !w.net.both(s.m.index, up.index) {
		return false
	}
	if o.sysID != s.sysID || !acceptsStream(s, o) {
		return false
	}
	if s.removed = s.end < o.oldest; s.removed {
		w.stats.Seen.WALRemoved++
		w.tracef("%s: requested WAL segment has already been removed: it has %s, and %s keeps from %s", s.m.name, s.end, up.name, o.oldest)
		return false
	}
	if !o.branch.contains(o.end, s.branch, s.end) {
		w.check.mixedStream(s, o)
	}
	s.rx = &conn{from: o, to: s, flush: s.end}
	o.tx = append(o.tx, s.rx)
	s.knownTL = max(s.knownTL, o.knownTL)
	s.told = max(s.told, s.end)
	s.m.agent.serverChanged()
	s.rx.push()
	return true
}

// acceptsStream is the walsender's and the receiver's word on a start point.
func acceptsStream(s, o *server) bool {
	mine, theirs := s.position(), o.position()
	switch {
	case theirs.Timeline < mine.Timeline:
		return false
	case theirs.Timeline == mine.Timeline:
		return mine.LSN <= theirs.LSN
	}
	at, known := o.branch.at(o.end).history.SwitchOf(mine.Timeline)
	return known && mine.LSN <= at
}

// feed pushes new WAL to everybody who streams.
func (s *server) feed() {
	for _, c := range s.tx {
		c.push()
	}
}

func (c *conn) push() {
	if c.busy || c.dead || c.to.end == c.from.end && c.to.branch == c.from.branch {
		return
	}
	c.busy = true
	w := c.from.m.w
	b, end := c.from.branch, c.from.end
	w.after(w.net.delay(c.from.m.index, c.to.m.index)+c.to.slow(), func() { c.deliver(b, end) })
}

// deliver is the arrival of everything up to end. What the link loses, TCP
// sends again, until one side gives up.
func (c *conn) deliver(b *branch, end wal.LSN) {
	if c.dead {
		return
	}
	w := c.from.m.w
	if c.to.still() || c.from.m.closed() || !w.net.open(c.from.m.index, c.to.m.index) {
		c.broken += 300 * time.Millisecond
		if c.broken > w.cfg.receiverTimeout {
			c.to.lostUpstream(c)
			return
		}
		w.after(300*time.Millisecond, func() { c.deliver(b, end) })
		return
	}
	c.broken, c.busy = 0, false
	w.check.received(c.to, c.from)
	if c.to.noSpace() {
		return
	}
	c.to.receive(b, end)
	c.from.advance(c.to)
	if len(c.from.syncNames) == 0 {
		c.flush = c.to.end
	} else {
		c.confirm(c.to.end)
	}
	c.push()
}

// confirm carries the standby's flush position back.
func (c *conn) confirm(end wal.LSN) {
	w := c.from.m.w
	w.after(w.net.delay(c.to.m.index, c.from.m.index), func() {
		if c.dead || c.from.still() || !w.net.open(c.to.m.index, c.from.m.index) {
			return
		}
		if end > c.flush {
			c.flush = end
		}
		c.from.acknowledge()
	})
}

// receive writes what the upstream sent.
func (s *server) receive(b *branch, end wal.LSN) {
	s.branch, s.end = b, end
	s.told = max(s.told, end)
	s.knownTL = max(s.knownTL, b.timeline)
	s.hasCRC = true
	d := s.m.w.cfg.replay + s.slow()
	if d == 0 {
		s.replayed = s.end
	} else {
		s.later(s.m.w.upTo(d), s.life, func() { s.replayed = max(s.replayed, min(end, s.end)) })
	}
	s.feed()
}

// lostUpstream is the receiver's end of a broken stream.
func (s *server) lostUpstream(c *conn) {
	if s.rx != c {
		return
	}
	s.dropReceiver()
	s.reconnect(time.Second)
}

// dropReceiver ends the WAL receiver; its walsender learns of it.
func (s *server) dropReceiver() {
	s.retry++
	c := s.rx
	if c == nil {
		return
	}
	s.rx = nil
	c.dead = true
	from := c.from
	if i := slices.Index(from.tx, c); i >= 0 {
		from.tx = slices.Delete(from.tx, i, i+1)
	}
}

// senderGone is the end of the walsender: the standby sees the connection
// break, or, when nothing reaches it, notices after its timeout.
func (c *conn) senderGone() {
	if c.dead {
		return
	}
	c.dead = true
	w, to := c.from.m.w, c.to
	d := 5 * time.Millisecond
	if !c.from.m.host.up || !w.net.open(c.from.m.index, to.m.index) {
		d = w.cfg.receiverTimeout
	}
	life := to.life
	w.after(d, func() {
		if to.life == life {
			to.lostUpstream(c)
		}
	})
}
