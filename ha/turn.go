package ha

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha/election"
	"github.com/matriarch-ha/matriarch/wal"
)

// How long a turn waits for what usually takes milliseconds. These bound waits;
// every one of them ends earlier by an event.
const (
	soon          = 200 * time.Millisecond
	askEvery      = soon / 4        // between two questions to one peer
	peerWait      = time.Second     // for a peer's answer in a race
	askWait       = 2 * time.Second // for candidates' answers before a switchover
	roundLength   = 2 * time.Second // a race that was lost is run again after this
	streamWait    = 8 * time.Second // for a candidate to be connected again
	handoverWait  = 5 * time.Second // for a candidate to get the shutdown checkpoint
	successorWait = 5 * time.Second // a former leader leaves the race to others this long
	backoff       = 10 * time.Second
	firstBackoff  = time.Second // after the first promotion that took the server down; it doubles
	statusPace    = time.Second // between looks at a position that moves
)

// turn is one call of Decide: the input, the memory being written, and the
// facts that rules share.
type turn struct {
	o    Observation
	m    Memory
	view *cluster.View // o.Store.View
	d    Decision

	stall   string   // why a primary that cannot commit leads on, for the reason given
	replies []Action // to people, before whatever the rule does
	waits   bool     // a request stays, to be looked at again when the way is free
}

func newTurn(o *Observation, m *Memory) *turn {
	t := &turn{o: *o, m: *m}
	t.view = &t.o.Store.View
	return t
}

// answer fills the decision in and reports that a rule has answered.
func (t *turn) answer(s Situation, why string, actions ...Action) bool {
	t.d.Situation, t.d.Why, t.d.Actions = s, why, actions
	limit := t.o.Settings.LoopWait
	if limit <= 0 {
		limit = backoff
	}
	if t.d.WakeAfter <= 0 || t.d.WakeAfter > limit {
		t.d.WakeAfter = limit
	}
	t.makeRoom()
	return true
}

// makeRoom: no task can begin while another runs, and a checkpoint is the one
// that the rules do not wait for: it is cancelled first, and the task begun when
// its end is seen.
func (t *turn) makeRoom() {
	i := slices.IndexFunc(t.d.Actions, func(a Action) bool { return a.Kind.IsTask() })
	if t.o.Task.Kind != Checkpoint || i < 0 {
		return
	}
	t.d.Actions = append(slices.Clone(t.d.Actions[:i]), Action{Kind: CancelTask})
	t.wake(soon)
}

// wake asks for another turn within d.
func (t *turn) wake(d time.Duration) {
	if t.d.WakeAfter == 0 || d < t.d.WakeAfter {
		t.d.WakeAfter = max(d, time.Millisecond)
	}
}

// wakeAt asks for another turn at the instant.
func (t *turn) wakeAt(at boot.Instant) { t.wake(at.Sub(t.o.Now)) }

// since is how long ago an instant was; an instant that never was is long ago.
func (t *turn) since(at boot.Instant) time.Duration {
	if at.IsZero() {
		return 1 << 62
	}
	return t.o.Now.Sub(at)
}

// live: this member holds a lease that still lasts.
func (t *turn) live() bool { return t.o.Lease.Live(t.o.Now) }

// leaderIsOther: the leader key is held, and not by this member's session. A
// key with this member's name under another session is somebody else's.
func (t *turn) leaderIsOther() bool {
	return t.view.Leader.Held() && !(t.o.Lease.Held && t.view.Leader.Session == t.o.Lease.Session)
}

// leaderless: nobody holds the key, as far as the store says.
func (t *turn) leaderless() bool { return !t.view.Leader.Held() && !t.o.Lease.Held }

// writable: the server accepts writes, or is on its way to.
func (t *turn) writable() bool {
	switch t.o.Task.Kind {
	case Bootstrap: // nobody can connect to it
		return false
	case Promote, StartPrimary:
		return true
	}
	return !t.down() && t.o.Server.Role == ServerPrimary || t.leftPromoting()
}

func (t *turn) running(role ServerRole) bool {
	return t.o.Server.Process == ProcessRunning && t.o.Server.Role == role
}

// tasked: a long action owns the server.
func (t *turn) tasked() bool { return t.o.Task.Kind != "" && t.o.Task.Kind != Checkpoint }

func (t *turn) stopped() bool { return t.o.Server.Process == ProcessStopped }

// down: the server has written its last record, whether or not its postmaster
// is gone yet. A shutdown waits for the archiver as long as that likes, and the
// next leader need not wait with it.
func (t *turn) down() bool {
	return t.stopped() || t.o.Server.Process == ProcessStopping && t.o.Server.ShutDown
}

// standing is this member in a race.
func (t *turn) standing() election.Standing {
	return election.Standing{Name: t.o.Self.Name, Tags: t.o.Self.Tags,
		Position: t.o.Server.Position, Identity: t.o.Server.Identity, History: t.o.Server.History}
}

// ground is what the cluster demands of its next leader.
func (t *turn) ground() election.Ground {
	g := election.Ground{
		History: t.view.History, Timelines: t.view.Timelines,
		Optime: t.view.Status.Optime, MaxLag: t.o.Settings.MaxLagOnFailover,
		CheckTimeline: t.o.Settings.CheckTimeline,
	}
	if t.view.Sync.Active() {
		g.Sync = t.view.Sync
	}
	if t.handoverBinds() {
		g.Handover = t.view.Handover
	}
	if t.handoverProves() {
		g.Proof = t.view.Handover
	}
	return g
}

// whyNot says why this member could not lead now, and nothing when it could.
func (t *turn) whyNot() string {
	if why := t.reasons(); len(why) > 0 {
		return why[0]
	}
	return ""
}

// reasons lists all that keeps this member from leading, what weighs most first.
func (t *turn) reasons() []string {
	s := t.o.Server
	var out []string
	check := func(bad bool, why string) {
		if bad {
			out = append(out, why)
		}
	}
	// One that cannot take the lease, or will not use it, must not keep others
	// from it by being ahead.
	check(t.o.Stopping, "its agent is stopping")
	check(!t.o.Store.Known || !t.o.Store.Reachable, "it cannot reach the store")
	check(t.o.Lease.Session == "", "it has no session in the store")
	check(!t.o.Guard.Ready(), t.o.Guard.Missing())
	usable := s.Dir == DirPresent && !s.Rewinding
	check(!usable, "its data directory holds no usable server")
	check(usable && s.RewindUnproven, "it has not reached consistency since it was rewound")
	up := t.running(ServerStandby) || t.running(ServerPrimary)
	check(usable && !up, "its server is not running")
	check(usable && up && !s.ReplayDone, "it has not replayed all WAL that it has")
	check(t.unlisted(), whyUnlisted)
	check(t.storeIsNew(), t.howNew()+"; a lease may still be held elsewhere")
	check(t.o.Now < t.m.BackoffUntil, whyBackoff)
	if !usable && !s.Position.Known() {
		// No data, no log to judge.
		return out
	}
	return append(out, election.Reasons(t.standing(), t.ground())...)
}

// storeIsNew: the store is another one than before, or was restored, or cannot be
// told from such a one. For a ttl, the one of now or a longer one of before,
// somebody may still hold a lease that it knows nothing of.
func (t *turn) storeIsNew() bool {
	since := t.newSince()
	return !since.IsZero() && t.since(since) < t.newFor()
}

// newSince is when it was first seen to be so.
func (t *turn) newSince() boot.Instant { return max(t.o.Store.NewSince, t.m.StoreUnsure) }

// howNew says why the store counts as new.
func (t *turn) howNew() string {
	if t.m.StoreUnsure > t.o.Store.NewSince {
		return "there are data here, and no note of which store they were served by"
	}
	return "the store is another one than before, or was restored"
}

// newFor is how long a store counts as new.
func (t *turn) newFor() time.Duration { return max(t.o.Settings.TTL, t.m.StoreNewFor) }

// rememberLongest keeps the longest ttl until no lease can be of that length: its
// last holder has been gone for as long. Who had not heard of the lower ttl may
// have become leader until one such length later. What it was when the store was
// first seen to be new, and which record of a clean stop was there, is kept.
func (t *turn) rememberLongest() {
	l, lead := &t.m.Longest, t.view.Leader
	if l.InForce.IsZero() {
		l.TTL, l.InForce, l.Held = t.o.Store.LongestTTL, t.o.Now, t.o.Now
	}
	if since := t.o.Store.NewSince; since != t.m.StoreNew {
		t.m.StoreNew, t.m.StoreNewFor = since, l.TTL
		t.m.HandoverRestored = t.o.Store.NewHandover // a later one is of this store's own leaders
	}
	t.rememberFirst()
	if t.o.Settings.TTL >= l.TTL {
		l.TTL, l.InForce, l.Held = t.o.Settings.TTL, t.o.Now, t.o.Now
	}
	if lead.Held() && t.since(l.InForce) < l.TTL {
		l.Session = lead.Session
	}
	if lead.Held() && lead.Session == l.Session {
		l.Held = t.o.Now
	}
	if t.since(l.Held) >= l.TTL {
		*l = Longest{TTL: t.o.Settings.TTL, InForce: t.o.Now, Held: t.o.Now}
	}
}

// rememberFirst: a member that has data had a store before, and who cannot say which
// one must not take this one for it. One without data has none that anybody could
// still be writing to; what it copies later it has from this store's leader.
func (t *turn) rememberFirst() {
	m, dir := &t.m, t.o.Server.Dir
	if first := t.o.Store.FirstSeen; first != m.StoreFirst {
		m.StoreFirst = first
		if dir != DirEmpty && dir != DirUnfinished {
			m.StoreUnsure, m.HandoverUnsure = first, t.view.Handover.Version
			m.StoreNewFor = max(m.StoreNewFor, m.Longest.TTL)
		}
	}
}

// leaderDescent is the leader's line of descent, and whether what the store
// says of it is consistent yet: a leader publishes its role, its timeline and
// the history one after the other.
func (t *turn) leaderDescent() (election.Descent, bool) {
	lead, ok := t.view.LeaderMember()
	tl := election.Current(t.view.History, t.view.Timelines)
	if tl == 0 && lead.Timeline == 1 {
		tl = 1 // a cluster on its first timeline has no history
	}
	if !ok || lead.Role != cluster.RolePrimary || lead.Timeline == 0 || lead.Timeline != tl {
		return election.Descent{}, false
	}
	if c, claimed := t.view.Timelines.Claim(tl); claimed && c.Winner == lead.Name && !c.Identity.Known() &&
		t.o.Server.Position.Timeline == tl && t.o.Server.Identity.Known() {
		// A server that bears the number already may be on another branch of it: it
		// happens that a number is claimed again, after a restore of the store from a
		// backup. PostgreSQL would let it stream.
		return election.Descent{}, false
	}
	return election.Descent{Timeline: tl, History: t.view.History.WAL(), Claims: t.view.Timelines}, true
}

// upstream is the server this member should follow while another leads.
func (t *turn) upstream() Upstream {
	if t.o.Self.Tags.NoStream {
		return Upstream{}
	}
	if from := t.o.Self.Tags.ReplicateFrom; from != "" && from != t.o.Self.Name {
		if m, ok := t.view.Member(from); ok && m.Running() {
			return upstreamOf(m)
		}
	}
	return t.leaderUpstream()
}

func (t *turn) leaderUpstream() Upstream {
	m, ok := t.view.LeaderMember()
	if !ok || m.Name == t.o.Self.Name {
		return Upstream{}
	}
	return upstreamOf(m)
}

func upstreamOf(m cluster.Member) Upstream {
	host, port := m.HostPort()
	if host == "" {
		return Upstream{}
	}
	return Upstream{Name: m.Name, Host: host, Port: port}
}

// others are the members that may be asked: those in the view now, and those
// last seen while somebody led (their keys may have gone with their leader's).
func (t *turn) others() []cluster.Member {
	var out []cluster.Member
	for _, m := range append(slices.Clone(t.view.Members), t.m.Members...) {
		if m.Name == t.o.Self.Name || m.APIURL == "" ||
			slices.ContainsFunc(out, func(o cluster.Member) bool { return o.Name == m.Name }) {
			continue
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b cluster.Member) int { return compare(a.Name, b.Name) })
	return out
}

// word returns what a peer answered to a question asked at or after since.
// open: no answer and no failure yet.
func (t *turn) word(name string, since boot.Instant) (p Peer, answered, open bool) {
	for _, p := range t.o.Peers {
		if p.Name != name {
			continue
		}
		switch {
		case p.AnswerTo >= since && !p.AnswerTo.IsZero():
			return p, true, false
		case p.Asked >= since && p.Error != "":
			return p, false, false
		default:
			return p, false, true
		}
	}
	return Peer{}, false, true
}

// mayAskAgain: an answer wakes the loop at once, so a question whose answer was
// not good enough yet is repeated by time, not by wake; otherwise two members
// would question each other as fast as the network lets them.
func (t *turn) mayAskAgain(name string) bool {
	for _, p := range t.o.Peers {
		if p.Name == name {
			return t.since(p.Asked) >= askEvery
		}
	}
	return true
}

func names(ms []cluster.Member) []string {
	var out []string
	for _, m := range ms {
		out = append(out, m.Name)
	}
	return out
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// remember brings the memory up to date with what is seen, before any rule.
func (t *turn) remember() {
	o, m := &t.o, &t.m
	if o.Store.Known && o.Store.Reachable {
		t.rememberLeader()
		t.rememberLongest()
		t.rememberPermanent()
		t.rememberFailsafe()
		if v := t.view.Handover.Version; v != m.HandoverVersion {
			m.HandoverVersion, m.HandoverSeen = v, 0
			if t.view.Handover.Present() {
				m.HandoverSeen = o.Now
			}
		}
		if init := t.view.Initialize; init.Version != m.OwnerVersion {
			m.OwnerSeen, m.OwnerVersion = init.Owner != "", init.Version
		} else if init.Owner != "" {
			m.OwnerSeen = true
		}
	}
	if !o.Lease.Held {
		// One session may hold the lease twice, and lead only once; what failed under
		// a former lease says nothing about a promotion under the next.
		m.Led, m.Recorded, m.StartFailures = "", "", 0
		if m.Handing.Stopped.IsZero() {
			m.Handing = Handing{} // it had only begun to ask who can take over
		}
	}
	if t.live() && t.running(ServerPrimary) {
		m.Led, m.CrashedSince, m.CrashAsked, m.StartFailures, m.PromoteFailures = o.Lease.Session, 0, 0, 0, 0
	}
	// Also of what was not looked at yet, because the store does not answer now.
	m.StoreSure = m.StoreNew == o.Store.NewSince && m.StoreFirst == o.Store.FirstSeen && !t.storeIsNew() && !t.lifeAwaited()
	m.SeenDown = m.SeenDown || t.down() || o.Task.Kind == Promote || o.Task.Last.Kind == Promote
	t.rememberTask()
	m.WhyNot = t.whyNot()
	m.Eligible = m.WhyNot == ""
}

func (t *turn) rememberLeader() {
	m := &t.m
	if !t.view.Leader.Held() {
		if m.LeaderlessSince.IsZero() {
			m.LeaderlessSince = t.o.Now
		}
		return
	}
	if lead, ok := t.view.LeaderMember(); ok {
		m.Leader = lead
	} else if m.Leader.Name != t.view.Leader.Name {
		m.Leader = cluster.Member{Name: t.view.Leader.Name}
	}
	m.Members = t.view.Members
	m.LeaderlessSince, m.RaceAsked, m.VetoSince, m.Streamed = 0, 0, 0, 0
	if t.leaderIsOther() {
		m.Promised, m.LeaderKey = false, t.view.Leader
	}
}

// rememberTask counts how tasks ended, each end once.
func (t *turn) rememberTask() {
	last := t.o.Task.Last
	if last.Seq == t.m.FailureSeq {
		return
	}
	t.m.FailureSeq = last.Seq
	failed := last.Error != ""
	switch last.Kind {
	case StartPrimary, Promote:
		if failed {
			t.m.StartFailures++
		}
		if failed && last.Kind == Promote {
			t.m.PromoteFailures++
		}
	case Rewind:
		if failed {
			t.m.RewindFailures++
		} else {
			t.m.RewindFailures = 0
		}
	case Clone:
		if !failed {
			t.m.RewindFailures = 0
		}
	}
}

// sentence is fmt.Sprintf with durations and lists of names as people say them; the
// observation has them exactly.
func sentence(format string, args ...any) string {
	for i, a := range args {
		switch a := a.(type) {
		case time.Duration:
			unit := time.Millisecond
			if a >= time.Second || a <= -time.Second {
				unit = 100 * time.Millisecond
			}
			args[i] = a.Round(unit)
		case []string:
			args[i] = enumerated(a)
		}
	}
	return fmt.Sprintf(format, args...)
}

// enumerated is a list in a sentence: "n1, n2 and n3".
func enumerated(list []string) string {
	last := len(list) - 1
	if last < 1 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:last], ", ") + " and " + list[last]
}

// endOf prints a position for people.
func endOf(p wal.Position) string {
	if !p.Known() {
		return "an unknown position"
	}
	return sentence("%s on timeline %d", p.LSN, p.Timeline)
}
