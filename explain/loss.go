package explain

import (
	"fmt"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

// Cause is how the old primary was lost.
type Cause string

// The causes.
const (
	CauseSwitchover      Cause = "switchover"       // a person asked the leader to hand over
	CauseFailoverRequest Cause = "failover-request" // a person named the next one
	CauseStopped         Cause = "agent-stopped"    // its agent was told to stop
	CauseCrashed         Cause = "server-crashed"   // its server went down and was not brought back
	CauseReleased        Cause = "lease-released"   // it gave the lease up for another reason
	CauseStoreLost       Cause = "store-lost"       // it could not confirm its lease
	CauseKilled          Cause = "agent-killed"     // its agent ended without a word, and began anew
	CauseFrozen          Cause = "frozen"           // its agent did nothing for longer than its lease lasted
	CauseGone            Cause = "gone"             // nothing is known of its end but what others saw
	CauseUnknown         Cause = "unknown"
)

// loss is how the old primary was lost.
type loss struct {
	cause    Cause
	headline Statement
	// told are its own last words: its records from the first sign of trouble on.
	told []*entry
	// release is its decision to give the lease up, silence the last record before
	// a silence, and woke the first after it.
	release, silence, woke *entry
	// gone are the first sights of the free leader key, by others.
	gone  []sight
	ended span // the last write
}

// sight is what a member saw at a moment.
type sight struct {
	e  *entry
	at time.Time
}

func (t *teller) findLoss() loss {
	l := loss{cause: CauseUnknown, gone: t.keyGone()}
	old := t.old()
	l.told = lastWords(old, t.c.beginning(), t.c.At)
	l.release = findLast(l.told, func(e *entry) bool {
		_, gives := e.action(ha.ReleaseLeader)
		return gives && e.at.Before(t.c.At)
	})
	switch {
	case l.release != nil:
		l.cause = causeOfRelease(l.release, l.told)
		l.told = untilReleased(l.told, l.release)
	case len(old) == 0 || t.c.From == "":
		l.cause = t.causeByOthers()
	default:
		l.silent(old, t.c.beginning())
	}
	l.headline = t.headline(l)
	l.ended = t.writesEnded(l)
	return l
}

// lastWords are the old primary's records after its last ordinary turn as a
// leader before the change began.
func lastWords(old []*entry, began, over time.Time) []*entry {
	from := 0
	for i, e := range old {
		if e.rec.Rule == ha.Lead && e.at.Before(began) {
			from = i + 1
		}
	}
	for i, e := range old[:from] { // trouble that was not over
		if e.event(journal.LeaseTrouble) != nil && find(old[i:from], confirms) == nil {
			from = i
			break
		}
	}
	for from < len(old) && !notable(old[from]) {
		from++
	}
	return slices.DeleteFunc(slices.Clone(old[from:]), func(e *entry) bool { return e.at.After(over) })
}

// notable: the record tells of more than a leader's ordinary work.
func notable(e *entry) bool {
	if e.turn() != nil {
		return !slices.Contains([]ha.RuleID{ha.Lead, ha.Idle, ha.TaskRunning}, e.rec.Rule)
	}
	_, ok := tellEvent(e)
	return ok
}

// untilReleased ends the last words with the lease: what the member did after it
// belongs to its return.
func untilReleased(told []*entry, release *entry) []*entry {
	i := slices.Index(told, release)
	for j, e := range told[i:] {
		if e.done(ha.ReleaseLeader) {
			return told[:i+j+1]
		}
	}
	return told[:i+1]
}

func confirms(e *entry) bool { return e.event(journal.LeaseConfirmed) != nil }

// causeOfRelease says why the old primary gave its lease up.
func causeOfRelease(release *entry, told []*entry) Cause {
	turn := release.turn()
	switch handing := turn.Before.Handing; {
	case handing.Why == ha.HandingStop || turn.Observation.Stopping:
		return CauseStopped
	case handing.Why == ha.HandingSwitchover:
		asked := find(told, func(e *entry) bool { return e.rec.Rule == ha.SwitchoverAway })
		if asked != nil && asked.turn().Observation.Store.View.Failover.Leader == "" {
			return CauseFailoverRequest
		}
		return CauseSwitchover
	case handing.Why == ha.HandingLost:
		return CauseStoreLost
	case release.rec.Rule == ha.CrashedPrimary:
		return CauseCrashed
	}
	return CauseReleased
}

// silent finds out from the records of an old primary that never gave its lease
// up what became of it.
func (l *loss) silent(old []*entry, began time.Time) {
	lost := find(l.told, func(e *entry) bool {
		return e.rec.Rule == ha.LeaseLost && e.turn() != nil && !e.fresh() && e.at.Before(began)
	})
	if lost == nil {
		lost = find(l.told, func(e *entry) bool { return e.event(journal.LeaseEnded) != nil && e.at.Before(began) })
	}
	if lost != nil {
		l.cause = CauseStoreLost
		return
	}
	l.silence = findLast(old, func(e *entry) bool { return e.at.Before(began) && leads(e) })
	if l.silence == nil {
		return
	}
	after := old[slices.Index(old, l.silence)+1:]
	defer func() { l.told = untilDown(l.told) }()
	l.woke = find(after, func(e *entry) bool { return e.turn() != nil || e.fresh() })
	switch {
	case l.woke == nil:
		l.cause = CauseGone
	case l.woke.fresh():
		l.cause = CauseKilled
	default:
		l.cause = CauseFrozen
	}
}

// untilDown ends the last words of a primary that was found without its lease
// when its server is known to be down.
func untilDown(told []*entry) []*entry {
	for i, e := range told {
		if t := e.turn(); e.done(ha.Fence) || t != nil && t.Observation.Server.Process == ha.ProcessStopped {
			return told[:i+1]
		}
	}
	return told
}

// leads: the turn is of a time when its member held the lease.
func leads(e *entry) bool { return e.turn() != nil && e.turn().Observation.Lease.Held }

// causeByOthers: without the old primary's journal, what the others' views say.
func (t *teller) causeByOthers() Cause {
	v, ok := t.viewAtRace()
	switch {
	case !ok:
		return CauseUnknown
	case v.Handover.Present() && v.Handover.Leader == t.c.From && v.Failover.Requested():
		if v.Failover.Leader == "" {
			return CauseFailoverRequest
		}
		return CauseSwitchover
	case v.Handover.Present() && v.Handover.Leader == t.c.From:
		return CauseStopped
	}
	// Who answers now, and has no records of that time, may have gone in any way.
	if s := t.named(t.c.From); t.c.From == "" || s != nil && (s.Missing == "" || s.Now != nil) {
		return CauseUnknown
	}
	return CauseGone
}

// viewAtRace is the cluster as it was seen when nobody led.
func (t *teller) viewAtRace() (cluster.View, bool) {
	if t.c.raced() {
		return t.c.take.turn().Observation.Store.View, true
	}
	if len(t.loss.gone) > 0 {
		return t.loss.gone[0].e.turn().Observation.Store.View, true
	}
	for _, g := range t.keyGone() {
		return g.e.turn().Observation.Store.View, true
	}
	return cluster.View{}, false
}

// keyGone are the first sights of the free leader key, by every member but the
// old primary, in the order of time.
func (t *teller) keyGone() []sight {
	var out []sight
	end := t.c.At
	for _, s := range t.members() {
		if s.Name == t.c.From && t.c.From != t.c.To {
			continue
		}
		e := find(s.between(t.from, end), func(e *entry) bool {
			l, ok := leaderIn(e)
			return ok && !l.Held() && !e.turn().Observation.Lease.Held && !e.turn().After.LeaderlessSince.IsZero() && e.turn().After.Leader.Name == t.c.From
		})
		if e != nil {
			out = append(out, sight{e, e.instant(e.turn().After.LeaderlessSince)})
		}
	}
	slices.SortStableFunc(out, func(a, b sight) int { return a.at.Compare(b.at) })
	return out
}

// headline says in one sentence how the primary was lost.
func (t *teller) headline(l loss) Statement {
	n := t.c.From
	switch l.cause {
	case CauseSwitchover:
		return t.caused(l, "A person asked %s to hand over, which it did cleanly.", n)
	case CauseFailoverRequest:
		return t.caused(l, "A person asked for a failover; %s handed over.", n)
	case CauseStopped:
		return t.caused(l, "The agent of %s was told to stop; it stopped its server cleanly and gave the lease up.", n)
	case CauseCrashed:
		return t.caused(l, "PostgreSQL on %s went down and could not be brought back there, so the lease was given up.", n)
	case CauseReleased:
		return t.caused(l, "%s gave the lease up.", n)
	case CauseStoreLost:
		return t.caused(l, "%s could not confirm its lease in the store any more, and stopped its server.", n)
	case CauseKilled:
		if rebooted(l.silence, l.woke) {
			return follows(fmt.Sprintf("The host of %s went down and came back.", n), l.silence, l.woke)
		}
		if sameServer(l.silence, l.woke) {
			return follows(fmt.Sprintf("The agent of %s ended without a word: it was killed, or crashed.", n), l.silence, l.woke)
		}
		return follows(fmt.Sprintf("The agent of %s ended without a word, and PostgreSQL with it or by its guard: killed, crashed, or without power.", n), l.silence, l.woke)
	case CauseFrozen:
		if fenced := find(t.old(), func(e *entry) bool {
			return e.event(journal.ServerFenced) != nil && !foundNothing(e) && e.at.Before(t.c.At)
		}); fenced != nil {
			return follows(fmt.Sprintf("The agent of %s stood still for longer than its lease lasts; its guard stopped PostgreSQL at the deadline.", n), l.silence, fenced, l.woke)
		}
		return follows(fmt.Sprintf("The agent of %s stood still for longer than its lease lasts, or could not reach the store and did not notice.", n), l.silence, l.woke)
	case CauseGone:
		return follows(fmt.Sprintf("%s was lost without a word: its host, its agent or its network; its lease ran out, or its guard ended it.", n), sightEntries(l.gone)...)
	}
	if n == "" {
		return unknown("Who was the primary before is not known.")
	}
	if s := t.named(n); s != nil && s.Missing != "" {
		return unknown("How %s was lost is not known: %s.", n, sentenceOf(s.Missing))
	}
	return unknown("How %s was lost is not known: no record of that time is left.", n)
}

// caused is a headline with the records of the release, or what others saw.
func (t *teller) caused(l loss, format string, n string) Statement {
	s := Statement{Text: fmt.Sprintf(format, n), Ground: Recorded}
	if l.release != nil {
		s.Evidence = refs(l.told[0], l.release)
		return s
	}
	s.Ground, s.Evidence = Inferred, refs(sightEntries(l.gone)...)
	if len(l.told) > 0 {
		s.Ground, s.Evidence = Recorded, refs(l.told[0])
	}
	return s
}

func sightEntries(all []sight) []*entry {
	var out []*entry
	for _, s := range all {
		out = append(out, s.e)
	}
	return out
}

// rebooted: the boot clock began anew between the two records.
func rebooted(before, after *entry) bool {
	return before != nil && after != nil && !instantOf(before.rec).IsZero() && !instantOf(after.rec).IsZero() &&
		instantOf(after.rec) < instantOf(before.rec)
}
