package sim

import (
	"errors"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

// keeper keeps the session and the leader lease as package lease does: on its
// own schedule, apart from the agent's turns, counting from before a renewal
// was sent, and sending none before the guard acknowledged the last.
type keeper struct {
	a         *agent
	session   string
	life      int // of the store in which it was opened
	granted   time.Duration
	asked     time.Duration // the length that was asked for
	term      fence.Term    // of the session, and of the lease that is held
	held      bool
	version   cluster.Version
	sight     fence.Sight
	taking    bool
	busy      bool
	timer     uint64
	armed     boot.Instant
	unguarded bool // a paused cluster: no guard
	lastError string
}

// start opens the session and begins to renew.
func (k *keeper) start() { k.tick(0) }

func (k *keeper) tick(d time.Duration) {
	k.timer++
	timer := k.timer
	k.a.later(d, func() {
		if k.timer == timer {
			k.work()
		}
	})
}

func (k *keeper) work() {
	k.expire()
	switch {
	case k.busy:
	case k.session == "" || !k.held && !k.taking && k.asked != k.a.ttl():
		k.open()
		return
	case k.held && !k.unguarded && k.armed != k.term.Proven().Hard:
		k.arm(nil)
	default:
		k.renew()
		return
	}
	k.tick(500 * time.Millisecond)
}

func (k *keeper) every() time.Duration {
	return fence.Interval(k.a.m.w.cfg.settings.LoopWait, k.granted)
}

func (k *keeper) open() {
	w := k.a.m.w
	id, granted, life, ttl := "", time.Duration(0), 0, k.a.ttl()
	k.busy = true
	sent := k.a.now()
	k.a.call(func(s *store) error {
		x := s.open(k.a.m.index, ttl)
		id, granted, life = x.id, x.ttl, s.life
		return nil
	}, func(err error, _ int64) {
		k.busy = false
		k.note(err)
		if err != nil {
			k.tick(time.Second)
			return
		}
		if w.opt.Mutant == AskedLength {
			granted = ttl
		}
		k.session, k.granted, k.asked, k.life = id, granted, ttl, life
		k.term.Store, k.held = fence.Compute(k.from(sent), k.granted, k.budget()), k.held && k.term.Adrift
		k.a.wake()
		k.tick(k.every())
	})
}

// budget is what a lease is shorter by.
func (k *keeper) budget() fence.Budget {
	w := k.a.m.w
	b := w.cfg.budget
	if b.StoreSlack = w.model.tick; w.opt.Mutant == NoSlack {
		b.StoreSlack = 0
	}
	return b
}

// from is the instant a lease counts from.
func (k *keeper) from(sent boot.Instant) boot.Instant {
	if k.a.m.w.opt.Mutant == FromReply {
		return k.a.now()
	}
	return sent
}

func (k *keeper) renew() {
	id, sent := k.session, k.a.now()
	k.busy = true
	k.a.stutter()
	k.a.callFor(k.a.m.w.cfg.requestTimeout, func(s *store) error { return s.renew(id) }, func(err error, rev int64) {
		k.busy = false
		k.note(err)
		if k.session != id {
			k.tick(0)
			return
		}
		switch {
		case errors.Is(err, dcs.ErrSessionGone):
			k.gone()
			k.tick(50 * time.Millisecond)
		case err != nil:
			k.tick(500 * time.Millisecond)
		default:
			k.term.Confirm(fence.Compute(k.from(sent), k.granted, k.budget()))
			if k.held && !k.unguarded {
				k.arm(nil)
			}
			k.a.current(rev, sent)
			k.tick(k.every())
		}
	})
}

// note is what the keeper tells of the store's health.
func (k *keeper) note(err error) {
	k.lastError = ""
	if err != nil {
		k.lastError = err.Error()
	}
}

// gone: the session has certainly ended.
func (k *keeper) gone() {
	k.session, k.term.Store, k.granted = "", fence.Deadlines{}, 0
	if k.held && k.byWord() {
		k.drift()
		return
	}
	k.lose()
}

// lose: the leader key is not ours any more.
func (k *keeper) lose() {
	if k.held && !k.unguarded {
		k.a.m.guard.void()
	}
	k.held = false
	k.term.End()
	k.a.wake()
}

// expire: at the hard deadline a lease is lost, and its session abandoned.
func (k *keeper) expire() {
	if k.held && k.term.Until().Phase(k.a.now()) == fence.Lost {
		k.gone()
	}
}

// arm hands the newest deadline to the guard, and gives up after a second.
func (k *keeper) arm(done func(ok bool)) {
	g, d := k.a.m.guard, k.term.Proven()
	life, answered := g.life, false
	k.term.Handing(d.Hard)
	finish := func(ok bool) {
		if answered {
			return
		}
		answered = true
		if ok && d.Hard > k.armed {
			k.armed, k.term.Guard = d.Hard, d.Hard
		}
		if !ok && g.life == life {
			k.a.guardFailed(g)
		}
		if done != nil {
			done(ok)
		}
	}
	epoch := k.a.epoch
	g.arm(trusted{k.session, k.life, k.granted}, d, func() { k.a.in(epoch, func() { finish(true) }) })
	if !answered {
		k.a.later(time.Second, func() { finish(false) })
	}
	k.a.later(k.a.m.host.until(d.Soft), k.a.wake)
}

// take creates the leader key. An answer that was lost is looked up.
func (k *keeper) take(id string, done func(bool)) {
	if k.held && !k.term.Adrift {
		done(true)
		return
	}
	if k.a.now() < k.a.promised {
		done(false)
		return
	}
	if k.taking || k.session != id || !k.term.Store.Live(k.a.now()) {
		done(false)
		return
	}
	name, blind := k.a.m.name, k.a.m.w.opt.Mutant == BlindTake
	k.taking = true
	adrift := k.held // else it is done already
	var v cluster.Version
	k.a.call(func(s *store) error {
		err := s.takeLeader(name, id, blind)
		v = s.view.Leader.Version
		return err
	}, func(err error, _ int64) {
		if err == nil {
			k.hold(id, v, adrift, done)
			return
		}
		if errors.Is(err, dcs.ErrSessionGone) && k.session == id {
			k.gone()
		}
		k.a.load(func(x *snapshot, err error) {
			if err == nil && x.view.Leader.Session == id {
				k.hold(id, x.view.Leader.Version, adrift, done)
				return
			}
			if k.term.Adrift {
				k.taking = false
				done(false)
				return
			}
			if err != nil && k.session == id {
				// It may be ours unnoticed, or be so later: only the end of the
				// session is certain, and no other take may begin before that.
				k.release(func(bool) { k.taking = false })
			} else {
				k.taking = false
			}
			done(false)
		})
	})
}

func (k *keeper) hold(id string, v cluster.Version, adrift bool, done func(bool)) {
	k.taking = false
	if k.session != id {
		done(false)
		return
	}
	if adrift && !k.held { // lost meanwhile: its server must not go on under a new one
		k.gone()
		done(false)
		return
	}
	if k.held && k.term.Adrift {
		k.moor(v)
		done(true)
		return
	}
	k.held, k.version, k.armed, k.sight = true, v, 0, fence.Sight{}
	k.arm(func(ok bool) {
		if ok && k.held && k.term.Store.Live(k.a.now()) {
			k.a.wake()
			done(true)
			return
		}
		k.release(func(bool) { done(false) })
	})
}

// release gives the key up by session. What stays unknown is settled by the end
// of the session: a delete that is still on its way must never meet a later
// holding.
func (k *keeper) release(done func(bool)) {
	id := k.session
	k.held = false
	k.term.End()
	k.disarm()
	byName := k.a.m.w.opt.Mutant == ReleaseByName
	k.a.call(func(s *store) error {
		return s.releaseLeader(id, k.a.m.name, byName)
	}, func(err error, _ int64) {
		switch {
		case err == nil || errors.Is(err, dcs.ErrConflict):
			done(true)
		default:
			if k.session == id {
				k.gone()
				k.tick(0)
			}
			k.a.call(func(s *store) error { s.end(id); return nil }, func(error, int64) {})
			done(false)
		}
	})
}

// disarm is sent when the server is certainly no writer.
func (k *keeper) disarm() {
	k.armed, k.term.Guard = 0, 0
	k.a.m.guard.disarm(func() {})
}

// observed is what a new view says about the lease.
func (k *keeper) observed(v *cluster.View) {
	if k.session == "" {
		return
	}
	mine := v.Leader.Held() && v.Leader.Session == k.session
	if k.a.m.w.opt.Mutant == MineByName && v.Leader.Name == k.a.m.name {
		if mine = true; !k.held && !k.taking {
			k.hold(k.session, v.Leader.Version, false, func(bool) {})
			return
		}
	}
	switch k.sight.Judge(fence.Reading{Held: k.held, Taking: k.taking, Adrift: k.term.Adrift, Promised: k.byWord(), Free: !v.Leader.Held(),
		Ours: mine, Same: v.Leader.Version == k.version,
		Store: v.StoreID, Revision: v.Revision}) {
	case fence.Unclaimed:
		// Nobody was told that it is ours: give it back. No take may begin before
		// that is settled.
		k.taking = true
		k.release(func(bool) { k.taking = false })
	case fence.Regained:
		k.moor(v.Leader.Version)
	case fence.Taken:
		k.lose()
	case fence.Suspect:
		k.recheck()
	}
}
