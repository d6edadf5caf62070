package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/wal"
)

// ErrLeads: this member is, or may be, a leader itself.
var ErrLeads = errors.New("running as a leader")

// unreadablePromise is how long a promise is kept whose length cannot be read.
const unreadablePromise = 5 * time.Minute

// longestPromise is more than anybody asks for: a file that says more is none of ours.
const longestPromise = 24 * time.Hour

// fromReply is how much longer a promise lasts that is given to a leader that does
// not say how long it needs it: another program, which counts from when the last
// answer came, after two attempts of two seconds.
const fromReply = 2 * peerTimeout

// marker is kept in a file for as long as a promise lasts. An agent that starts
// and finds it does not know when the promise was given: it keeps the whole of it
// once more.
type marker struct {
	Leader string        `json:"leader"`
	Length time.Duration `json:"length"`
}

// promises are those that this member gave: not to take the lease before a time.
// Its lock stands between giving one and taking the lease, so that no question is
// answered while a take is under way whose outcome nobody knows. It is not held while
// the file is written: a disk that hangs must hold up neither the loop nor who asks
// how this member is.
type promises struct {
	opt  Options
	path string

	disk sync.Mutex // held by whoever changes the file; taken before mu

	mu     sync.Mutex
	leader string
	until  boot.Instant
	marked time.Duration // the length in the file; 0: there is none
	taking bool
	tidies bool // the file is being removed
}

func newPromises(o Options) *promises {
	p := &promises{opt: o, path: filepath.Join(o.StateDir, "failsafe_promise.json")}
	var m marker
	err := readState(p.path, &m)
	if errors.Is(err, fs.ErrNotExist) {
		return p
	}
	if err != nil || m.Length <= 0 || m.Length > longestPromise {
		o.Logger.Warn("a promise to leave the lease alone was given here, and its file cannot be read: keeping one", "file", p.path, "for", unreadablePromise, "error", err)
		m.Length = unreadablePromise
	}
	p.leader, p.until, p.marked = m.Leader, fence.Promised(o.Clock.Now(), m.Length), m.Length
	o.Logger.Info("this member had accepted a leader without the store before it was started: leaving the lease alone for as long as that may last",
		"leader", m.Leader, "for", m.Length)
	return p
}

// give makes a promise of that length from now on, unless this member holds the
// lease, or is about to. It survives a restart of the agent.
func (p *promises) give(leader string, length time.Duration, leads func() bool) error {
	p.disk.Lock()
	defer p.disk.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taking || leads() {
		return ErrLeads
	}
	if length > p.marked {
		p.mu.Unlock()
		err := writeState(p.path, marker{leader, length})
		p.mu.Lock()
		if err != nil {
			return fmt.Errorf("the promise could not be kept in a file, and would be forgotten by a restart: %w", err)
		}
		p.marked = length
		if p.taking || leads() {
			return ErrLeads // meanwhile
		}
	}
	// Read only now: writing took time, and the promise counts from when it holds.
	now := p.opt.Clock.Now()
	if now >= p.until {
		p.opt.Logger.Info("accepted a leader that cannot reach the store: leaving the lease alone", "leader", leader, "for", length)
	}
	p.leader, p.until = leader, max(p.until, fence.Promised(now, length))
	return nil
}

// beginTake excludes promises until endTake; it fails while one lasts.
func (p *promises) beginTake() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left := p.until.Sub(p.opt.Clock.Now()); left > 0 {
		return fmt.Errorf("%w: this member accepted %s as leader without the store and leaves the lease alone for another %s", errMoved, p.leader, left.Round(time.Millisecond))
	}
	p.taking = true
	return nil
}

func (p *promises) endTake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taking = false
}

// current is the promise that lasts, and forgets one that is over.
func (p *promises) current() (leader string, until boot.Instant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opt.Clock.Now() < p.until {
		return p.leader, p.until
	}
	if p.marked > 0 && !p.tidies {
		p.tidies = true
		go p.tidy()
	}
	return "", 0
}

// tidy removes the file of a promise that is over.
func (p *promises) tidy() {
	p.disk.Lock()
	defer p.disk.Unlock()
	p.mu.Lock()
	p.tidies = false
	over := p.marked > 0 && p.opt.Clock.Now() >= p.until
	if over {
		p.marked = 0
	}
	p.mu.Unlock()
	if !over {
		return
	}
	if err := os.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.opt.Logger.Warn("the file of a promise that is over cannot be removed: after a restart it is kept once more", "file", p.path, "error", err)
	}
}

// Accept answers a leader that cannot reach the store and asks to be left alone
// for that long (0: it does not say): nil is the promise that this member will not
// take the lease meanwhile. The errors are ErrLeads or a *Refused. It also says
// how far this member's log reaches.
func (a *Agent) Accept(leader string, length time.Duration) (wal.LSN, error) {
	s := a.Snapshot()
	ttl := s.Observation.Settings.TTL
	st := a.opt.Keeper.State()
	store, led := a.viewer.current(st.LastError), a.viewer.lastLeader()
	limit := min(max(2*ttl, unreadablePromise), longestPromise)
	switch server := s.Observation.Server; {
	case s.Observation.Now.IsZero():
		return 0, &Refused{"this member is starting"}
	case !s.Observation.Settings.Failsafe:
		return 0, &Refused{"failsafe_mode is off here"}
	case leader == "" || leader == a.opt.Name:
		return 0, &Refused{fmt.Sprintf("%q is no other member's name", leader)}
	case length < 0 || length > limit:
		return 0, &Refused{fmt.Sprintf("a promise for %s is more than the %s that the ttl here, %s, allows", length, limit, ttl)}
	case server.Role == ha.ServerPrimary && server.Process != ha.ProcessStopped && server.Process != ha.ProcessUnknown:
		return 0, ErrLeads
	case store.Known && store.Reachable && store.View.Leader.Held() && store.View.Leader.Name != leader:
		return 0, &Refused{fmt.Sprintf("the store answers here, and by it %s leads", store.View.Leader.Name)}
	case led != "" && led != leader:
		// The key may be gone by now; who asks lost it before that leader had it.
		return 0, &Refused{fmt.Sprintf("%s was the last leader that was seen here", led)}
	}
	if length == 0 {
		length = ttl + fromReply
	}
	if err := a.promises.give(leader, length, func() bool { return a.opt.Keeper.State().Held }); err != nil {
		if errors.Is(err, ErrLeads) {
			return 0, err
		}
		return 0, &Refused{err.Error()}
	}
	a.Wake()
	return max(s.Facts.Received, s.Facts.Replayed), nil
}

// FailsafeActive reports whether the members' word, not the store's, keeps a
// leader: this member's own lease, or that of one whom it accepted.
func (a *Agent) FailsafeActive() bool {
	st, now := a.opt.Keeper.State(), a.opt.Clock.Now()
	if st.Held && st.Promised(now) && (st.Adrift || st.Word.Sent > st.LastConfirmed) {
		return true
	}
	_, until := a.promises.current()
	return now < until
}
