package ha

import (
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// askAgain is how long after a round of questions that was in vain the next one
// begins.
const askAgain = time.Second

// failsafeLead: the store is silent, and nobody can take the lease but a member
// that failsafe lists. Each of them is asked to promise that it will not, for a
// ttl from when it is asked; if every one does, the lease lasts as long as those
// promises, less the clocks' difference and the fence. The first question waits
// until half of the lease is over: most silences are short, and a promise delays
// the failover if this member dies now.
func (t *turn) failsafeLead() bool {
	st, l, f := t.o.Store, t.o.Lease, t.o.Failsafe
	if !st.Known || st.Reachable || !t.o.Settings.Failsafe || t.o.Settings.Paused || !t.live() || !t.running(ServerPrimary) {
		return false
	}
	// What was read binds everybody. A first list whose writing was not confirmed
	// may not be in the store: without one anybody may lead there.
	if !listed(t.view.Failsafe, t.o.Self.Name) {
		return false
	}
	list := t.recorded()
	left := l.Deadlines.Soft.Sub(t.o.Now)
	t.wakeAt(l.Deadlines.Soft)
	why := sentence("the store does not answer (%s); this member leads for another %s", st.LastError, left)
	due := left - t.failsafeMargin()
	vain := f.Error != "" && f.Ended > l.Deadlines.Sent
	switch {
	case f.Open():
		return t.answer(SituationNoStore, why+"; asking the other members to accept it")
	case due > 0:
		t.wake(due)
		return t.answer(SituationNoStore, why+", and asks the other members before that is over")
	case vain && t.since(f.Ended) < askAgain:
		t.wakeAt(f.Ended.Add(askAgain))
		return t.answer(SituationNoStore, why+"; not every member accepts it: "+f.Error)
	case vain:
		why += "; not every member accepted it (" + f.Error + ")"
	}
	t.wake(soon)
	return t.answer(SituationNoStore, why+": asking all recorded members to accept it for a ttl",
		Action{Kind: AskFailsafe, Session: l.Session, Failsafe: list})
}

// failsafeMargin is how long before the end of the lease the members are asked.
func (t *turn) failsafeMargin() time.Duration {
	if g := t.o.Lease.Granted; g > 0 {
		return min(g, t.o.Settings.TTL) / 2
	}
	return t.o.Settings.TTL / 2
}

// recorded are the members that could lead where a list was read: those that it
// has, and those that it may have by a write whose outcome was not seen. Nobody
// else can take the lease.
func (t *turn) recorded() []cluster.FailsafeMember { return union(t.view.Failsafe, t.m.FailsafeTried) }

// whyNoFailsafe says why a leader without the store cannot be kept, where it was
// meant to be.
func (t *turn) whyNoFailsafe() string {
	switch {
	case !t.o.Settings.Failsafe || !t.running(ServerPrimary):
		return ""
	case len(t.view.Failsafe) == 0:
		return "; failsafe_mode is on, but no members were recorded in the store yet"
	}
	return "; failsafe_mode is on, but this member is not among those recorded in the store"
}

// reclaim: the members' word outlived the key. Nobody else may take it as long as
// their promises last, so this member takes it again, under another session.
// Until that is done it writes nothing that a leader writes. A store that was
// replaced meanwhile is none to wait for: this member is no new leader.
func (t *turn) reclaim() bool {
	l := t.o.Lease
	if !l.Held || !l.Adrift {
		return false
	}
	t.wake(soon)
	left := l.Deadlines.Soft.Sub(t.o.Now)
	s := t.o.Server
	switch {
	case !t.running(ServerPrimary) || s.Rewinding || s.RewindUnproven:
		return t.answer(SituationLeading, "the leader key is gone, and the server is no running primary: leaving the lease to others",
			Action{Kind: ReleaseLeader, Session: l.Session})
	case t.view.Leader.Held() && t.view.Leader.Session != l.Session:
		return t.answer(SituationLeading, sentence("the members' word keeps the lease for another %s, but %s holds the key by the last reading: looking again",
			left, t.view.Leader.Name))
	case l.Session == "" || !t.live():
		return t.answer(SituationLeading, sentence("the leader key is gone and the members' word keeps the lease for another %s: waiting for a session to take it again with", left))
	}
	return t.answer(SituationLeading, sentence("the leader key is gone and the members' word keeps the lease for another %s: taking it again", left),
		Action{Kind: TakeLeader, Session: l.Session})
}

// holdBack: this member promised a leader that had lost the store to leave the
// lease alone. That leader may lead still, so the standby streams on, too.
func (t *turn) holdBack() bool {
	f := t.o.Failsafe
	if !t.leaderless() || !f.Promised(t.o.Now) {
		return false
	}
	t.wakeAt(f.Until)
	return t.answer(SituationFollowing, sentence("nobody holds the leader key, but this member accepted %s as leader without the store: leaving the lease alone for another %s",
		f.Leader, f.Until.Sub(t.o.Now)))
}

// unlisted: a leader without the store would not ask this member, so it may not
// lead: while failsafe_mode is on, and until a ttl after it was seen off, since a
// leader that has not heard of that yet may be led by its word. The ttl is the longest
// that its lease may have.
func (t *turn) unlisted() bool { return t.notListed(t.o.Self.Name) }

// notListed is unlisted for any member.
func (t *turn) notListed(name string) bool {
	if len(t.view.Failsafe) == 0 || listed(t.view.Failsafe, name) {
		return false
	}
	return t.o.Settings.Failsafe || t.since(t.m.FailsafeOff) < max(t.o.Settings.TTL, t.m.Longest.TTL)
}

const whyUnlisted = "failsafe_mode is on and the leader has not recorded it: a leader without the store would not ask it"

// rememberFailsafe is called with a current view.
func (t *turn) rememberFailsafe() {
	m := &t.m
	if t.view.FailsafeVersion != m.FailsafeBase {
		// One of the writes over that version was the first; the others fail.
		m.FailsafeBase, m.FailsafeTried = t.view.FailsafeVersion, nil
	}
	switch {
	case t.o.Settings.Failsafe:
		m.FailsafeOff = 0
	case m.FailsafeOff.IsZero():
		m.FailsafeOff = t.o.Now
	}
}

// failsafeDuty keeps the list of members that may lead.
func (t *turn) failsafeDuty() []Action {
	v := t.view
	write := Action{Kind: WriteFailsafe, Session: t.o.Lease.Session, Version: v.FailsafeVersion}
	open := t.m.FailsafeOpen.may(t.o.Lease.Session, v.FailsafeVersion)
	if !t.o.Settings.Failsafe {
		switch {
		case v.FailsafeVersion == "":
			return nil
		case t.o.Lease.ByWord || t.o.Failsafe.Open():
			// Who is not on the list has promised nothing, and waits while there is one.
			t.wake(soon)
			return nil
		}
		t.m.FailsafeOpen.Version = v.FailsafeVersion
		return []Action{write}
	}
	for _, m := range v.Members {
		if m.APIURL != "" {
			write.Failsafe = append(write.Failsafe, cluster.FailsafeMember{Name: m.Name, APIURL: m.APIURL})
		}
	}
	if !listed(write.Failsafe, t.o.Self.Name) || slices.Equal(write.Failsafe, v.Failsafe) && !open {
		return nil // its own key is written in this turn
	}
	if (t.o.Lease.ByWord || t.o.Failsafe.Open()) && !covers(v.Failsafe, write.Failsafe) {
		// Who is added may lead, and has promised nothing: the lease must end when the
		// store says so before that, and not go on by the word of the others alone.
		t.wake(soon)
		return nil
	}
	t.m.FailsafeTried, t.m.FailsafeOpen.Version = union(t.m.FailsafeTried, write.Failsafe), v.FailsafeVersion
	return []Action{write}
}

// promisedAway is how long members that were asked may still refuse to lead; zero
// when none does.
func (t *turn) promisedAway() time.Duration {
	f := t.o.Failsafe
	if f.Ended.IsZero() {
		return 0
	}
	return max(0, t.o.Settings.TTL+askAgain-t.since(f.Ended))
}

// covers reports whether every entry of the second is in the first.
func covers(list, of []cluster.FailsafeMember) bool {
	return !slices.ContainsFunc(of, func(m cluster.FailsafeMember) bool { return !slices.Contains(list, m) })
}

func listed(list []cluster.FailsafeMember, name string) bool {
	return slices.ContainsFunc(list, func(m cluster.FailsafeMember) bool { return m.Name == name })
}

// union has every entry of both, sorted: a member with two addresses twice.
func union(a, b []cluster.FailsafeMember) []cluster.FailsafeMember {
	out := slices.Concat(a, b)
	slices.SortFunc(out, func(a, b cluster.FailsafeMember) int {
		return strings.Compare(a.Name+"\x00"+a.APIURL, b.Name+"\x00"+b.APIURL)
	})
	return slices.Compact(out)
}
