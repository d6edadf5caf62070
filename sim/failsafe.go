package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

// Failsafe mode: a leader without the store asks every recorded member over the
// network, and leads on by their promises; a member's promise is on its disk.

// drawFailsafe says whether a world has failsafe_mode on: a source of its own, so
// that worlds without it are what they were.
func drawFailsafe(seed uint64, opt Options) bool {
	if opt.Mutant == FailsafeMajority || opt.Mutant == FailsafeForgets {
		return true
	}
	return rand.New(rand.NewPCG(seed, 0x6661696c73616665)).IntN(4) == 0
}

// round is an agent's latest round of questions.
type round struct {
	id           int
	asked, ended boot.Instant
	trouble      string
}

// failsafeState is what rules see of questions and promises.
func (a *agent) failsafeState() ha.Failsafe {
	f := ha.Failsafe{Asked: a.round.asked, Ended: a.round.ended, Error: a.round.trouble}
	if a.now() < a.promised {
		f.Leader, f.Until = a.m.promisedTo, a.promised
	} else {
		a.m.promise = 0 // its file is removed
	}
	return f
}

// remembers: an agent that starts keeps the promise of the one before it once more.
func (a *agent) remembers() {
	if a.m.promise > 0 && a.m.w.opt.Mutant != FailsafeForgets {
		a.promised = fence.Promised(a.now(), a.m.promise)
	}
}

// askFailsafe begins a round: all are asked at once, and all must promise.
func (a *agent) askFailsafe(list []cluster.FailsafeMember) {
	w, sent, ttl := a.m.w, a.now(), a.settings().TTL
	a.round = round{id: a.round.id + 1, asked: sent}
	id, need, yes := a.round.id, 0, 0
	end := func(trouble string) {
		if a.round.id != id || a.round.ended >= a.round.asked {
			return
		}
		if trouble == "" && !a.keeper.extend(sent, ttl) {
			trouble = "the lease is not held"
		}
		a.round.ended, a.round.trouble = a.now(), trouble
		a.wake()
	}
	w.stats.FailsafeRounds++
	for _, entry := range list {
		m := w.member(entry.Name)
		if m == nil || m == a.m {
			continue
		}
		need++
		epoch := a.epoch
		w.net.send(a.m.index, m.index, func() {
			if !m.agent.alive || !m.host.up {
				return
			}
			m.agent.in(m.agent.epoch, func() {
				ok := m.agent.accept(a.m.name, ttl)
				w.net.send(m.index, a.m.index, func() {
					a.in(epoch, func() {
						if !ok {
							end(m.name + " refuses")
							return
						}
						if yes++; yes >= enough(w, need) {
							end("")
						}
					})
				})
			})
		})
	}
	if need == 0 {
		end("")
		return
	}
	a.later(2*w.cfg.peerTimeout, func() { end("no answer in time") })
}

// enough is how many others must promise: all of them.
func enough(w *world, others int) int {
	if w.opt.Mutant == FailsafeMajority {
		return (others + 1) / 2 // with the leader itself, a majority
	}
	return others
}

// accept answers a leader that has lost the store.
func (a *agent) accept(leader string, length time.Duration) bool {
	k, s := &a.keeper, a.m.server
	current := a.snap != nil && a.reachable && k.lastError == ""
	switch {
	case a.snap == nil || !a.settings().Failsafe || k.taking || k.held || s.writable() || s.promote:
		return false
	case current && a.snap.view.Leader.Held() && a.snap.view.Leader.Name != leader:
		return false
	case a.led != "" && a.led != leader:
		return false
	}
	a.m.w.tracef("%s: promises %s to leave the lease alone for %s", a.m.name, leader, length)
	if a.m.w.opt.Mutant != FailsafeForgets {
		a.m.promise, a.m.promisedTo = max(a.m.promise, length), leader
		a.promised = max(a.promised, fence.Promised(a.now(), length))
	}
	a.wake()
	return true
}

// settings are those of the cached view.
func (a *agent) settings() cluster.Settings {
	if a.snap != nil && a.snap.view.Config.Present {
		return a.snap.settings
	}
	return a.m.w.cfg.settings
}

// byWord: the members' word alone keeps the lease still.
func (k *keeper) byWord() bool { return k.term.Promised(k.a.now()) }

// extend lets a held lease last by promises for which was asked from sent on.
func (k *keeper) extend(sent boot.Instant, length time.Duration) bool {
	if k.expire(); !k.held {
		return false
	}
	k.term.Promise(fence.Compute(sent, length, k.a.m.w.cfg.budget)) // no store counts here
	k.a.m.w.stats.Extended++
	if !k.unguarded {
		k.arm(nil)
	}
	return true
}

// drift: the key is not in the store any more, and the members' word keeps it.
func (k *keeper) drift() {
	if !k.term.Adrift {
		k.a.m.w.tracef("%s: the leader key is gone, the members' word keeps the lease", k.a.m.name)
		k.a.m.w.stats.Adrift++
	}
	k.term.Adrift, k.version, k.sight = true, "", fence.Sight{}
	k.a.wake()
}

// moor: it is there again.
func (k *keeper) moor(v cluster.Version) {
	k.term.Adrift, k.version = false, v
	k.arm(nil)
	k.a.wake()
}

// recheck reads the key again after a view that contradicts the holding.
func (k *keeper) recheck() {
	session, version, adrift := k.session, k.version, k.term.Adrift
	k.a.load(func(x *snapshot, err error) {
		if err != nil || !k.held || k.session != session || k.version != version || k.term.Adrift != adrift {
			return
		}
		switch l := x.view.Leader; {
		case l.Session == k.session && l.Held():
		case !l.Held() && k.byWord():
			k.drift()
		default:
			k.lose()
		}
	})
}

// writeFailsafe is the leader's list of those that may lead.
func (s *store) writeFailsafe(v *cluster.View, x ha.Action) error {
	if err := unchanged(v.FailsafeVersion, x.Version); err != nil {
		return err
	}
	v.Failsafe, v.FailsafeVersion = slices.Clone(x.Failsafe), ""
	if len(x.Failsafe) > 0 {
		v.FailsafeVersion = s.next()
	}
	return nil
}

// allowed reports whether the server may write as far as the store can tell: the
// lease is its member's, or nobody's while promises may keep it that member's (a key
// written by hand is nobody's lease). What happens when two do is seen by the order
// of their reigns.
func (c *checker) allowed(s *server) bool {
	return c.holds(s) || c.w.cfg.settings.Failsafe && c.w.store.view.Leader.Session == ""
}

// promisesLast is how much longer nobody may take the lease.
func (w *world) promisesLast() time.Duration {
	var out time.Duration
	for _, m := range w.members {
		if m.promise > 0 {
			out = max(out, m.promise)
		}
	}
	return out
}
