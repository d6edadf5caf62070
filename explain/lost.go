package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

func (t *teller) lostTitle() string {
	if t.c.From == "" {
		return "What was before"
	}
	switch t.loss.cause {
	case CauseSwitchover, CauseFailoverRequest, CauseStopped:
		return fmt.Sprintf("How %s gave up", t.c.From)
	}
	return fmt.Sprintf("How %s was lost", t.c.From)
}

// lostStatements tell the loss, as the old primary and as the others saw it.
func (t *teller) lostStatements() []Statement {
	var out []Statement
	for _, e := range t.requests() {
		if s, ok := tellEvent(e); ok {
			out = append(out, s)
		}
	}
	for _, e := range t.loss.told {
		if s, ok := tellOwn(e); ok && e.event(journal.Requested) == nil {
			out = append(out, s)
		}
	}
	out = append(out, t.silenceStatements()...)
	out = append(out, t.sightStatements()...)
	if len(out) == 0 {
		return []Statement{t.loss.headline}
	}
	return chronological(out)
}

// chronological sorts statements by time; one without a time stays behind the
// one that it follows.
func chronological(all []Statement) []Statement {
	var groups [][]Statement
	for _, s := range all {
		if n := len(groups); s.At.IsZero() && n > 0 {
			groups[n-1] = append(groups[n-1], s)
			continue
		}
		groups = append(groups, []Statement{s})
	}
	slices.SortStableFunc(groups, func(a, b []Statement) int { return a[0].At.Compare(b[0].At) })
	return slices.Concat(groups...)
}

// requests are what people asked of any member for another leader, right before.
func (t *teller) requests() []*entry {
	if !slices.Contains([]Cause{CauseSwitchover, CauseFailoverRequest}, t.loss.cause) {
		return nil
	}
	var out []*entry
	for _, s := range t.members() {
		e := findLast(s.between(t.from, t.c.beginning()), func(e *entry) bool {
			ev := e.event(journal.Requested)
			return ev != nil && ev.Request != nil && slices.Contains([]string{"switchover", "failover"}, ev.Request.Kind)
		})
		if e != nil && (len(out) == 0 || e.at.After(out[0].at)) {
			out = []*entry{e}
		}
	}
	return out
}

// tellOwn words a record of the old primary; ok is false for one that tells
// nothing new.
func tellOwn(e *entry) (Statement, bool) {
	if s, ok := tellEvent(e); ok {
		return s, true
	}
	if e.turn() == nil {
		return Statement{}, false
	}
	if e.rec.Rule == ha.TaskRunning || repeats(e) {
		return Statement{}, false
	}
	return said(e, "%s, by rule %s: %s.", e.src.Name, e.rec.Rule, sentenceOf(e.rec.Why)), true
}

// repeats: the decision before was the same, or only waited for the same.
func repeats(e *entry) bool {
	for p := e.prev; p != nil; p = p.prev {
		if p.turn() != nil {
			return p.rec.Rule == e.rec.Rule && p.rec.Why == e.rec.Why
		}
	}
	return false
}

// tellEvent words an event.
func tellEvent(e *entry) (Statement, bool) {
	ev := e.rec.Event
	if ev == nil {
		return Statement{}, false
	}
	n := e.src.Name
	switch ev.Name {
	case journal.ServerExited:
		return said(e, "PostgreSQL on %s %s.", n, exitText(ev.Exit)), true
	case journal.Requested:
		return said(e, "At %s: %s.", n, sentenceOf(e.rec.Why)), true
	case journal.AgentStarted, journal.AgentStopping, journal.AgentEnded, journal.LeaseTrouble,
		journal.LeaseConfirmed, journal.LeaseEnded, journal.ServerFenced, journal.TakenOver, journal.LeaseReleased, journal.RecordsLost:
		return said(e, "%s: %s.", n, sentenceOf(cmp.Or(e.rec.Why, ev.Name))), true
	}
	failed := ""
	if ev.Error != "" {
		failed = "; it failed: " + sentenceOf(ev.Error)
	}
	took := approximately(ev.Took)
	switch ha.ActionKind(ev.Name) {
	case ha.Stop:
		return said(e, "The stop of PostgreSQL on %s was over after %s%s.", n, took, failed), true
	case ha.Fence:
		return said(e, "The fence of PostgreSQL on %s was over after %s: no process of it runs any more%s.", n, took, failed), true
	case ha.ReleaseLeader:
		if failed == "" {
			return said(e, "%s gave the leader key back to the store.", n), true
		}
		return said(e, "%s tried to give the leader key back%s.", n, failed), true
	case ha.StartPrimary:
		return said(e, "The start of PostgreSQL on %s, in place, was over after %s%s.", n, took, failed), true
	}
	return Statement{}, false
}

// exitText says how a process ended.
func exitText(x *journal.Exit) string {
	asked := "unexpectedly"
	if x != nil && x.Asked {
		asked = "on the order of the agent or its guard"
	}
	switch {
	case x == nil || !x.Known:
		return "ended, " + asked + "; its exit status is not known, since it was not the agent's child"
	case x.Signal != "":
		return fmt.Sprintf("was ended by %s, %s", sentenceOf(x.Signal), asked)
	}
	return fmt.Sprintf("ended with exit status %d, %s", x.Code, asked)
}

// sentenceOf makes a text fit into a sentence of ours: one line, no end.
func sentenceOf(text string) string {
	return strings.TrimRight(strings.Join(strings.Fields(text), " "), ".")
}

// silenceStatements tell of a journal that breaks off.
func (t *teller) silenceStatements() []Statement {
	l, n := t.loss, t.c.From
	if l.silence == nil {
		return t.missingStatements()
	}
	lease := ""
	if turn := l.silence.turn(); turn != nil && turn.Observation.Lease.Granted > 0 {
		lease = fmt.Sprintf(", with a lease of %s that it renewed without further records", approximately(turn.Observation.Lease.Granted))
	}
	out := []Statement{said(l.silence, "The last record of %s as the primary: %s%s.", n, sentenceOf(l.silence.rec.Why), lease)}
	if l.woke == nil {
		s := follows("Its journal ends there. Whether the agent, its host or its network failed, it cannot say.", l.silence)
		return append(append(out, s), t.missingStatements()...)
	}
	var s Statement
	switch {
	case rebooted(l.silence, l.woke):
		s = said(l.woke, "Its journal goes on here, on a host that was started anew since.")
	case l.cause == CauseKilled && sameServer(l.silence, l.woke):
		s = said(l.woke, "Its journal goes on here, with an agent that remembers nothing: it was started anew. PostgreSQL had run on without it.")
	case l.cause == CauseKilled:
		s = said(l.woke, "Its journal goes on here, with an agent that remembers nothing: it was started anew.")
	default:
		s = said(l.woke, "Its journal goes on here, in the same agent: for %s it had nothing to record, or stood still. Its server is %s now.",
			approximately(l.woke.at.Sub(l.silence.at)), processText(l.woke))
	}
	s.Ground = Inferred
	s.Evidence = refs(l.silence, l.woke)
	return append(out, s)
}

// missingStatements say why a journal is not at hand.
func (t *teller) missingStatements() []Statement {
	s := t.named(t.c.From)
	switch {
	case t.c.From == "":
		return nil
	case s == nil:
		return []Statement{unknown("The journal of %s was not asked for: it is no member now.", t.c.From)}
	case s.Missing != "":
		return []Statement{unknown("The journal of %s could not be read: %s.", t.c.From, sentenceOf(s.Missing))}
	case len(s.entries) == 0:
		return []Statement{unknown("%s has no records of its own.", t.c.From)}
	}
	return nil
}

// sameServer: the postmaster at the one and after the other is one.
func sameServer(a, b *entry) bool {
	for _, e := range b.src.entries[slices.Index(b.src.entries, b):] {
		if e.turn() == nil || a.turn() == nil {
			continue
		}
		x, y := a.turn().Observation.Server, e.turn().Observation.Server
		return !x.PostmasterStart.IsZero() && x.PostmasterStart.Equal(y.PostmasterStart)
	}
	return false
}

func processText(e *entry) string {
	if e.turn() == nil || e.turn().Observation.Server.Process == ha.ProcessUnknown {
		return "in an unknown state"
	}
	return string(e.turn().Observation.Server.Process)
}

// sightStatements tell when each other member saw the leader key go.
func (t *teller) sightStatements() []Statement {
	var out []Statement
	for i, g := range t.loss.gone {
		view := g.e.turn().Observation.Store.View
		s := Statement{At: g.at, Within: g.e.doubt, Ground: Recorded, Evidence: refs(g.e)}
		s.Text = fmt.Sprintf("%s saw that the leader key was gone.", g.e.src.Name)
		if i == 0 {
			switch h := view.Handover; {
			case h.Present() && h.Leader == t.c.From:
				s.Text = fmt.Sprintf("%s saw that the leader key was gone, given up on purpose: %s had left word that it stopped cleanly at %s.", g.e.src.Name, h.Leader, h.LSN)
			case t.loss.release != nil:
			case find(t.old(), t.leaseReturned) != nil:
				s.Text = fmt.Sprintf("%s saw that the leader key was gone: the session of %s in the store had been ended before its time.", g.e.src.Name, t.c.From)
			default:
				s.Text = fmt.Sprintf("%s saw that the leader key was gone: the session of %s in the store had ended, since nothing had renewed it.", g.e.src.Name, t.c.From)
			}
		}
		out = append(out, s)
		if last, ok := lastPublished(g.e, t.c.From); ok && i == 0 {
			out = append(out, last)
		}
	}
	return out
}

// lastPublished is what the old primary had said of itself in the store.
func lastPublished(e *entry, name string) (Statement, bool) {
	m := e.turn().After.Leader
	if m.Name != name || m.State == "" {
		return Statement{}, false
	}
	text := fmt.Sprintf("The last that %s had published, as %s remembers: state %q, role %q", name, e.src.Name, m.State, m.Role)
	if m.XLog > 0 {
		text += fmt.Sprintf(", at %s", m.XLog)
	}
	return follows(text+".", e), true
}

// approximately rounds a duration for reading.
func approximately(d time.Duration) string {
	switch {
	case abs(d) >= 2*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	case abs(d) >= 10*time.Minute:
		return fmt.Sprintf("%.1f min", d.Minutes())
	case abs(d) >= time.Second && d%time.Second == 0:
		return fmt.Sprintf("%d s", d/time.Second)
	case abs(d) >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case abs(d) >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}
