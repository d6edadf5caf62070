package sim

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// server is a simulated PostgreSQL: a data directory, and sometimes processes.
type server struct {
	m *member
	disk

	// The processes.
	proc     ha.Process
	life     int // counts starts, so that what belongs to a dead server is dropped
	since    time.Duration
	started  time.Duration
	shutDown bool    // a primary's last record is written, and its postmaster lives
	stopAs   *branch // what it wrote when the restart stopFor stopped it as a primary
	stopFor  int
	replayed wal.LSN
	told     wal.LSN // what a standby can tell of its end since it was started: received or replayed
	promote  bool    // a promotion was ordered and cannot be called back
	rx       *conn
	tx       []*conn
	retry    uint64
	waiters  []*commit
	reign    int // number of the reign it is writable in, 0 when it is not
	diverged time.Duration
	stall    time.Duration // for how long it has led and could not commit
	copies   int           // how often its directory was made a copy
	proven   boot.Instant  // when it was last known to commit
	removed  bool          // what it needs next, nobody has any more

	paused  bool // by SIGSTOP: all of it
	deaf    bool // the postmaster at least
	doomed  bool // SIGKILL is pending, and the disk does not answer
	waiting []func()
}

// disk is the data directory, which survives crashes.
type disk struct {
	dir       ha.Dir
	sysID     string
	branch    *branch
	end       wal.LSN // end of what is on disk
	role      ha.ServerRole
	clean     bool
	rewinding bool // the mark beside the directory
	unproven  bool
	claim     cluster.Version // of initialize, when an unfinished bootstrap began
	syncNames []string
	slots     []cluster.SlotState
	upstream  ha.Upstream
	knownTL   wal.Timeline // highest number of its history files
	ckptTL    wal.Timeline
	hasCRC    bool // the segment of the branch's first record is at hand
	aside     []copyOf
	oldest    wal.LSN // where the WAL at hand begins
}

// copyOf is a data directory kept aside.
type copyOf struct {
	branch *branch
	end    wal.LSN
}

func newServer(m *member) *server {
	return &server{m: m, disk: disk{dir: ha.DirEmpty}, proc: ha.ProcessStopped}
}

// down: the last record is written; the postmaster may still wait.
func (s *server) down() bool { return s.proc == ha.ProcessStopped || s.shutDown }

// writable reports whether the server would accept a write now.
func (s *server) writable() bool {
	return s.proc == ha.ProcessRunning && s.role == ha.ServerPrimary
}

func (s *server) set(p ha.Process) {
	if s.proc != p {
		s.proc, s.since = p, s.m.w.now
		s.m.agent.serverChanged()
	}
}

// start begins a start; done is told when connections are accepted, or why not.
// What a postmaster does goes on without the agent that started it.
func (s *server) start(role ha.ServerRole, up ha.Upstream, done func(error)) {
	w := s.m.w
	switch {
	case s.proc != ha.ProcessStopped:
		done(errf("the server is %s", s.proc))
		return
	case s.dir != ha.DirPresent && s.dir != ha.DirUnfinished:
		done(errf("no server to start in the data directory"))
		return
	}
	if s.rewinding {
		w.check.startedRewinding(s)
	}
	s.life++
	life := s.life
	d := 100*time.Millisecond + w.upTo(w.cfg.start) + s.slow()
	if !s.clean {
		d += w.upTo(w.cfg.recovery)
	}
	fails := use(&s.m.fails.starts) || s.m.host.full
	was := s.role
	s.role, s.upstream, s.clean, s.started = role, up, false, w.now
	s.replayed = s.end
	s.begin(was, role, life)
	s.set(ha.ProcessStarting)
	s.m.guard.serverStarts()
	s.later(d, life, func() {
		if fails {
			w.stats.Seen.Refused++
			w.tracef("%s: the server does not start", s.m.name)
			s.die()
			return
		}
		if s.role == ha.ServerStandby {
			s.reconnect(0)
			s.awaitConsistency(life, w.now+startTimeout, done)
			return
		}
		s.set(ha.ProcessRunning)
		s.becomesWritable()
		done(nil)
	})
	s.onDeath(life, func() { done(errf("the server died while it started")) })
}

// startTimeout is how long the agent waits for a server that does not accept
// connections; the server goes on starting.
const startTimeout = 20 * time.Second

// awaitConsistency: a rewound standby accepts connections only when it has got
// the WAL up to where its source was.
func (s *server) awaitConsistency(life int, until time.Duration, done func(error)) {
	if !s.unproven || s.rx != nil {
		if s.proc == ha.ProcessStarting {
			s.set(ha.ProcessRunning)
		}
		done(nil)
		return
	}
	if s.m.w.now >= until {
		done(errf("the server is still starting"))
		done = func(error) {}
		until = 1 << 62
	}
	s.later(200*time.Millisecond, life, func() { s.awaitConsistency(life, until, done) })
}

// later runs fn when the server, in the same life, has run for d.
func (s *server) later(d time.Duration, life int, fn func()) {
	s.m.w.after(d, func() { s.inLife(life, fn) })
}

func (s *server) inLife(life int, fn func()) {
	if s.life != life {
		return
	}
	if s.m.host.frozen {
		s.m.host.thawed(func() { s.inLife(life, fn) })
		return
	}
	if s.still() {
		s.waiting = append(s.waiting, func() { s.inLife(life, fn) })
		return
	}
	fn()
}

// onDeath polls nothing: it is told by die. One waiter is enough, the task.
func (s *server) onDeath(life int, fn func()) { s.m.dying = append(s.m.dying, dying{life, fn}) }

type dying struct {
	life int
	fn   func()
}

// die ends every process of the server at once, as a crash, a fence or a loss
// of power does.
func (s *server) die() {
	if s.proc == ha.ProcessStopped {
		return
	}
	s.stopped(s.shutDown)
}

// stopped is the end of the processes.
func (s *server) stopped(clean bool) {
	life := s.life
	s.life++
	s.clean, s.shutDown, s.promote, s.reign, s.diverged = clean, false, false, 0, 0
	s.paused, s.deaf, s.doomed, s.waiting, s.proven = false, false, false, nil, 0
	s.m.leftRunning = false
	s.dropReceiver()
	for _, c := range s.tx {
		c.senderGone()
	}
	s.tx, s.waiters = nil, nil
	s.set(ha.ProcessStopped)
	waiting := s.m.dying
	s.m.dying = nil
	for _, x := range waiting {
		if x.life == life {
			fn := x.fn
			s.m.w.after(time.Millisecond, fn)
		}
	}
}

// becomesWritable begins a reign.
func (s *server) becomesWritable() {
	w := s.m.w
	w.reigns++
	s.reign = w.reigns
	s.dropReceiver()
	w.check.reignBegins(s)
}

// append writes n bytes of WAL on the server's own branch, on one of its own
// when somebody else went on where it stands.
func (s *server) append(n wal.LSN) {
	if s.end != s.branch.end || s.branch.owner() != s {
		s.ownBranch()
	}
	s.end += n
	s.branch.end = s.end
	s.replayed = s.end
	s.feed()
}

func (s *server) ownBranch() {
	if s.branch.writer == nil {
		s.branch.writer = s
		if s.end == s.branch.end {
			return
		}
	}
	s.branch = s.m.w.fork(s.branch, s.end)
	s.branch.writer = s
	s.m.w.check.forked(s)
}

func (b *branch) owner() *server { return b.writer }

// turnPrimary is the moment of promotion: a new branch, named as PostgreSQL
// names it, by the history files it has.
func (s *server) turnPrimary() {
	w := s.m.w
	old := s.branch
	tl := max(s.knownTL, old.timeline) + 1
	s.branch = w.promoted(old.at(s.end), s.end, tl)
	s.branch.writer = s
	s.end = s.branch.end
	s.knownTL, s.hasCRC = tl, true
	s.ckptTL = old.timeline
	s.replayed = s.end
	s.role = ha.ServerPrimary
	s.since = w.now
	w.check.promoted(s)
	s.becomesWritable()
	s.feed()
	s.later(time.Second+w.upTo(3*time.Second), s.life, func() { s.ckptTL = s.branch.timeline })
	s.m.agent.serverChanged()
}

// slow is what a slow disk adds to anything that touches it.
func (s *server) slow() time.Duration {
	d := s.m.w.moreUpTo(s.m.w.cfg.wide.disk)
	if s.m.host.slowDisk > 0 {
		d += s.m.w.upTo(s.m.host.slowDisk)
	}
	return d
}

// keepAside moves the data directory away, as everything that replaces it must.
func (s *server) keepAside() {
	if s.dir == ha.DirEmpty {
		return
	}
	if s.branch != nil && s.m.w.opt.Mutant != CloneDestroys {
		s.aside = append(s.aside, copyOf{s.branch, s.end})
	}
	s.disk = disk{dir: ha.DirEmpty, hasCRC: s.hasCRC, claim: s.claim, aside: s.aside}
	s.replayed = 0
}

// copyFrom makes the directory a copy of another server's at this moment.
func (s *server) copyFrom(o *server) {
	s.dir, s.sysID = ha.DirPresent, o.sysID
	s.copies++
	s.branch, s.end = o.branch.at(o.end), o.end
	s.knownTL, s.ckptTL = max(s.knownTL, o.knownTL, s.branch.timeline), s.branch.timeline
	s.role, s.clean, s.oldest = ha.ServerStandby, true, o.end
	s.hasCRC = s.m.w.rng.IntN(2) == 0
}

// position is the end of what the server has, on the branch that end is on.
func (s *server) position() wal.Position {
	if s.branch == nil {
		return wal.Position{}
	}
	return wal.Position{Timeline: s.branch.at(s.end).timeline, LSN: s.end}
}

// identityOf is what the server knows of the identity of its branch.
func (s *server) identityOf(b *branch) cluster.TimelineIdentity {
	id := b.identity
	if !s.hasCRC {
		id.CRC = 0
	}
	return id
}
