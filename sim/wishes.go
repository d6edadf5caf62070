package sim

import (
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
)

// wishes are what people asked for and have not been told about: I7.
type wishes struct {
	failover cluster.Failover
	leader   string // who led when it was asked
	by       map[wish]asked
}

// wish is one request to one member.
type wish struct {
	member  int
	request int
}

// asked is how the member's server was then.
type asked struct {
	life, copies int
	reinit       bool
}

// wishedFailover: a person wrote the failover key.
func (c *checker) wishedFailover(f cluster.Failover) {
	c.wishes.failover, c.wishes.leader = f, c.w.store.view.Leader.Name
}

// wished: a person asked one member for a restart or a copy.
func (c *checker) wished(m *member, request int, reinit bool) {
	if c.wishes.by == nil {
		c.wishes.by = map[wish]asked{}
	}
	c.wishes.by[wish{m.index, request}] = asked{m.server.life, m.server.copies, reinit}
}

// answered: what the person is told is what happened. A request that the agent
// died with has no answer: its connection broke, and the person knows that they
// do not know.
func (c *checker) answered(m *member, x ha.Action) {
	a, known := c.wishes.by[wish{m.index, x.Request}]
	switch {
	case x.Kind != ha.Reply || !known || x.Why == ha.ReinitStarted: // its end is told apart
	case x.Outcome != ha.Done && x.Why == "":
		c.violate("I7", "%s refuses a request and does not say why", m.name)
	case x.Outcome != ha.Done:
	case a.reinit && a.copies == m.server.copies:
		c.violate("I7", "%s says that its data were copied anew, and they were not", m.name)
	case !a.reinit && a.life == m.server.life:
		c.violate("I7", "%s says that its server was restarted, and it was not", m.name)
	}
}

// cleared: the failover key was emptied by a member: because it was done, or
// with a reason.
func (c *checker) cleared(m *member, x ha.Action) {
	f := c.wishes.failover
	c.wishes.failover = cluster.Failover{}
	if !f.Requested() || x.Why != "" {
		return
	}
	leads := c.w.store.view.Leader.Name
	if leads == "" || leads == c.wishes.leader || f.Candidate != "" && f.Candidate != leads {
		c.violate("I7", "%s clears the request of a switchover from %q to %q without a reason, and %q leads", m.name, f.Leader, f.Candidate, leads)
	}
}
