package sim

import (
	"errors"
	"sort"
	"strconv"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha"
)

// store is a linearizable coordination store with sessions. It holds keys (see
// codec.go), and the view that package layout reads there. Its semantics are
// those of dcs.Store: every write is conditional or not, as the operation says,
// and happens at one instant; a session's keys vanish with it; timers run by the
// store's own clock and start anew when its leader changes.
type store struct {
	w    *world
	node int
	rate float64 // of its clock
	down bool    // answers nobody: an outage, or no voter leads

	outage bool

	keys      []dcs.KV // sorted
	ownerName string   // value of the initialize_owner key
	written   string   // the member whose key is being written

	view     cluster.View // what is read in the keys
	settings cluster.Settings
	snap     *snapshot // the current view, shared and never changed
	version  int
	sessions map[string]*session
	opened   int
	watchers []*watcher

	// handwritten is the name that a person writes into the leader key when it
	// goes next.
	handwritten string

	lapses     int           // how often the leader key vanished
	handoverAt time.Duration // when the handover was written
	// extended is when the timers were last started anew.
	extended time.Duration

	life   int // counts the restores of a backup
	former former
}

// snapshot is one immutable state of the store.
type snapshot struct {
	view     cluster.View
	settings cluster.Settings
	memberAt []string // session of each member key, in the order of view.Members
	owner    string   // session of initialize_owner
	life     int      // of the store
}

func newStore(w *world, node int) *store {
	s := &store{w: w, node: node, rate: w.clockRate(), settings: w.cfg.settings, sessions: map[string]*session{}, life: 1}
	s.view.StoreID, s.view.Revision = "store-1", 1
	s.snap = &snapshot{view: s.view, settings: s.settings, life: s.life}
	return s
}

// commit makes the changed view the current one and tells the watchers.
func (s *store) commit(memberAt []string, owner string) {
	s.view.Revision++
	s.encode(s.snap, memberAt, owner)
	s.snap = &snapshot{view: s.view, settings: s.settings, memberAt: memberAt, owner: owner, life: s.life}
	for _, x := range s.watchers {
		x.changed()
	}
}

func (s *store) changed() { s.commit(s.snap.memberAt, s.snap.owner) }

func (s *store) next() cluster.Version {
	s.version++
	return cluster.Version(strconv.Itoa(s.version))
}

// end removes a session and its keys.
func (s *store) end(id string) {
	if s.sessions[id] == nil {
		return
	}
	delete(s.sessions, id)
	changed := false
	if s.view.Leader.Session == id {
		s.view.Leader = cluster.Leader{}
		s.lapses++
		changed = true
	}
	owner := s.snap.owner
	if owner == id {
		s.view.Initialize.Owner, s.view.Initialize.OwnerSession, owner, changed = "", "", "", true
	}
	var members []cluster.Member
	var at []string
	for i, m := range s.view.Members {
		if s.snap.memberAt[i] != id {
			members, at = append(members, m), append(at, s.snap.memberAt[i])
		}
	}
	if len(at) != len(s.snap.memberAt) {
		s.view.Members, changed = members, true
	}
	if changed {
		s.commit(at, owner)
		s.w.check.leaderChanged()
		s.writeByHand()
	}
}

// writeByHand is a person's put without a lease.
func (s *store) writeByHand() {
	if s.handwritten == "" || s.view.Leader.Held() {
		return
	}
	s.w.tracef("a person writes %s into the leader key", s.handwritten)
	s.view.Leader = cluster.Leader{Name: s.handwritten, Version: s.next()}
	s.handwritten = ""
	s.changed()
}

// takeLeader is create-if-absent under a session.
func (s *store) takeLeader(name, id string, blind bool) error {
	if s.sessions[id] == nil {
		return dcs.ErrSessionGone
	}
	if s.view.Leader.Held() && !blind {
		return dcs.ErrConflict
	}
	s.view.Leader = cluster.Leader{Name: name, Session: id, Version: s.next()}
	s.changed()
	s.w.check.taken()
	s.w.check.leaderChanged()
	return nil
}

// releaseLeader deletes the leader key of a session; by name it deletes
// whatever is there under the name, which is what no program may do.
func (s *store) releaseLeader(id, name string, byName bool) error {
	if l := s.view.Leader; !l.Held() || l.Session != id && !(byName && l.Name == name) {
		return dcs.ErrConflict
	}
	holder := s.w.member(s.view.Leader.Name)
	s.view.Leader = cluster.Leader{}
	s.lapses++
	s.changed()
	if holder != nil {
		s.w.check.released(holder.server)
	}
	s.w.check.leaderChanged()
	s.writeByHand()
	return nil
}

// putMember writes a member's own key under its session.
func (s *store) putMember(m cluster.Member, id string) error {
	if s.sessions[id] == nil {
		return dcs.ErrSessionGone
	}
	var members []cluster.Member
	var at []string
	placed := false
	for i, o := range s.view.Members {
		if !placed && o.Name >= m.Name {
			members, at, placed = append(members, m), append(at, id), true
		}
		if o.Name != m.Name {
			members, at = append(members, o), append(at, s.snap.memberAt[i])
		}
	}
	if !placed {
		members, at = append(members, m), append(at, id)
	}
	s.view.Members, s.written = members, m.Name
	s.commit(at, s.snap.owner)
	return nil
}

var errVersion = errors.Join(dcs.ErrConflict)

// unchanged is the condition of a compare-and-set.
func unchanged(have, want cluster.Version) error {
	if have != want {
		return errVersion
	}
	return nil
}

// watcher is one client's watch: newest state only, in order, and broken when
// the link stays cut.
type watcher struct {
	s       *store
	node    int
	busy    bool
	dead    bool
	deliver func(*snapshot)
	broken  func()
}

func (s *store) watch(node int, deliver func(*snapshot), broken func()) *watcher {
	x := &watcher{s: s, node: node, deliver: deliver, broken: broken}
	for i, o := range s.watchers {
		if o.dead {
			s.watchers[i] = x
			return x
		}
	}
	s.watchers = append(s.watchers, x)
	return x
}

func (x *watcher) changed() {
	if x.dead || x.busy {
		return
	}
	x.busy = true
	w, sent := x.s.w, x.s.snap
	w.after(w.net.delay(x.s.node, x.node), func() { x.arrive(sent, 0) })
}

func (x *watcher) arrive(sent *snapshot, tries int) {
	if x.dead {
		return
	}
	s := x.s
	if s.down || !s.w.net.open(s.node, x.node) {
		if tries == 6 {
			x.dead = true
			x.broken()
			return
		}
		s.w.after(500*time.Millisecond, func() { x.arrive(sent, tries+1) })
		return
	}
	x.busy = false
	x.deliver(sent)
	x.again(sent)
	if sent != s.snap {
		x.changed()
	}
}

// claimInitialize creates the leased owner first, then the empty key.
func (s *store) claimInitialize(name, id string) error {
	if s.sessions[id] == nil {
		return dcs.ErrSessionGone
	}
	if s.view.Initialize.Owner != "" && s.snap.owner != id || s.view.Initialize.Present {
		return dcs.ErrConflict
	}
	s.view.Initialize = cluster.Initialize{Present: true, Owner: name, OwnerSession: id, Version: s.next()}
	s.encode(s.snap, s.snap.memberAt, id)
	s.snap = &snapshot{view: s.view, settings: s.settings, memberAt: s.snap.memberAt, owner: id, life: s.life}
	return nil
}

func (s *store) writeSync(x ha.Action) error {
	if err := unchanged(s.view.Sync.Version, x.Version); err != nil {
		return err
	}
	if x.Sync.Leader == "" {
		s.view.Sync = cluster.SyncState{}
		return nil
	}
	s.view.Sync = x.Sync
	s.view.Sync.Version = s.next()
	return nil
}

// claim writes one entry of the register of timelines.
func (s *store) claim(x ha.Action) error {
	if err := unchanged(s.view.Timelines.Version, x.Version); err != nil {
		return err
	}
	claims := make([]cluster.TimelineClaim, 0, len(s.view.Timelines.Claims)+1)
	for _, c := range s.view.Timelines.Claims {
		if c.Timeline != x.Claim.Timeline {
			claims = append(claims, c)
		}
	}
	claims = append(claims, x.Claim)
	sort.Slice(claims, func(i, j int) bool { return claims[i].Timeline < claims[j].Timeline })
	s.view.Timelines = cluster.Timelines{Claims: claims, Version: s.next()}
	return nil
}
