package proxy

import (
	"container/list"
	"sync"
)

// lobby has the clients whose next packet, or handshake, is awaited. Each costs a
// descriptor and memory and has told nothing yet, so their number is bounded: when one
// too many comes, the one that waits longest is shown out. Clients that speak are gone
// from here within milliseconds, so that is one of those that do not.
type lobby struct {
	limit int

	mu      sync.Mutex
	waiting list.List // of *session; the oldest first
}

// enter admits a session until leave is called. It reports whether another one had to
// go for it.
func (l *lobby) enter(s *session) (leave func(), crowded bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if crowded = l.waiting.Len() >= l.limit; crowded {
		oldest := l.waiting.Front()
		l.waiting.Remove(oldest).(*session).interrupt()
	}
	place := l.waiting.PushBack(s)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waiting.Remove(place) // nothing, for one that was shown out
	}, crowded
}

// await is enter, with a word to the log at most every so often.
func (s *session) await() (leave func()) {
	leave, crowded := s.p.lobby.enter(s)
	if !crowded {
		return leave
	}
	s.port.malformed.Add(1)
	now := int64(s.p.o.Clock.Now())
	if said := s.p.crowded.Load(); (said == 0 || now-said > int64(complainAgain)) && s.p.crowded.CompareAndSwap(said, now) {
		s.p.o.Logger.Warn("too many clients have connected and send nothing: those that wait longest are turned away",
			"limit", s.p.o.StartupLimit, "newest", s.from())
	}
	return leave
}
