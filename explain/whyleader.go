package explain

import (
	"fmt"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// leaderStatements tell how it is with the leader: who lives, holds its lease and
// has a running server needs no successor.
func (a *asker) leaderStatements(name string) []Statement {
	if name == "" {
		return a.leaderlessStatements()
	}
	s := a.named(name)
	if s == nil {
		return []Statement{unknown("%s holds the leader key, and is not among the members that were asked.", name)}
	}
	var out []Statement
	if n := s.Now; a.present && n != nil {
		text := fmt.Sprintf("%s is %s", name, nowText(*n))
		if n.LeaseLeft > 0 {
			text += fmt.Sprintf("; its lease lasts for another %s, until %s, and is renewed before that",
				approximately(n.LeaseLeft), a.ev.Gathered.Add(n.LeaseLeft).Format("15:04:05 MST"))
		}
		out = append(out, Statement{At: a.at, Ground: Recorded, Text: text + ".", Evidence: []Ref{{Source: name}}})
	}
	e := a.last(s)
	if e == nil {
		if s.Missing != "" {
			out = append(out, unknown("The journal of %s cannot be read: %s. Its key stands until its session in the store ends, at most one ttl after its last renewal.", name, sentenceOf(s.Missing)))
		}
		return out
	}
	return append(out, a.leaderRecord(name, e)...)
}

// leaderRecord words what the leader's last turn says of its lease and server.
func (a *asker) leaderRecord(name string, e *entry) []Statement {
	o := e.turn().Observation
	out := []Statement{said(e, "%s, by rule %s: %s.", name, e.rec.Rule, sentenceOf(e.rec.Why))}
	switch {
	case e.rec.Rule == ha.CrashedPrimary:
		limit := "as long as it takes"
		if d := o.Settings.PrimaryStartTimeout; d > 0 {
			limit = "for up to " + approximately(d)
		}
		out = append(out, follows(fmt.Sprintf("Its server is down and it holds its lease, so it may start it in place (primary_start_timeout: %s) before another is asked: that loses nothing and needs no new timeline.", limit), e))
	case !o.Store.Reachable && o.Lease.Held:
		out = append(out, follows(fmt.Sprintf("It cannot reach the store: %s. Its lease lasts until %s at the latest, then it stops its server; before that nobody else gets the lease.",
			sentenceOf(o.Store.LastError), e.instant(o.Lease.Deadlines.Soft).Format("15:04:05.000 MST")), e))
	case o.Lease.Held && running(e, ha.ServerPrimary):
		out = append(out, follows("It holds its lease and its server runs as the primary: no failover is due.", e))
	}
	return out
}

// leaderlessStatements: since when nobody leads.
func (a *asker) leaderlessStatements() []Statement {
	var first *entry
	var since time.Time
	for _, s := range a.members() {
		e := a.last(s)
		if e == nil || e.turn().After.LeaderlessSince.IsZero() {
			continue
		}
		if at := e.instant(e.turn().After.LeaderlessSince); first == nil || at.Before(since) {
			first, since = e, at
		}
	}
	if first == nil {
		return []Statement{unknown("Since when nobody leads is not recorded.")}
	}
	text := fmt.Sprintf("Nobody leads since %s", since.Format("15:04:05.000 MST"))
	if before := first.turn().After.Leader.Name; before != "" {
		text += fmt.Sprintf("; the last one was %s", before)
	}
	return []Statement{{At: since, Within: first.doubt, Ground: Recorded, Text: text + ".", Evidence: refs(first)}}
}

// holders are the members with every acknowledged commit. Records are written when
// a decision changes, and the set may have grown since the last one: a member that
// says just now that it may lead is in it.
func (a *asker) holders() []string {
	sync := a.view.Sync
	names := append([]string{sync.Leader}, sync.Standbys...)
	for _, s := range a.members() {
		if n := s.Now; a.present && n != nil && n.Eligible && !sync.Holds(s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

// clusterStatements tell what binds every member.
func (a *asker) clusterStatements(leader string) []Statement {
	var out []Statement
	say := func(format string, args ...any) {
		out = append(out, Statement{Ground: Recorded, Text: fmt.Sprintf(format, args...), Evidence: refs(a.viewOf)})
	}
	if a.paused() {
		say("The cluster is paused. `matriarch resume` ends that.")
	}
	if a.viewOf == nil {
		return out
	}
	o, v := a.viewOf.turn().Observation, a.view
	if v.Sync.Active() {
		say("Replication is synchronous: only a member that holds every acknowledged commit may lead, that is %s.", strings.Join(a.holders(), ", "))
	}
	if v.Failover.Requested() {
		text := "A person asked for another leader"
		if v.Failover.Candidate != "" {
			text += ", " + v.Failover.Candidate
		}
		if v.Failover.ScheduledAt != "" {
			text += ", at " + harmless(v.Failover.ScheduledAt)
		}
		say("%s.", text)
	}
	if h := v.Handover; h.Present() && leader == "" {
		seen := a.viewOf.turn().After
		bound := "only a member that has all of that may lead. Start one that has, or name another with `matriarch failover --candidate`, which loses what that one lacks"
		if o.Settings.LoseLastRecord {
			until := a.viewOf.instant(max(seen.HandoverSeen, seen.LeaderlessSince)).Add(max(o.Settings.TTL, o.Settings.PrimaryStopTimeout))
			bound = "until " + until.Format("15:04:05.000 MST") + " only a member that has all of that may lead"
		}
		say("%s stopped cleanly at %s on timeline %d: %s.", h.Leader, h.LSN, h.Timeline, bound)
	}
	if at := v.Status.Optime; at > 0 {
		say("A member may lack at most %s of what a leader published last (maximum_lag_on_failover); by the newest record of that, %s, it was %s.",
			bytesText(o.Settings.MaxLagOnFailover), a.age(a.viewOf), at)
	}
	for _, s := range a.members() {
		e := a.last(s)
		if e == nil || e.turn().Observation.Store.Reachable || s.Name == leader {
			continue
		}
		out = append(out, said(e, "%s cannot reach the store: %s. Nobody takes the lease without it.", s.Name, sentenceOf(e.turn().Observation.Store.LastError)))
	}
	return out
}
