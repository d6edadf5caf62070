package proxy

import (
	"maps"
	"net"
	"sync/atomic"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/route"
)

// port is one listener, what its clients may do, and what became of them.
type port struct {
	access route.Access
	ln     *net.TCPListener

	clients   gauge
	accepted  atomic.Int64
	began     rate
	held      gauge        // clients that wait for a backend
	refused   atomic.Int64 // clients that got none
	malformed atomic.Int64 // clients that do not speak the protocol
	broken    atomic.Int64 // sessions that were ended because their backend was lost
	hold      timing       // waits, whatever came of them
	delay     timing       // of chunks, from having been read to having been sent
}

func newPort(a route.Access, ln *net.TCPListener) *port {
	return &port{access: a, ln: ln, hold: newTiming(holdBuckets), delay: newTiming(delayBuckets)}
}

// taken counts a client that was accepted.
func (pt *port) taken(at boot.Instant) {
	pt.accepted.Add(1)
	pt.began.add(at)
	pt.clients.add(1)
}

// holds counts a client that waits, until done is called.
func (pt *port) holds(c clock.Clock) (done func()) {
	since := c.Now()
	pt.held.add(1)
	return func() {
		pt.held.add(-1)
		pt.hold.took(c.Now().Sub(since))
	}
}

// accountOf names what is counted apart.
type accountOf struct {
	access route.Access
	member string
}

// enter counts a session of a port with a member, and returns where it is counted.
func (t *table) enter(a route.Access, member string) *account {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := accountOf{a, member}
	if t.accounts[of] == nil {
		t.accounts[of] = newAccount()
	}
	t.accounts[of].sessions.add(1)
	return t.accounts[of]
}

// policy is that of a port. One without a port of its own has the plain one.
func (t *table) policy(a route.Access) route.Policy {
	for _, p := range t.ports {
		if p.Access == a {
			return p
		}
	}
	return route.Policy{Access: a}
}

// keptNames bounds how many members are remembered that are in the store no more:
// what became of one shows when it is back.
const keptNames = 100

// judge notes whether each port uses each member, and wakes who waits for one when a
// port that used nobody does: the word that allows that need not differ from the one
// before it, which was only too old. The caller holds the lock.
func (t *table) judge() {
	if t.viewAt.IsZero() {
		return
	}
	now, news := t.clock.Now(), false
	for _, p := range t.ports {
		c, verdicts := route.Judge(t.query(p))
		for member, v := range verdicts {
			of := accountOf{p.Access, member}
			t.standing[of] = t.standing[of].next(v, now)
		}
		for of, st := range t.standing {
			if _, judged := verdicts[of.member]; of.access == p.Access && !judged {
				t.standing[of] = st.next(route.Verdict{Why: of.member + " has no key in the store"}, now)
			}
		}
		before := t.serving[p.Access]
		t.serving[p.Access] = before.next(route.Verdict{In: c.OK, Why: c.Why}, now)
		news = news || c.OK && !before.In
	}
	t.forget()
	if news {
		t.announce()
	}
}

// forget drops what is known of members that are gone when there are too many. The
// caller holds the lock.
func (t *table) forget() {
	idle := func(member string) bool {
		_, there := t.view.Member(member)
		for _, p := range t.ports {
			if a := t.accounts[accountOf{p.Access, member}]; a != nil && a.sessions.now.Load() > 0 {
				return false
			}
		}
		return !there
	}
	if len(t.standing) <= len(t.ports)*(len(t.view.Members)+keptNames) && len(t.failed) <= len(t.view.Members)+keptNames &&
		len(t.down) <= len(t.view.Members)+keptNames {
		return
	}
	maps.DeleteFunc(t.standing, func(of accountOf, _ standing) bool { return idle(of.member) })
	maps.DeleteFunc(t.accounts, func(of accountOf, _ *account) bool { return idle(of.member) })
	maps.DeleteFunc(t.failed, func(member string, _ int64) bool { return idle(member) })
	maps.DeleteFunc(t.down, func(member string, _ boot.Instant) bool { return idle(member) })
}
