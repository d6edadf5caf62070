package sim

import (
	"sort"
	"strconv"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
)

// session is a lease: its owner and when it ends.
type session struct {
	id      string
	member  int
	ttl     time.Duration // as granted
	counted time.Duration // true time from which the store counts
	ends    time.Duration // true time
	timer   uint64
}

// open begins a session, of the length that the store grants.
func (s *store) open(member int, ttl time.Duration) *session {
	s.opened++
	if most := s.w.model.most; most > 0 {
		ttl = min(ttl, most)
	}
	x := &session{id: "s" + strconv.Itoa(s.opened), member: member, ttl: ttl}
	s.sessions[x.id] = x
	s.touch(x)
	return x
}

// touch starts the session's timer anew. The store looks at its timers at
// intervals, so that a session may live a little longer than it must; one that
// counts coarsely may count from up to a tick before.
func (s *store) touch(x *session) {
	x.timer++
	timer, m := x.timer, &s.w.model
	x.counted = max(x.counted, s.w.now-m.upTo(m.tick))
	d := time.Duration(float64(x.ttl) / s.rate)
	x.ends = x.counted + d
	s.w.after(x.ends-s.w.now+s.w.upTo(s.w.cfg.expirySlop)+m.upTo(m.tick), func() {
		if x.timer == timer && s.sessions[x.id] == x {
			s.expire(x)
		}
	})
}

// expire ends a session that was not renewed; without a quorum nothing ends,
// and when the store comes back its timers start anew.
func (s *store) expire(x *session) {
	if s.down {
		return
	}
	s.w.tracef("store: session %s of %s ends", x.id, s.w.members[x.member].name)
	s.end(x.id)
}

// restartTimers is what a new leader of the store does.
func (s *store) restartTimers() {
	s.extended = s.w.now
	for _, id := range s.ids() {
		s.touch(s.sessions[id])
	}
}

// ids lists the sessions.
func (s *store) ids() []string {
	ids := make([]string, 0, len(s.sessions))
	for id := range s.sessions {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	return ids
}

func (s *store) renew(id string) error {
	x := s.sessions[id]
	if x == nil {
		return dcs.ErrSessionGone
	}
	s.touch(x)
	return nil
}
