package proxy

import (
	"maps"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/route"
)

// service is what a port leads to: whom it uses, and since when. The table's lock
// guards all but port and policy.
type service struct {
	port   string // its name
	policy route.Policy

	serving  standing            // whether it uses anybody
	standing map[string]standing // by member

	queue   []*ticket // of who waits, if there is a limit; in order
	tickets uint64    // ever
	last    grant     // what the first of them was told last
}

func newService(port string, p route.Policy) *service {
	return &service{port: port, policy: p, standing: map[string]standing{}}
}

// writes: whoever comes here wants the primary, wherever that is.
func (s *service) writes() bool { return s.policy.Access == route.ReadWrite }

// outage: that nobody can be used here is that the cluster has no primary.
func (s *service) outage() bool { return s.writes() && s.policy.Member == "" }

// wanted names what the service leads to.
func (s *service) wanted() string {
	what := "primary"
	switch s.policy.Access {
	case route.ReadOnly:
		what = "server for reading"
	case route.Any:
		what = "server"
	case route.Sync:
		what = "synchronous standby"
	}
	if s.policy.Member != "" {
		what += " " + s.policy.Member
	}
	return what
}

// accountOf names what is counted apart.
type accountOf struct{ port, member string }

// accountFor is where the sessions of a port with a member are counted. The caller
// holds the lock.
func (t *table) accountFor(port, member string) *account {
	of := accountOf{port, member}
	if t.accounts[of] == nil {
		t.accounts[of] = newAccount()
	}
	return t.accounts[of]
}

// keptNames bounds how many members are remembered that are in the store no more:
// what became of one shows when it is back.
const keptNames = 100

// judge notes whether each service uses each member, and wakes who waits for one when
// a service that used nobody does: the word that allows that need not differ from the
// one before it, which was only too old. The caller holds the lock.
func (t *table) judge() {
	if t.viewAt.IsZero() {
		return
	}
	now, news := t.clock.Now(), false
	for _, s := range t.services {
		c, verdicts := route.Judge(t.queryFor(s))
		for member, v := range verdicts {
			s.standing[member] = s.standing[member].next(v, now)
		}
		for member, st := range s.standing {
			if _, judged := verdicts[member]; !judged {
				s.standing[member] = st.next(route.Verdict{Why: member + " has no key in the store"}, now)
			}
		}
		before := s.serving
		s.serving = before.next(route.Verdict{In: c.OK, Why: c.Why}, now)
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
	most := len(t.view.Members) + keptNames
	crowded := len(t.failed) > most || len(t.down) > most
	for _, s := range t.services {
		crowded = crowded || len(s.standing) > most
	}
	if !crowded {
		return
	}
	busy := map[string]bool{}
	for of, a := range t.accounts {
		busy[of.member] = busy[of.member] || a.sessions.now.Load() > 0
	}
	idle := func(member string) bool {
		_, there := t.view.Member(member)
		return !there && !busy[member]
	}
	for _, s := range t.services {
		maps.DeleteFunc(s.standing, func(member string, _ standing) bool { return idle(member) })
	}
	maps.DeleteFunc(t.accounts, func(of accountOf, _ *account) bool { return idle(of.member) })
	maps.DeleteFunc(t.failed, func(member string, _ int64) bool { return idle(member) })
	maps.DeleteFunc(t.down, func(member string, _ boot.Instant) bool { return idle(member) })
}
