package sim

import (
	"math/rand/v2"
	"time"

	"github.com/matriarch-ha/matriarch/ha/fence"
)

// model is what kind of store and of guard a world has. It is drawn from a
// source of its own, which also serves what happens by it: the worlds without
// any of it take the course that their seed always gave them.
type model struct {
	rng *rand.Rand

	// tick is how coarse the store counts. One that has a tick ends a session up
	// to a tick earlier than its newest confirmation says (the touch that confirmed
	// it is known to the follower alone), and looks at its timers once in a tick:
	// ZooKeeper. Zero: etcd.
	tick time.Duration
	most time.Duration // the longest session that is granted; 0: any

	// takeOver: the guard gives another agent time to take the server over, has it
	// stopped otherwise, and its helper ends the session then.
	takeOver  bool
	grace     time.Duration
	cleanStop time.Duration
	helper    time.Duration // how late the helper is at most; 0: there is none
	helperOut int           // in how many of four cases it does not come about
}

// drawModel draws the newer half of a world. Schedules of some kinds of faults
// only have it when they name Stores or TakeOver.
func drawModel(seed uint64, opt Options) model {
	r := rand.New(rand.NewPCG(seed, 0x73746f7265))
	m := model{rng: r}
	pick := func(ds ...time.Duration) time.Duration { return ds[r.IntN(len(ds))] }
	coarse, takes := r.IntN(3) == 0, r.IntN(2) == 0
	tick := pick(500*time.Millisecond, time.Second, 2*time.Second)
	grace, clean := pick(0, time.Second, 3*time.Second), pick(500*time.Millisecond, 2*time.Second, 0)
	helper, out := pick(0, 100*time.Millisecond, 2*time.Second, 8*time.Second), r.IntN(3)
	if opt.Plain {
		return m
	}
	if opt.Focus != nil {
		coarse, takes = opt.focuses(Stores), opt.focuses(TakeOver)
	}
	if coarse {
		m.tick, m.most = tick, 20*tick
	}
	if takes {
		m.takeOver, m.grace, m.cleanStop, m.helper, m.helperOut = true, grace, clean, helper, out
	}
	return m
}

// upTo draws a duration in [0, d].
func (m *model) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(m.rng.Int64N(int64(d) + 1))
}

// alone is how the world's guards behave without an agent.
func (m *model) alone() fence.Alone {
	if !m.takeOver {
		return fence.Alone{Grace: -1}
	}
	return fence.Alone{Grace: m.grace, CleanStop: m.cleanStop, Releasable: m.helper > 0}
}

func (o Options) focuses(k FaultKind) bool {
	for _, f := range o.Focus {
		if f == k {
			return true
		}
	}
	return false
}
