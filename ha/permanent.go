package ha

import "github.com/matriarch-ha/matriarch/cluster"

// permanent reports whether the leader key exists and belongs to no session:
// written by hand, or by a tool that puts a whole backup back. It stands for
// nobody's lease, and nothing ever makes it go.
func permanent(l cluster.Leader) bool { return l.Version != "" && l.Session == "" }

// rememberPermanent dates the first sight of such a key. A version is one state
// of one life of the key, so the same version is the key unchanged, also when
// nobody could look in between.
func (t *turn) rememberPermanent() {
	m, l := &t.m, t.view.Leader
	switch {
	case !permanent(l):
		m.PermanentSince, m.PermanentVersion = 0, ""
	case l.Version != m.PermanentVersion:
		m.PermanentSince, m.PermanentVersion = t.o.Now, l.Version
	}
}

// permanentLeader: the leader key belongs to no session. One of this member's
// name is removed when it has not changed for a full ttl: no agent of this name
// holds a lease by it, since leases are held by sessions alone, and whoever
// rewrote it would have changed its version. A key under a session is another
// matter: while it exists its session is alive, and somebody renews it (the
// store itself removes it otherwise), perhaps a second agent of this name; that
// is for people.
//
// One of another's name is that member's to remove. If it is not there, or runs
// a program that does not, only a person can tell what the key was meant for.
// As long as it names a running primary it is followed like any other.
func (t *turn) permanentLeader() bool {
	l := t.view.Leader
	if !permanent(l) || t.o.Lease.Held {
		return false
	}
	if lead, ok := t.view.LeaderMember(); ok && l.Name != t.o.Self.Name && lead.Running() && lead.Role == cluster.RolePrimary {
		return false
	}
	t.wake(roundLength)
	waited := t.since(t.m.PermanentSince) >= t.o.Settings.TTL && !t.storeIsNew()
	whose := sentence("the leader key names %q, who is no primary, and belongs to no session", l.Name)
	switch {
	case l.Name == t.o.Self.Name && waited:
		return t.answer(t.situation(), "the leader key bears this member's name, belongs to no session and has not changed for a ttl: removing it",
			Action{Kind: RemoveLeader, Version: l.Version})
	case l.Name == t.o.Self.Name:
		return t.answer(t.situation(), "the leader key bears this member's name, but belongs to no session: "+
			"it is removed when it has not changed for a ttl since it was first seen")
	case waited:
		return t.answer(t.situation(), whose+": nobody leads, and nobody can as long as it exists. "+
			"If no such leader runs outside this cluster, delete the key leader below the cluster's prefix in the store by hand")
	default:
		return t.answer(t.situation(), whose+", so it never expires: waiting for that member to remove it")
	}
}
