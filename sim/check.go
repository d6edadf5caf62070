package sim

import (
	"fmt"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// checker looks at the world only: at servers, branches, the store's state and
// acknowledged commits. It knows neither the rules nor what anybody believes.
type checker struct {
	w          *world
	violations []Violation
	seen       map[string]bool

	numbers   map[string]*branch // system id and timeline → the branch that bears it
	highest   map[string]wal.Timeline
	published map[*branch]wal.LSN // what leaders told the store of their progress
	system    string
	lastReign int // the newest reign that acknowledged anything
	reigns    map[int]*server
	current   *server // the server of the newest reign
	overtook  int     // the newest reign whose takeover was accounted for
	unpaused  time.Duration
	syncLost  time.Duration // until when the sync key that went back may mislead
	syncWent  bool
	epoch     int  // counts how often nothing was safe by the sync key any more
	wentBack  bool // the sync key or the register of timelines did, with the store
	handover  handover
	forced    bool // a person named the one who took the lease last
	pastSync  bool // and the sync key did not
	overruled int  // the newest reign that began so
	register  register
	wishes    wishes
}

// taken: the leader key was created. A person's request counts as it was then.
func (c *checker) taken() {
	v := &c.w.store.view
	c.forced = v.Failover.Candidate == v.Leader.Name && v.Failover.Leader == ""
	c.pastSync = c.forced && v.Sync.Active() && !v.Sync.Holds(v.Leader.Name)
}

// handover is the last release of a lease after a clean stop: until then
// nobody may lead who lacks the last record.
type handover struct {
	branch *branch
	end    wal.LSN
	at     time.Duration
	since  time.Duration // of the record
	waits  bool          // it binds for as long as it takes, else for a ttl
}

// binds: m may not lead without the record. To an agent that sees only later that the
// store went back, it may be of any time: it binds for a ttl. A ttl is that of now: who
// chose to lose the record and lowers the ttl meanwhile waits less for it.
func (h handover) binds(m *member) bool {
	w := m.w
	ttl := w.cfg.shortest * 99 / 100
	ofAnyTime := m.noticed > h.at && w.now > m.noticed+ttl
	return h.branch != nil && (h.waits || w.now < h.since+ttl) && !ofAnyTime
}

// released: a lease was given up after the position was recorded.
func (c *checker) released(s *server) {
	if h := c.w.store.view.Handover; h.Leader == s.m.name && (s.shutDown || s.proc == ha.ProcessStopped && s.clean) && h.LSN == s.end {
		c.handover = handover{s.branch, s.end, c.w.now, c.w.store.handoverAt, !c.w.cfg.settings.LoseLastRecord}
	}
}

// recordCleared: a member that a person named lacks the last record, and takes it
// away before it is promoted. The record is given up then, whatever becomes of that
// promotion.
func (c *checker) recordCleared() {
	if c.forced {
		c.handover = handover{}
	}
}

// received: a member that voted confirms nothing until there is a leader.
func (c *checker) received(s *server, from *server) {
	if s.m.voted == c.w.store.lapses && !c.w.store.view.Leader.Held() && c.w.now-s.m.votedAt > 100*time.Millisecond {
		c.violate("V1", "%s voted and still receives WAL from %s", s.m.name, from.m.name)
	}
}

// Violation is one broken promise.
type Violation struct {
	Invariant string
	At        time.Duration
	What      string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s violated at %s: %s", v.Invariant, v.At.Round(time.Millisecond), v.What)
}

func newChecker(w *world) *checker {
	return &checker{w: w, seen: map[string]bool{}, numbers: map[string]*branch{}, highest: map[string]wal.Timeline{},
		published: map[*branch]wal.LSN{}, reigns: map[int]*server{}, unpaused: -time.Hour}
}

// violate records the first violation of each kind.
func (c *checker) violate(invariant, format string, args ...any) {
	if c.seen[invariant] {
		return
	}
	what := fmt.Sprintf(format, args...)
	c.w.tracef("VIOLATION of %s: %s", invariant, what)
	c.seen[invariant] = true
	c.violations = append(c.violations, Violation{invariant, c.w.now, what})
}

// holds reports whether the store gives the lease to the server's member.
func (c *checker) holds(s *server) bool { return c.w.store.formerly(s.m) || c.named(s.m) }

// named: the leader key is the member's. One written by hand is nobody's lease.
func (c *checker) named(m *member) bool {
	l := c.w.store.view.Leader
	return l.Name == m.name && l.Session != ""
}

// exempt: a frozen host, and the moment after its thaw until the guard has run,
// and a cluster that a person paused: then nothing is fenced, until the word
// that the pause has ended has come to the member.
func (c *checker) exempt(s *server) bool {
	w := c.w
	return s.m.host.frozen || w.now < s.m.grace || w.now < s.m.robbed || s.m.orphaned() || c.paused(s.m)
}

func (c *checker) paused(m *member) bool {
	a := m.agent
	left := m.leftRunning && (!a.alive || a.adopting) // nobody knows yet how it was left
	return c.w.store.settings.Paused || left || m.host.hung && a.keeper.unguarded || a.snap != nil && a.snap.settings.Paused
}

func (c *checker) pausedNow() bool {
	return c.w.store.settings.Paused || c.w.now < c.unpaused+c.w.cfg.longest+5*time.Second
}

// leaderChanged: I1 at the moment when the lease leaves a member.
func (c *checker) leaderChanged() {
	for _, m := range c.w.members {
		if m.server.writable() && !c.allowed(m.server) && !c.exempt(m.server) {
			c.violate("I1", "%s still accepts writes although the store has ended its lease", m.name)
		}
		// In a pause a promotion may be done before the lease is taken.
		if m.server.writable() && m.server.reign > c.overtook && c.holds(m.server) {
			c.takesOver(m.server)
		}
	}
}

// reignBegins: a server becomes writable.
func (c *checker) reignBegins(s *server) {
	w := c.w
	if !c.allowed(s) && !c.exempt(s) {
		c.violate("I1", "%s begins to accept writes and the lease is held by %q", s.m.name, w.store.view.Leader.Name)
	}
	w.tracef("%s: accepts writes: reign %d on branch %d (timeline %d) from %s", s.m.name, s.reign, s.branch.id, s.branch.timeline, s.end)
	c.tooSoon(s)
	w.countReign(s)
	c.reigns[s.reign] = s
	if c.holds(s) {
		c.takesOver(s)
	}
}

// takesOver: a server accepts writes and its member has the lease, whichever came
// first.
func (c *checker) takesOver(s *server) {
	c.current, c.overtook = s, s.reign
	if c.pastSync {
		c.overruled = s.reign
	}
	c.losses(s)
}

// losses: I2 and I3 at the moment when a server takes the cluster over.
func (c *checker) losses(s *server) {
	forced := c.forced
	c.register.takeover(c.w, s, forced)
	if h := c.handover; h.binds(s.m) && !forced && !c.pausedNow() && !s.branch.contains(s.end, h.branch, h.end) {
		c.violate("V3", "%s becomes primary without the last record at %s of the former leader, which stopped cleanly", s.m.name, h.end)
	}
	c.handover = handover{}
	for _, b := range c.w.branches {
		if b.sysID != s.sysID {
			continue
		}
		if b.protected > 0 && !s.branch.contains(s.end, b, b.protected) {
			if !forced {
				c.violate("I2", "%s becomes primary without the protected commit at %s of branch %d (timeline %d); it has that branch up to %s",
					s.m.name, b.protected, b.id, b.timeline, s.branch.shares(s.end, b, b.end))
			}
			b.protected = 0
		}
		if b.acked > 0 && !s.branch.contains(s.end, b, b.acked) {
			shared := s.branch.shares(s.end, b, b.acked)
			limit := wal.LSN(c.w.cfg.lag)
			if p := c.published[b]; p > shared+limit && !forced && !c.mistakable(s, b) {
				c.violate("I3", "%s becomes primary with branch %d up to %s only, %d bytes before the published %s; allowed are %d",
					s.m.name, b.id, shared, p-shared, p, limit)
			}
			c.w.stats.Lost++
			b.acked = 0
		}
	}
}

// excused: what the documents except from I1 and I2.
func (c *checker) excused(x *commit) bool {
	if x.via != 0 { // the entrypoint serves nobody whose lease is over, whatever people do
		return !x.sync && c.w.now < x.s.m.robbed
	}
	told := !c.w.cfg.wide.kernelFence // where the fence stands, nobody is told anything
	// A standby that still confirms has not voted, and without such a vote nobody
	// succeeds in synchronous mode, except by a person's word.
	unasked := x.sync && x.reign < c.overruled
	return c.exempt(x.s) && ((!x.sync || unasked) && told || !x.sync && c.w.now < x.s.m.robbed || c.paused(x.s.m) || c.w.now < x.s.m.pauseGrace)
}

// acked: a server tells a client that its commit is safe.
func (c *checker) acked(x *commit) {
	w := c.w
	excused := c.excused(x)
	if x.reign < c.lastReign && !excused {
		c.violate("I1", "%s (reign %d) acknowledges a commit after the later reign %d of %s acknowledged one (synchronous: %t, through the entrypoint: %t)",
			x.s.m.name, x.reign, c.lastReign, c.reigns[c.lastReign].m.name, x.sync, x.via != 0)
	}
	if !c.holds(x.s) && excused {
		return // documented: it may be lost
	}
	if !c.allowed(x.s) && !c.exempt(x.s) {
		c.violate("I1", "%s acknowledges a commit and the lease is held by %q", x.s.m.name, w.store.view.Leader.Name)
	}
	c.lastReign = max(c.lastReign, x.reign)
}

// told: the acknowledgement reached its client.
func (c *checker) told(x *commit) {
	if !c.holds(x.s) && c.excused(x) {
		return // documented: it may be lost
	}
	if x.op != nil {
		c.register.told(x)
	}
	x.branch.acked, x.branch.ever = max(x.branch.acked, x.lsn), max(x.branch.ever, x.lsn)
	if x.protects && x.epoch == c.epoch {
		x.branch.protected = max(x.branch.protected, x.lsn)
		if c.current != nil && c.current.reign > x.reign && !c.current.branch.contains(c.current.end, x.branch, x.lsn) {
			c.violate("I2", "%s acknowledges a protected commit at %s that the later primary %s does not have", x.s.m.name, x.lsn, c.current.m.name)
		}
	}
}

// promoted: I5 at the moment of a promotion.
func (c *checker) promoted(s *server) {
	if !c.borne(s) {
		return
	}
	key := fmt.Sprintf("%s/%d", s.sysID, s.branch.timeline)
	if o := c.numbers[key]; o != nil {
		c.violate("I5", "%s promotes to timeline %d, which another branch bears already (left its parent at %s, this one at %s)",
			s.m.name, s.branch.timeline, o.from, s.branch.from)
	}
	c.numbers[key] = s.branch
	if s.branch.timeline < c.highest[s.sysID] && !c.exempt(s) { // a thawed host may finish a promotion
		c.violate("I5", "%s promotes to timeline %d although the cluster was on %d already", s.m.name, s.branch.timeline, c.highest[s.sysID])
	}
	c.highest[s.sysID] = max(c.highest[s.sysID], s.branch.timeline)
}

// restarted: a person is told that the server was restarted. A primary goes on
// as the primary that it was.
func (c *checker) restarted(s *server, request int) {
	if s.stopAs != nil && s.stopFor == request && s.proc == ha.ProcessRunning && (s.role != ha.ServerPrimary || s.branch != s.stopAs) {
		c.violate("I7", "%s was a primary on branch %d, was restarted on request, and is a %s on branch %d",
			s.m.name, s.stopAs.id, s.role, s.branch.id)
	}
}

// forked: a server writes on where another has written, on the same timeline.
func (c *checker) forked(s *server) {
	c.violate("I5", "%s goes on writing timeline %d at %s, where %s is the writer", s.m.name, s.branch.timeline, s.branch.from, s.branch.parent.writer.m.name)
}

// mixedStream: I4, a stream between servers whose records differ.
func (c *checker) mixedStream(s, from *server) {
	if c.reused(s, from) {
		return
	}
	c.violate("I4", "%s at %s of branch %d streams from %s on branch %d, which does not contain that",
		s.m.name, s.end, s.branch.id, from.m.name, from.branch.id)
}

// startedRewinding: D1, a half rewound directory was started.
func (c *checker) startedRewinding(s *server) {
	c.violate("D1", "%s starts a data directory whose rewind did not finish", s.m.name)
}

// givenUp: what lies behind the published position binds nobody any more.
func (c *checker) givenUp(published wal.LSN) {
	for b, lsn := range c.published {
		c.published[b] = min(lsn, published)
	}
}

// wrote: a member's write reached the store.
func (c *checker) wrote(m *member, x ha.Action) {
	switch x.Kind {
	case ha.PublishStatus:
		// What a former leader's late request writes binds nobody who has won since, nor
		// what one writes into a store that went back and does not know that it leads.
		if b := m.server.branch; b != nil && c.named(m) {
			c.published[b] = c.w.store.view.Status.Optime
		}
		if c.forced && c.holds(m.server) {
			c.givenUp(c.w.store.view.Status.Optime) // before it is promoted
		}
	case ha.ClearFailover:
		c.cleared(m, x)
	case ha.WriteInitialize:
		if c.system != "" && c.system != x.SystemID {
			c.violate("I8", "%s replaces the cluster's database %s by %s", m.name, c.system, x.SystemID)
		}
		c.system = x.SystemID
	case ha.WriteSync:
		c.forcedSync(m)
		if x.Sync.Leader == "" {
			c.unprotect()
		}
	}
}

// forcedSync: who leads because a person said so writes the sync key, and what it
// lacks may be lost from here on, though it may die before it is a primary.
func (c *checker) forcedSync(m *member) {
	s := m.server
	if !c.forced || !c.holds(s) || s.branch == nil {
		return
	}
	for _, b := range c.w.branches {
		if b.protected > 0 && !s.branch.contains(s.end, b, b.protected) {
			b.protected = 0
		}
		if b.seenSafe > 0 && !s.branch.contains(s.end, b, b.seenSafe) {
			b.seenSafe = 0
		}
	}
}

// every looks at what takes time to show: a diverged server that goes on
// serving although its agent could know.
func (c *checker) every() {
	c.stalled()
	w := c.w
	lead := w.member(w.store.view.Leader.Name)
	for _, m := range w.members {
		s := m.server
		if lead == nil || m == lead || !lead.server.writable() || s.proc != ha.ProcessRunning || s.role != ha.ServerStandby ||
			s.sysID != lead.server.sysID || !c.undisturbed(m) || !c.undisturbed(lead) ||
			lead.server.branch.contains(lead.server.end, s.branch, s.end) {
			s.diverged = 0
			continue
		}
		s.diverged += checkEvery
		if s.diverged > w.cfg.settings.LoopWait+10*time.Second {
			c.violate("I4", "%s serves rows of branch %d that the leader %s never had, for %s", m.name, s.branch.id, lead.name, s.diverged)
		}
	}
}

// undisturbed: nothing keeps the member's agent from knowing and acting.
func (c *checker) undisturbed(m *member) bool {
	a := m.agent
	return a.alive && !a.paused && a.starved == 0 && !m.host.frozen && !m.server.hindered() && m.host.slowDisk == 0 &&
		c.w.net.both(m.index, c.w.store.node) && !c.w.store.down && !c.pausedNow() && m.loseReplies == 0 && m.loss == 0 &&
		c.w.net.link(m.index, c.w.store.node).extra == 0 && c.w.net.link(c.w.store.node, m.index).extra == 0
}

// linear: what clients saw through the entrypoint is one register.
func (c *checker) linear() {
	if why := linearizable(c.register.ops); why != "" {
		c.violate("register", "%s", why)
	}
}

// copies: I8, every acknowledged commit still exists on some disk.
func (c *checker) copies() {
	for _, b := range c.w.branches {
		if b.ever > 0 && b.sysID == c.system && !c.anywhere(b) {
			c.violate("I8", "the acknowledged commit at %s of branch %d (timeline %d) is on no disk any more", b.ever, b.id, b.timeline)
		}
	}
}

func (c *checker) anywhere(b *branch) bool {
	for _, m := range c.w.members {
		if s := m.server; s.branch != nil && s.branch.contains(s.end, b, b.ever) {
			return true
		}
		for _, k := range m.server.aside {
			if k.branch.contains(k.end, b, b.ever) {
				return true
			}
		}
	}
	return false
}
