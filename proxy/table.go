package proxy

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/route"
)

// downFor is how long a replica that refused a connection is passed over.
const downFor = time.Second

// complainAgain is how long a backend must have been well, or not been tried,
// before its failure is news for the log.
const complainAgain = 30 * time.Second

const noView = "no view of the cluster yet"

// table is what the entrypoint knows: the newest view, each member's last word,
// and the gates that follow from them. All its state is behind one lock.
type table struct {
	clock       clock.Clock
	asker       asker
	log         *slog.Logger
	outages     *outages
	interval    time.Duration
	askReplicas bool
	timesLag    bool       // some service limits lag in time
	services    []*service // of the ports that there are

	mu       sync.Mutex
	view     cluster.View
	viewAt   boot.Instant // zero: no view yet
	blind    bool         // the store is lost; the view is how it was
	since    boot.Instant // see route.Query
	words    map[string]route.Word
	history  route.History     // of the furthest position, if some service needs it
	failures map[string]string // why the last question to a member failed
	leader   *gate             // the one gate that allows writes; nil when nobody may
	replicas map[string]*gate
	down     map[string]boot.Instant
	accounts map[accountOf]*account
	failed   map[string]int64 // questions to a member that had no answer
	watchers map[string]*watcher
	changed  chan struct{} // closed and replaced when a new choice may differ
	wake     chan struct{} // tells expire that the next deadline moved
}

func newTable(o Options, services []*service, a asker, out *outages) *table {
	replicas := slices.ContainsFunc(services, func(s *service) bool { return !s.writes() })
	return &table{
		clock: o.Clock, asker: a, log: o.Logger, outages: out, interval: o.AskInterval, askReplicas: replicas,
		timesLag: slices.ContainsFunc(services, func(s *service) bool { return s.policy.MaxLagTime > 0 }),
		services: services, failed: map[string]int64{}, accounts: map[accountOf]*account{},
		words: map[string]route.Word{}, failures: map[string]string{}, replicas: map[string]*gate{},
		down: map[string]boot.Instant{}, watchers: map[string]*watcher{},
		changed: make(chan struct{}), wake: make(chan struct{}, 1),
	}
}

// run follows views and asks members until ctx ends, then shuts every gate.
func (t *table) run(ctx context.Context, views <-chan Sight) {
	var wg sync.WaitGroup
	wg.Go(func() { t.expire(ctx) })
	for open := true; open; {
		select {
		case <-ctx.Done():
			open = false
		case s, ok := <-views:
			switch {
			case !ok:
				views = nil // no more news; the members' own words still count
				t.setBlind(errors.New("nothing more is told of it"))
			case s.Lost != nil:
				t.setBlind(s.Lost)
			default:
				t.setView(ctx, &wg, s.View)
			}
		}
	}
	wg.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shutAll("the entrypoint is shutting down")
}

func (t *table) shutAll(reason string) {
	if t.leader != nil {
		t.leader.close("%s", reason)
		t.leader = nil
	}
	for name, g := range t.replicas {
		g.close("%s", reason)
		delete(t.replicas, name)
	}
}

// setBlind: the store is lost, and with it all news of who leads but the members'
// own words.
func (t *table) setBlind(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.blind {
		return
	}
	t.log.Warn("the store does not answer: going on by asking the members who leads", "error", why)
	t.blind, t.since = true, t.clock.Now()
	t.refresh()
	t.seek()
}

// seeking: the store does not say who leads, and nobody is served: every member
// is asked. The caller holds the lock.
func (t *table) seeking() bool {
	return t.leader == nil && !t.viewAt.IsZero() && (t.blind || !t.view.Leader.Held())
}

// seek asks every member now, if that is called for. The caller holds the lock.
func (t *table) seek() {
	if !t.seeking() {
		return
	}
	for _, w := range t.watchers {
		select {
		case w.poke <- struct{}{}:
		default:
		}
	}
}

// setView takes a view, and starts or stops asking as members come and go.
func (t *table) setView(ctx context.Context, wg *sync.WaitGroup, v cluster.View) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.view.Leader.Name
	if route.Forgets(t.view, v, t.open().Backend.Member) {
		delete(t.words, v.Leader.Name)
	}
	t.view, t.viewAt = v, t.clock.Now()
	if t.blind {
		t.log.Info("the store answers again")
	}
	if t.blind || v.Leader.Name != before {
		t.blind, t.since = false, t.viewAt
	}
	if now := v.Leader.Name; now != before {
		t.log.Info("the leader key changed hands", "from", before, "to", now)
	}
	t.reconcile(ctx, wg)
	t.refresh()
	t.announce()
	if v.Leader.Name != before {
		t.pokeMember(v.Leader.Name)
		t.pokeMember(before) // if nobody leads, its own word says whether it goes on
	}
	t.seek()
}

// setWord takes an answer, or notes that none came. The caller holds the lock.
func (t *table) setWord(member string, w route.Word, err error) {
	if err != nil {
		if t.failures[member] == "" {
			t.log.Warn("a member does not answer", "asked", member, "error", err)
		}
		t.failures[member] = err.Error()
		t.failed[member]++
		return
	}
	if t.failures[member] != "" {
		t.log.Info("a member answers again", "asked", member)
		delete(t.failures, member)
	}
	before, old := t.leader, t.words[member]
	t.words[member] = w
	t.refresh()
	// A leader that is asked twenty times a second and still is not ready must
	// not wake a thousand held clients each time.
	if t.leader != before || w.State != old.State || !t.leads(member) {
		t.announce()
	}
}

// refresh derives the gates anew. The caller holds the lock.
func (t *table) refresh() {
	t.remember()
	t.refreshLeader()
	t.judge()
	for name, g := range t.replicas {
		w, leads := t.words[name], t.view.Leader.Name == name
		if w.Role == cluster.RolePrimary || leads && w.Role != cluster.RoleStandbyLeader {
			g.close("%s is not a replica any more", name)
			delete(t.replicas, name)
		} else if _, ok := t.view.Member(name); !ok && g.sessions.Load() == 0 {
			g.close("%s has left the cluster", name)
			delete(t.replicas, name)
		}
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// remember notes how far the cluster is. The caller holds the lock.
func (t *table) remember() {
	if !t.timesLag || t.viewAt.IsZero() {
		return
	}
	if far := route.Furthest(t.view, t.query(route.Policy{}).Words); far > 0 {
		t.history = t.history.Add(far, t.clock.Now())
	}
}

// announce wakes the held clients. The caller holds the lock.
func (t *table) announce() {
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *table) refreshLeader() {
	q := t.query(route.Policy{Access: route.ReadWrite})
	if g := t.leader; g != nil {
		r := q.Review(t.open())
		if r.Keep {
			g.deadline.Store(int64(r.Until))
			t.prove(g)
			return
		}
		if f := t.failures[g.backend.Member]; r.Detail != "" && f != "" {
			r.Detail += " (" + f + ")"
		}
		t.shutLeader(r.Why, r.Detail)
	}
	if c := route.Pick(q); c.OK {
		t.leader = newGate(c.Backend, t.clock, c.Until)
		t.log.Info("a primary is served", "primary", c.Backend.Member, "address", c.Backend.Addr, "why", c.Why)
		t.outages.open(t.primary(t.leader))
	}
}

// open is the permission to write that stands. The caller holds the lock.
func (t *table) open() route.Permission {
	if t.leader == nil {
		return route.Permission{}
	}
	return route.Permission{Backend: t.leader.backend, Until: boot.Instant(t.leader.deadline.Load())}
}

// shutLeader ends the sessions to the primary. why is told to its clients, detail
// to the log and the journal.
func (t *table) shutLeader(why, detail string) {
	g := t.leader
	who, open, told := t.primary(g), int(g.forwards.Load()), why
	if detail != "" {
		why += ": " + detail
	}
	sessions, level := g.sessions.Load(), slog.LevelWarn
	if sessions == 0 { // nobody feels it
		level = slog.LevelInfo
	}
	t.outages.cut(who, why, open, func() { g.close("%s", told) })
	t.log.Log(context.Background(), level, "the sessions to the former primary end", "primary", g.backend.Member, "sessions", sessions, "why", why)
	t.leader = nil
	t.seek()
}

// expire shuts the leader's gate at its deadline. The gate itself refuses bytes
// from that instant on; this ends the sessions.
func (t *table) expire(ctx context.Context) {
	timer := time.NewTimer(t.interval)
	defer timer.Stop()
	for {
		aged := false
		select {
		case <-ctx.Done():
			return
		case <-t.wake: // by who has judged just now
		case <-timer.C:
			aged = true
		}
		t.mu.Lock()
		if aged {
			t.judge()
		}
		next := t.interval
		if g := t.leader; g != nil {
			next = min(next, boot.Instant(g.deadline.Load()).Sub(t.clock.Now()))
			if next <= 0 {
				t.refreshLeader()
				t.judge()
				next = t.interval
			}
		}
		t.mu.Unlock()
		timer.Reset(next)
	}
}

// query gathers what a choice depends on. The caller holds the lock.
func (t *table) query(p route.Policy) route.Query {
	q := route.Query{Now: t.clock.Now(), View: t.view, Policy: p, Blind: t.blind, Since: t.since, History: t.history}
	q.ViewAge = q.Now.Sub(t.viewAt)
	for name, w := range t.watchers {
		// Its key may have run out of the store; its own word still counts.
		if _, listed := t.view.Member(name); !listed {
			q.Members, q.Words = append(q.Members, w.member), append(q.Words, t.words[name])
		}
	}
	for _, m := range t.view.Members {
		if w, ok := t.words[m.Name]; ok {
			q.Words = append(q.Words, w)
		}
	}
	return q
}

// queryFor is the query of a service. The caller holds the lock.
func (t *table) queryFor(s *service) route.Query {
	q := t.query(s.policy)
	if s.writes() && s.policy.MaxConnections == 0 {
		return q // there is nothing to choose
	}
	for _, m := range append(slices.Clone(t.view.Members), q.Members...) {
		l := t.load(m.Name)
		if a := t.accounts[accountOf{s.port, m.Name}]; a != nil {
			l.AtPort = int(a.sessions.now.Load())
		}
		if st := s.standing[m.Name]; st.In {
			l.Used = q.Now.Sub(st.since)
		}
		q.Loads = append(q.Loads, l)
	}
	return q
}

// load is what is known of a member by serving it. The caller holds the lock.
func (t *table) load(member string) route.Load {
	l := route.Load{Member: member, Down: t.clock.Now() < t.down[member]}
	if g := t.replicas[member]; g != nil {
		l.Sessions = int(g.sessions.Load())
	}
	if g := t.leader; g != nil && g.backend.Member == member {
		l.Sessions += int(g.sessions.Load())
	}
	return l
}

// grant is a backend for a session, or why there is none.
type grant struct {
	gate    *gate // nil: none
	account *account
	why     string
	full    bool // none only because of the limit of sessions
}

// take chooses a backend and counts one session on its gate and its account, so that a
// burst of connections spreads; give gives it back. Where sessions are limited whoever
// came first has its turn first.
func (t *table) take(s *service, tk *ticket) grant {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tk != nil && !s.enqueue(tk) {
		return s.last
	}
	g := t.choose(s)
	if g.gate == nil {
		s.last = g
		return g
	}
	g.gate.sessions.Add(1)
	g.account.sessions.add(1)
	s.dequeue(tk)
	return g
}

func (t *table) choose(s *service) grant {
	if t.viewAt.IsZero() {
		return grant{why: noView}
	}
	c := route.Pick(t.queryFor(s))
	if !c.OK {
		return grant{why: c.Why, full: c.Full}
	}
	g := t.gateFor(c)
	if g == nil || !g.open() {
		return grant{why: "the permission for " + c.Backend.Member + " has just ended"}
	}
	return grant{gate: g, account: t.accountFor(s.port, c.Backend.Member)}
}

func (t *table) gateFor(c route.Choice) *gate {
	if !c.Until.IsZero() {
		if t.leader != nil && t.leader.backend == c.Backend {
			return t.leader
		}
		return nil
	}
	name := c.Backend.Member
	g := t.replicas[name]
	if g != nil && g.backend != c.Backend {
		g.close("the address of %s changed", name)
		g = nil
	}
	if g == nil {
		g = newGate(c.Backend, t.clock, noDeadline)
		t.replicas[name] = g
	}
	return g
}

// refused notes that a member could not be used just now.
func (t *table) refused(member string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	if now.Sub(t.down[member]) > complainAgain {
		t.log.Warn("a backend does not accept connections", "backend", member, "error", err)
	}
	t.down[member] = now.Add(downFor)
	if g := t.leader; g != nil && g.backend.Member == member {
		t.outages.refuse(t.primary(g), err.Error(), int(g.forwards.Load()))
	}
}

// doubt has a member asked at once: its server contradicts its last word.
func (t *table) doubt(member string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.Warn("a server that was taken for a primary says that it is a standby: asking its agent again", "backend", member)
	t.pokeMember(member)
}

// news returns a channel that is closed when a choice may have changed.
func (t *table) news() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}
