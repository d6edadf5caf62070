package sim

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// actionKinds are all the kinds of actions that a decision may hold; a test
// compares them with package ha.
var actionKinds = [...]ha.ActionKind{
	ha.Fence, ha.CancelTask, ha.TakeLeader, ha.ReleaseLeader, ha.RemoveLeader,
	ha.ClaimInitialize, ha.ReleaseInitialize, ha.WriteInitialize, ha.WriteConfig, ha.WriteHistory, ha.WriteSync,
	ha.ClearFailover, ha.ClearHandover, ha.ClaimTimeline, ha.PublishIdentity, ha.PublishStatus,
	ha.AskPeers, ha.AskFailsafe, ha.WriteFailsafe, ha.StopReceiver, ha.Follow, ha.SetSyncNames, ha.KeepSlots,
	ha.AcceptBootstrap, ha.DiscardBootstrap, ha.AcceptRewind, ha.DropScheduled, ha.Reply, ha.Exit,
	ha.Bootstrap, ha.Clone, ha.StartReplica, ha.StartPrimary, ha.Promote, ha.Stop, ha.Rewind, ha.Checkpoint,
	ha.RestoreSync,
}

// drawnKinds are what a struck agent is drawn from: a number that does not change, or all
// seeds would be other worlds.
const drawnKinds = 37

// drawKind picks one of them; a later kind stands in for one that it is akin to.
func drawKind(i, variant int) ha.ActionKind {
	if k := actionKinds[i]; k != ha.WriteSync || variant < 5 {
		return k
	}
	return ha.RestoreSync
}

const maxActions = 48

// PerAction counts something for each kind of action.
type PerAction [maxActions]int

func (p *PerAction) count(k ha.ActionKind) {
	if i := slices.Index(actionKinds[:], k); i >= 0 {
		p[i]++
	}
}

func (p *PerAction) add(o *PerAction) {
	for i := range p {
		p[i] += o[i]
	}
}

// Of returns the count of one kind.
func (p *PerAction) Of(k ha.ActionKind) int {
	if i := slices.Index(actionKinds[:], k); i >= 0 {
		return p[i]
	}
	return 0
}

// None lists the kinds that were never counted.
func (p *PerAction) None() []ha.ActionKind {
	var out []ha.ActionKind
	for i, k := range actionKinds {
		if p[i] == 0 {
			out = append(out, k)
		}
	}
	return out
}

// ActionKinds lists all kinds of actions, in the order in which they are counted.
func ActionKinds() []ha.ActionKind { return slices.Clone(actionKinds[:]) }

// interrupted notes what the agent was in the middle of when it died or was
// stopped: the action of its turn, and the task beside it.
func (a *agent) interrupted() {
	s := &a.m.w.stats
	if !a.alive || a.paused {
		return
	}
	if a.doing != "" {
		s.Interrupted.count(a.doing)
	}
	if a.task.kind != "" && a.task.kind != a.doing {
		s.Interrupted.count(a.task.kind)
	}
}

// aim is a fault that waits for an action of one kind: it strikes right before
// it, in the middle of it, or right after it, before anything learns of it.
type aim struct {
	kind ha.ActionKind
	how  int // 1 killed before, 2 stopped before, 3 killed amid, 4 stopped amid, 5 killed after
	d    time.Duration
}

// aimed lets the fault strike that waits for this action; before: it has not
// begun. It reports whether the action is not to be begun (now).
func (a *agent) aimed(k ha.ActionKind) (halt bool) {
	m := a.m
	i := slices.IndexFunc(m.aims, func(x aim) bool { return x.kind == k })
	if i < 0 || m.w.now < m.pauseGrace {
		return false
	}
	x := m.aims[i]
	m.aims = slices.Delete(m.aims, i, i+1)
	amid := m.w.upTo(20 * time.Millisecond)
	if k.IsTask() {
		amid = m.w.upTo(time.Second)
	}
	epoch := a.epoch
	strike := func() {
		if a.epoch != epoch || !a.alive || m.w.ceased > 0 {
			return
		}
		m.w.stats.MidTurn++
		if x.how == 2 || x.how == 4 {
			m.w.tracef("%s: agent is stopped at %s for %s", m.name, k, x.d)
			a.stopFor(x.d)
			return
		}
		m.w.tracef("%s: agent is killed at %s", m.name, k)
		a.kill()
	}
	switch x.how {
	case 1, 2:
		a.doing = k // it is what does not happen
		strike()
		a.doing = ""
		return true
	case 5:
		a.after = strike
	default:
		m.w.after(amid, strike)
	}
	return false
}

// stopFor stops the agent's process for a while.
func (a *agent) stopFor(d time.Duration) {
	a.pause()
	epoch := a.epoch
	a.m.w.after(d, func() {
		if a.epoch == epoch {
			a.resume()
		}
	})
}
