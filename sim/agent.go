package sim

import (
	"errors"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha"
)

// agent is the process that observes, decides and acts. Everything in it dies
// with it, except what it has written to disk or store.
type agent struct {
	m     *member
	alive bool
	epoch int // counts lives, so that what belongs to a dead agent is dropped

	paused  bool
	inbox   []func()
	starved time.Duration // turns are late by up to this

	mem    ha.Memory
	keeper keeper

	// The cached view.
	snap        *snapshot
	seen        boot.Instant
	reachable   bool
	newSince    boot.Instant
	newHandover cluster.Version
	firstSeen   boot.Instant // where no note said which store the member had
	longestTTL  time.Duration
	storeLife   int    // of the store, as its client knows
	readUnder   string // the session under which the store was read last
	watch       *watcher
	loading     bool
	storeErr    string

	round    round
	promised boot.Instant // until then the lease is left alone
	peers    []ha.Peer
	task     task
	stopping bool
	requests ha.Requests // of people, but for the scheduled restart, which is on disk
	guardOK  bool
	told     string // last error of the server

	// The turn.
	turning, again bool
	led            string // who held the leader key last, as seen here
	adopting       bool   // it is not settled yet whether the server is taken over
	wakeAt         uint64
	doing          ha.ActionKind // the action of the turn that is under way
	after          func()        // strikes when that action is done
	cut            int           // the fault strikes after this many further actions
	cutPause       time.Duration // it stops the agent for that long; zero kills it
	published      cluster.Member
	publishedAt    time.Duration
	publishing     bool
	lastTold       string // in the trace
}

func newAgent(m *member) *agent { return &agent{m: m} }

func (a *agent) now() boot.Instant { return a.m.host.now() }

// startAfter starts the agent as its service manager does.
func (a *agent) startAfter(d time.Duration) {
	epoch := a.epoch
	a.m.w.after(d, func() {
		if !a.m.joined {
			return // people have yet to start it for the first time
		}
		if a.epoch == epoch && !a.alive && a.m.host.up && !a.m.gone {
			if a.m.host.frozen {
				a.m.host.thawed(func() { a.startAfter(0) })
				return
			}
			a.start()
		}
	})
}

func (a *agent) start() {
	m := a.m
	*a = agent{m: m, alive: true, epoch: a.epoch + 1, task: task{id: a.task.id}}
	m.w.traceAs(told, "%s: agent starts", m.name)
	m.w.voters.changed()
	m.minds()
	a.keeper.a = a
	a.peers = nil
	a.remembers()
	if m.guard.alive && m.guard.left {
		a.claim()
		return
	}
	a.comeUp()
}

// startGuard takes over the guard that runs, or starts one.
func (a *agent) startGuard() {
	if a.m.guard.alive {
		a.guardOK = true
		return
	}
	a.later(200*time.Millisecond+a.m.w.upTo(time.Second), func() {
		if !a.m.guard.alive {
			a.m.guard.start()
			a.keeper.armed = 0
			if a.keeper.held {
				a.keeper.arm(nil)
			}
		}
		a.guardOK = true
		a.wake()
	})
}

// guardFailed: a guard that did not acknowledge is replaced. It is ended first,
// so that an old deadline cannot strike later.
func (a *agent) guardFailed(g *guard) {
	if !a.guardOK {
		return
	}
	a.guardOK = false
	g.die()
	a.startGuard()
	a.wake()
}

// guardDied is the end of a child.
func (a *agent) guardDied() {
	epoch := a.epoch
	a.m.w.after(5*time.Millisecond, func() { a.in(epoch, func() { a.guardFailed(a.m.guard) }) })
}

// die ends the process.
func (a *agent) die() {
	if !a.alive {
		return
	}
	a.interrupted()
	paused := a.snap != nil && a.snap.settings.Paused || a.m.host.hung && a.keeper.unguarded
	a.m.leftRunning = paused && a.m.server.writable()
	a.alive, a.paused, a.inbox = false, false, nil
	a.epoch++
	a.m.w.voters.changed()
	a.m.minds()
	if a.watch != nil {
		a.watch.dead = true
	}
	a.task.agentGone()
	a.m.guard.lost()
}

// kill ends the agent; its service manager starts another.
func (a *agent) kill() {
	if a.m.w.opt.Mutant == EndSession {
		a.m.w.store.end(a.keeper.session)
	}
	a.die()
	a.startAfter(100*time.Millisecond + a.m.w.upTo(3*time.Second))
}

// in runs fn in the agent's process of that life, or when it runs again.
func (a *agent) in(epoch int, fn func()) {
	switch {
	case a.epoch != epoch || !a.alive:
	case a.m.host.frozen:
		a.m.host.thawed(func() { a.in(epoch, fn) })
	case a.paused:
		a.inbox = append(a.inbox, func() { a.in(epoch, fn) })
	default:
		fn()
	}
}

// later runs fn in this life of the agent after d.
func (a *agent) later(d time.Duration, fn func()) {
	epoch := a.epoch
	a.m.w.after(d, func() { a.in(epoch, fn) })
}

func (a *agent) pause() {
	a.interrupted()
	if a.alive {
		a.paused = true
		a.m.minds()
	}
}

func (a *agent) resume() {
	if !a.paused {
		return
	}
	a.paused = false
	a.m.minds()
	inbox := a.inbox
	a.inbox = nil
	for _, fn := range inbox {
		fn()
	}
}

// wake asks for a turn now.
func (a *agent) wake() {
	if !a.alive || a.adopting {
		return
	}
	if a.turning {
		a.again = true
		return
	}
	a.plan(time.Millisecond + a.m.w.upTo(2*time.Millisecond))
}

// plan puts the next turn at most d away.
func (a *agent) plan(d time.Duration) {
	at := a.m.w.now + d
	if a.starved > 0 {
		at += a.m.w.upTo(a.starved)
	}
	if a.wakeAt != 0 && a.wakeAt <= uint64(at) {
		return
	}
	a.wakeAt = uint64(at)
	epoch := a.epoch
	a.m.w.after(at-a.m.w.now, func() {
		a.in(epoch, func() {
			if a.wakeAt == uint64(at) && !a.turning {
				a.wakeAt = 0
				a.turn()
			}
		})
	})
}

// serverChanged: the postmaster ended or began.
func (a *agent) serverChanged() {
	if a != nil && a.alive {
		a.later(2*time.Millisecond, a.wake)
	}
}

// current: a confirmation proved that the cached view is the newest.
func (a *agent) current(rev int64, sent boot.Instant) {
	if a.snap != nil && a.snap.view.Revision == rev && sent > a.seen {
		a.seen = sent
	}
	if a.watch == nil || a.watch.dead {
		a.reload(0)
	}
}

// reload reads the store and watches it again.
func (a *agent) reload(d time.Duration) {
	if a.loading {
		return
	}
	a.loading = true
	a.later(d, func() {
		a.load(func(x *snapshot, err error) {
			a.loading = false
			if err != nil {
				a.unreachable(err)
				a.reload(500*time.Millisecond + a.m.w.upTo(time.Second))
				return
			}
			if a.watch != nil {
				a.watch.dead = true
			}
			epoch := a.epoch
			a.watch = a.m.w.store.watch(a.m.index, func(x *snapshot) {
				at := a.now()
				a.in(epoch, func() { a.watched(x, at) })
			}, func() {
				a.in(epoch, func() {
					a.unreachable(dcs.ErrUnavailable)
					a.reload(a.m.w.upTo(time.Second))
				})
			})
			if x != a.m.w.store.snap {
				a.watch.changed()
			}
			if !a.reachable {
				a.reachable = true
				a.wake()
			}
		})
	})
}

func (a *agent) unreachable(err error) {
	a.storeErr = err.Error()
	if a.reachable {
		a.reachable = false
		a.wake()
	}
}

// load reads the store linearizably.
func (a *agent) load(done func(*snapshot, error)) {
	var x *snapshot
	sent, floor := a.now(), int64(0)
	if a.snap != nil {
		floor = a.snap.view.Revision
	}
	a.call(func(s *store) error { x = s.snap; return nil }, func(err error, _ int64) {
		if x != nil && x.life == a.storeLife && errors.Is(err, errAnother) {
			err = nil // that is what a reading is for
		}
		if err == nil {
			a.see(x, sent, floor)
		}
		done(x, err)
	})
}

// matters: progress alone wakes nobody, so that a busy cluster is not a storm.
func matters(a, b *snapshot) bool {
	x, y := &a.view, &b.view
	if a.settings != b.settings || x.Leader != y.Leader || x.Initialize != y.Initialize || x.Failover != y.Failover ||
		x.Config.Version != y.Config.Version || x.Sync.Version != y.Sync.Version || x.History.Version != y.History.Version ||
		x.Timelines.Version != y.Timelines.Version || x.Handover.Version != y.Handover.Version || len(x.Members) != len(y.Members) {
		return true
	}
	for i := range x.Members {
		m, n := &x.Members[i], &y.Members[i]
		if m.Name != n.Name || m.State != n.State || m.Role != n.Role || m.Timeline != n.Timeline ||
			m.CheckpointPending != n.CheckpointPending || m.ReplicationState != n.ReplicationState {
			return true
		}
	}
	return false
}

// patience is how long a turn awaits the store: never past the moment when the
// lease makes the agent act, since the guard must not be all that is left.
func (a *agent) patience() time.Duration {
	d := a.m.w.cfg.requestTimeout
	if a.turning && (a.keeper.held || a.m.server.writable()) {
		d = min(d, time.Millisecond+a.m.host.until(a.keeper.term.Until().Soft))
	}
	return d
}

// errAnother: the store that answered is another one than was known when the
// request was sent.
var errAnother = errors.New("the store is another one")

// call sends one request to the store. Whatever is lost on the way, there or
// back, the agent learns only that it does not know.
func (a *agent) call(op func(*store) error, done func(err error, rev int64)) {
	a.callFor(a.patience(), op, done)
}

// callFor is call with its own patience, for what is no part of a turn.
func (a *agent) callFor(patience time.Duration, op func(*store) error, done func(err error, rev int64)) {
	w, epoch, answered := a.m.w, a.epoch, false
	known, life := a.storeLife, 0
	finish := func(err error, rev int64) {
		a.in(epoch, func() {
			if !answered {
				answered = true
				if life != 0 && (known != 0 && life != known || life < a.storeLife) {
					err = errors.Join(errAnother, dcs.ErrUnknown)
				}
				a.knows(life)
				done(err, rev)
			}
		})
	}
	w.after(patience, func() { finish(dcs.ErrUnknown, 0) })
	w.net.send(a.m.index, w.store.node, func() {
		if w.store.down {
			if w.rng.IntN(2) == 0 {
				w.net.send(w.store.node, a.m.index, func() { finish(dcs.ErrUnavailable, 0) })
			}
			return
		}
		err, at := op(w.store), w.store.life
		rev := w.store.view.Revision
		if a.m.loseReplies > 0 {
			w.stats.LostReplies++
			return
		}
		w.net.send(w.store.node, a.m.index, func() {
			life = at
			finish(err, rev)
		})
	})
}
