package proxy

import (
	"cmp"
	"slices"
)

// ticket is a client's place among those that wait at a service with a limit of
// sessions. The table's lock guards all but turn.
type ticket struct {
	turn   chan struct{} // has something when it may be its turn
	number uint64        // rising, from when it first asked; 0: not yet
}

// ticket gives a client of a service with a limit a place to wait in.
func (s *service) ticket() *ticket {
	if s.policy.MaxConnections == 0 {
		return nil
	}
	return &ticket{turn: make(chan struct{}, 1)}
}

// woken is when the ticket may be tried; never without one.
func (tk *ticket) woken() <-chan struct{} {
	if tk == nil {
		return nil
	}
	return tk.turn
}

// enqueue puts a ticket where it belongs, and reports whether it is the first: whoever
// had its turn and could not connect keeps its place.
func (s *service) enqueue(tk *ticket) (first bool) {
	if tk.number == 0 {
		s.tickets++
		tk.number = s.tickets
	}
	at, found := s.place(tk)
	if !found {
		s.queue = slices.Insert(s.queue, at, tk)
	}
	return at == 0
}

// dequeue takes a ticket out, and lets the next one try.
func (s *service) dequeue(tk *ticket) {
	if tk == nil {
		return
	}
	if at, found := s.place(tk); found {
		s.queue = slices.Delete(s.queue, at, at+1)
	}
	s.callNext()
}

func (s *service) place(tk *ticket) (int, bool) {
	return slices.BinarySearchFunc(s.queue, tk, func(a, b *ticket) int { return cmp.Compare(a.number, b.number) })
}

// callNext lets the first in the queue try.
func (s *service) callNext() {
	if len(s.queue) == 0 {
		return
	}
	select {
	case s.queue[0].turn <- struct{}{}:
	default:
	}
}

// quit gives a place in the queue back.
func (t *table) quit(s *service, tk *ticket) {
	if tk == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.dequeue(tk)
}

// give ends a session's use of a backend. Where sessions are limited, whoever waits at
// the port may have its place; who wants what is known to the queues alone.
func (t *table) give(s *service, g *gate, a *account) {
	g.sessions.Add(-1)
	a.sessions.add(-1)
	if s.policy.MaxConnections == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, other := range t.services {
		if other.port == s.port {
			other.callNext()
		}
	}
}
