package sim

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// What befalls the store itself, and the way to it.
const (
	// WatchNoise: what a member's watch delivers comes again, later and out of order.
	WatchNoise FaultKind = "watch-noise"
	// StoreCompact: the store throws its past away; all watches break.
	StoreCompact FaultKind = "store-compaction"
	// SessionKill: a person ends a member's session at the store.
	SessionKill FaultKind = "session-kill"
	// LossyNet: of what passes between a member and the others, a part is lost.
	LossyNet FaultKind = "lossy-net"
	// StoreRestore: a backup of the store is taken, and restored when the fault ends.
	StoreRestore FaultKind = "store-restore"

	// Stores and TakeOver are no faults: among the kinds that a schedule is drawn
	// from they ask for that half of the model.
	Stores   FaultKind = "stores"
	TakeOver FaultKind = "take-over"
)

var storeKinds = []struct {
	kind  FaultKind
	lasts time.Duration
}{{WatchNoise, 40 * time.Second}, {StoreCompact, 0}, {SessionKill, 0}, {LossyNet, 20 * time.Second}, {StoreRestore, 60 * time.Second}}

// withStoreFaults adds to a schedule, from a source of its own.
func (w *world) withStoreFaults(seed uint64, faults []Fault) []Fault {
	r := rand.New(rand.NewPCG(seed, 0x6c6f7373))
	if w.opt.Plain || w.opt.Focus == nil && r.IntN(2) == 0 {
		return faults
	}
	var swarm []int
	for i, k := range storeKinds {
		if w.opt.Focus == nil && r.IntN(2) == 0 || w.opt.focuses(k.kind) {
			swarm = append(swarm, i)
		}
	}
	if len(swarm) == 0 {
		return faults
	}
	for range 1 + r.IntN(4) {
		k := storeKinds[swarm[r.IntN(len(swarm))]]
		from := 10 * time.Second
		f := Fault{At: from + time.Duration(r.Int64N(int64(w.cfg.safety-from))), Kind: k.kind, A: r.IntN(w.cfg.members), N: 1 + r.IntN(5)}
		if r.IntN(2) == 0 {
			f.A = -1
		}
		if k.lasts > 0 {
			f.Lasts = 100*time.Millisecond + time.Duration(r.Int64N(int64(k.lasts)))
		}
		faults = append(faults, f)
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return int(a.At - b.At) })
	return faults
}

// strikeStore makes one of them happen; it reports whether it was one.
func (w *world) strikeStore(f Fault, m *member, heal func(func())) bool {
	switch f.Kind {
	case WatchNoise:
		m.noise++
		heal(func() { m.noise-- })
	case StoreCompact:
		w.store.compact()
	case SessionKill:
		w.store.killed(m)
	case LossyNet:
		m.loss++
		heal(func() { m.loss-- })
	case StoreRestore:
		b := w.store.backup(f.N)
		heal(func() { w.store.restore(b) })
	default:
		return false
	}
	return true
}

// again lets what a watch has delivered come once more, after what is newer.
func (x *watcher) again(sent *snapshot) {
	s := x.s
	if x.node >= len(s.w.members) || s.w.members[x.node].noise == 0 || s.w.model.rng.IntN(2) == 0 {
		return
	}
	s.w.after(s.w.model.upTo(4*time.Second), func() {
		if !x.dead && !s.down && s.w.net.open(s.node, x.node) {
			x.deliver(sent)
		}
	})
}

// compact breaks all watches: each client has to read everything again.
func (s *store) compact() {
	if s.down {
		return
	}
	s.w.stats.Compactions++
	s.w.tracef("store: compacted")
	for _, x := range slices.Clone(s.watchers) {
		if x.dead {
			continue
		}
		x.dead = true
		s.w.after(s.w.model.upTo(50*time.Millisecond), x.broken)
	}
}

// killed: a person ends the session of a member. Nothing can keep the promise of
// a lease that somebody else takes away: until the member has learned of it, or
// its guard has, what it acknowledges without a standby may be lost, and it
// counts as fenced no sooner than its deadline. A commit that waited for a
// standby is not excused.
func (s *store) killed(m *member) {
	if s.down {
		return
	}
	for _, id := range s.ids() {
		x := s.sessions[id]
		if x.member != m.index {
			continue
		}
		s.w.tracef("store: a person ends session %s of %s", id, m.name)
		if s.view.Leader.Session == id {
			m.robbed = max(m.robbed, x.ends+time.Second)
		}
		s.end(id)
	}
}

// backup is a copy of the store's data.
type backup struct {
	store    store
	sessions map[string]session
	variant  int
	// published is the progress that the store knew of.
	published map[*branch]wal.LSN
}

// backup takes one; nil when there is nothing yet that is worth it: a backup
// from before the founding of the cluster is not modelled.
func (s *store) backup(variant int) *backup {
	if s.down || s.view.Initialize.SystemID == "" {
		return nil
	}
	s.w.tracef("store: a backup is taken at %d", s.view.Revision)
	s.texts()
	b := &backup{store: *s, sessions: map[string]session{}, variant: variant, published: maps.Clone(s.w.check.published)}
	b.store.keys = slices.Clone(s.keys)
	for id, x := range s.sessions {
		b.sessions[id] = *x
	}
	return b
}

// former is who held the lease when the store went back, and until when that
// lease lasts: the member cannot know better before it hears of it.
type former struct {
	m            *member
	until, since time.Duration
	same         bool // the store's identity stayed the same
}

// restore puts a backup back. The revision goes back, and in most variants the
// store's identity is another one, as its clients tell (see package dcs/etcd).
// Sessions of the backup's time live again for their full length, or none does.
// Versions go back too, so that one may come again with another value.
// A second restore while the first one's lease may last is not modelled, nor is one
// in failsafe mode: whom the restored list names may lead after a ttl, and a leader
// without the store goes by a later list.
func (s *store) restore(b *backup) {
	w := s.w
	if b == nil || s.down || w.cfg.settings.Failsafe || s.life > b.store.life || s.former.since > 0 && w.now < s.former.since+2*w.cfg.settings.TTL {
		return
	}
	w.stats.Restores++
	s.life++
	f := former{since: w.now, same: b.variant == 2}
	if x := s.sessions[s.view.Leader.Session]; x != nil {
		f.m, f.until = w.members[x.member], x.ends
	}
	s.former = f
	w.tracef("store: the backup is restored: from revision %d back to %d, variant %d", s.view.Revision, b.store.view.Revision, b.variant)
	w.check.restored(&s.view, b)

	was := s.settings.Paused
	clear(s.stale)
	s.keys, s.ownerName = slices.Clone(b.store.keys), b.store.ownerName
	s.view, s.settings, s.version = b.store.view, b.store.settings, b.store.version
	if was && !s.settings.Paused {
		w.check.unpaused = w.now
	}
	s.lapses++
	if !f.same {
		s.view.StoreID = "store-" + string(rune('0'+s.life))
	}
	s.snap = &snapshot{view: s.view, settings: s.settings, memberAt: b.store.snap.memberAt, owner: b.store.snap.owner, life: s.life}
	s.sessions = map[string]*session{}
	for id, x := range b.sessions {
		s.sessions[id] = &session{id: id, member: x.member, ttl: x.ttl}
	}
	if b.variant == 4 {
		w.forgetful(f.m)
	}
	for _, id := range s.ids() {
		s.touch(s.sessions[id])
		if b.variant == 5 {
			s.end(id)
		}
	}
	s.extended = w.now
	s.changed()
	w.check.leaderChanged()
}

// forgetful: all but the one that led lose their note of the store, and see it for
// the first time again.
func (w *world) forgetful(led *member) {
	for _, m := range w.members {
		if m != led && !m.gone {
			w.tracef("%s loses its note of the store", m.name)
			m.storeSeen, m.forgot = storeSeen{}, true
			m.agent.kill()
		}
	}
}

// formerly: the member held the lease in the store as it was before a backup was
// restored, and that lease lasts.
func (s *store) formerly(m *member) bool { return s.former.m == m && s.w.now < s.former.until }

// ceaseStore: nobody whom a sync key names that went back may be able to lead any
// more. Then a person decides.
func (w *world) ceaseStore() {
	if w.check.syncWent && w.store.view.Sync.Active() && !w.led() {
		w.tracef("a person removes the sync key, which went back with the store")
		w.store.view.Sync = cluster.SyncState{}
		w.store.changed()
		w.check.unprotect()
		w.check.syncWent = false
	}
}

// stranded: the store's keys went back to a line that the members have left, or
// name synchronous members that are no more, and nobody may lead by them. Which
// data shall live on is a person's decision then, and not modelled.
func (w *world) stranded() bool {
	if !w.check.wentBack || w.led() {
		return false
	}
	for _, m := range w.members {
		if m.agent.mem.Eligible {
			return false
		}
	}
	w.stats.Stranded++
	return true
}

// borne: the number of a promotion is the member's by the register that there is
// now. After the register went back, a promotion that began before it may end with
// a number that is nobody's any more, or another's.
func (c *checker) borne(s *server) bool {
	claim, _ := c.w.store.view.Timelines.Claim(s.branch.timeline)
	return claim.Winner == s.m.name || c.w.store.former.since == 0
}

// reused: the two are on branches of one number, because the register of claims
// went back and nobody who could be asked knew that it was taken. Nothing in
// PostgreSQL tells such branches apart, and a member that cannot reach the store
// does not hear which one is the cluster's: what is on the other may be written
// over.
func (c *checker) reused(s, from *server) bool {
	if c.w.store.former.since == 0 {
		return false
	}
	mine := s.branch.at(s.end)
	for b := from.branch; b != nil; b = b.parent {
		if b != mine && b.timeline == mine.timeline {
			mine.ever = 0
			return true
		}
	}
	return false
}

// mistakable: the register of claims went back, and the server is on another branch of
// the number that the branch bears. Until the cluster's branch of that number is
// registered anew, what its leader published cannot be told to be of another line.
func (c *checker) mistakable(s *server, of *branch) bool {
	if c.w.store.former.since == 0 {
		return false
	}
	for b := s.branch.at(s.end); b != nil; b = b.parent {
		if b != of && b.timeline == of.timeline {
			return true
		}
	}
	return false
}

// storeIsNews: a member has yet to see that the store went back, or has seen it
// less than a ttl ago, and so may not lead yet, or less than two, and lets others
// go first.
func (w *world) storeIsNews() bool {
	for _, m := range w.members {
		a := m.agent
		if a.storeLife < w.store.life && w.store.former.since > 0 || !a.newSince.IsZero() && a.now().Sub(a.newSince) < w.cfg.settings.TTL+w.cfg.longest ||
			!a.mem.StoreUnsure.IsZero() && a.now().Sub(a.mem.StoreUnsure) < w.cfg.settings.TTL+w.cfg.longest {
			return true
		}
	}
	return false
}

// restored takes back what the store's data stood for: what was promised by
// keys that are gone binds nobody. It is as narrow as the data that went: where
// the sync key is the same, commits stay protected; where the register of
// timelines is the same, numbers do.
func (c *checker) restored(was *cluster.View, b *backup) {
	now := &b.store.view
	if was.Sync.Leader != now.Sync.Leader || !slices.Equal(was.Sync.Standbys, now.Sync.Standbys) {
		c.syncLost, c.syncWent, c.wentBack = c.w.store.former.until, true, true
		c.unprotect()
	}
	// The position in the store is of one branch. Of one that came later it says
	// nothing: numbers of two branches cannot be compared.
	for of, lsn := range c.published {
		c.published[of] = min(lsn, b.published[of], now.Status.Optime)
	}
	c.handover = handover{}
	if high := now.Timelines.Highest(); high < was.Timelines.Highest() {
		c.wentBack = true
		for key, b := range c.numbers {
			if b.timeline > high {
				delete(c.numbers, key)
			}
		}
		for id := range c.highest {
			c.highest[id] = min(c.highest[id], max(high, 1))
		}
	}
}

// unprotect: no commit is safe by the sync key any more.
func (c *checker) unprotect() {
	c.epoch++
	for _, b := range c.w.branches {
		b.protected, b.seenSafe = 0, 0
		for i := range b.values {
			b.values[i].protected = false
		}
	}
}

// tooSoon: L6, nobody is promoted in a store that went back until whoever may
// have held the lease before holds it no more. One whose agent began after that
// and whose note of the store is no newer than the backup cannot tell,
// and no more can one that had neither data nor a note when it saw the store first.
func (c *checker) tooSoon(s *server) {
	f := c.w.store.former
	// The ttl may have been changed since the world began: whoever may lead after
	// the shortest that was ever in force still has to wait for the lease itself.
	until := max(f.until, f.since+c.w.cfg.shortest*99/100)
	if s.m.forgot {
		until = f.since + c.w.cfg.shortest*99/100 // it knows of no longer ttl
	}
	if f.since == 0 || c.w.now >= until || s.m == f.m || c.exempt(s) {
		return
	}
	if f.same && s.m.blind == c.w.store.life || s.m.newcomer == c.w.store.life {
		return
	}
	c.violate("L6", "%s becomes writable %s after the store went back", s.m.name, seconds(c.w.now-f.since))
}
