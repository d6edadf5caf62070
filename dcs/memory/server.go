package memory

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// bindingPrefix begins dcs.Handle.Store.
const bindingPrefix = "memory-"

// servers counts the servers of this process, all of which have one StoreID.
var servers atomic.Int64

// Server shares one Core between the stores of several members.
type Server struct {
	clk    clock.Clock
	number int64

	mu      sync.Mutex
	core    *Core
	changed chan struct{} // closed and replaced at every change
}

// NewServer returns an empty store that reads its time from clk.
func NewServer(clk clock.Clock) *Server {
	s := &Server{clk: clk, number: servers.Add(1), core: NewCore("memory"), changed: make(chan struct{})}
	s.core.OnChange = s.wake
	s.core.Tick(clk.Now())
	return s
}

// Connect returns a new connection, with a fault state of its own.
func (s *Server) Connect() *Store {
	return &Store{server: s, cut: make(chan struct{})}
}

// binding is dcs.Handle.Store of this server's sessions.
func (s *Server) binding() string { return bindingPrefix + strconv.FormatInt(s.number, 10) }

// Do runs f on the state, brought up to now: for a test that looks at or
// damages the store itself.
func (s *Server) Do(f func(*Core)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.Tick(s.clk.Now())
	f(s.core)
}

// Tick ends the sessions that are over by now. Only a test with a fake clock
// needs it, to make watchers see the end of a session at once.
func (s *Server) Tick() { s.Do(func(*Core) {}) }

// wake is called with the lock held.
func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// observe returns the state, a channel that closes at the next change, and how
// long to wait at most before looking again because a session may end.
func (s *Server) observe() (snap dcs.Snapshot, changed <-chan struct{}, again time.Duration) {
	again = time.Hour
	s.Do(func(c *Core) {
		snap, changed = c.Snapshot(), s.changed
		if at := c.NextExpiry(); !at.IsZero() {
			again = max(time.Millisecond, at.Sub(c.now))
		}
	})
	return snap, changed, again
}
