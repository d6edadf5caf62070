package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

// since tells what became of the old primary after the change.
func (t *teller) since() []Statement {
	n := t.c.From
	s := t.named(n)
	if n == "" || n == t.c.To {
		return nil
	}
	var out []Statement
	if s != nil {
		for _, e := range s.between(t.c.beginning(), t.until) {
			if st, ok := t.repair(e); ok {
				out = append(out, st)
			}
		}
	}
	return append(out, t.present(s, n)...)
}

// repair words what a member did to come back.
func (t *teller) repair(e *entry) (Statement, bool) {
	n := e.src.Name
	if ev := e.rec.Event; ev != nil {
		what := map[string]string{
			string(ha.Rewind):       "%s was rewound to the new timeline with pg_rewind in %s",
			string(ha.Clone):        "The data of %s were copied anew in %s",
			string(ha.StartReplica): "PostgreSQL on %s was started as a replica in %s",
			string(ha.Follow):       "The replica on %s was pointed at the new primary in %s",
		}[ev.Name]
		switch {
		case what != "" && ev.Error == "":
			text := fmt.Sprintf(what, n, approximately(ev.Took))
			return said(e, "%s.", text), true
		case what != "":
			return said(e, "%s on %s failed after %s: %s.", capital(ev.Name), n, approximately(ev.Took), sentenceOf(ev.Error)), true
		case ev.Name == journal.RecordsLost && ev.Loss != nil:
			return lossText(e, n), true
		case ev.Name == journal.AgentStarted && !slices.Contains(t.loss.told, e):
			return said(e, "%s: %s.", n, sentenceOf(e.rec.Why)), true
		}
		return Statement{}, false
	}
	changed := e.prev == nil || e.prev.rec.Rule != e.rec.Rule || e.prev.rec.Why != e.rec.Why
	switch {
	case e.turn() == nil || !changed:
	case e.rec.Rule == ha.Diverged, e.rec.Rule == ha.ForeignData:
		return said(e, "%s, by rule %s: %s.", n, e.rec.Rule, sentenceOf(e.rec.Why)), true
	case e.rec.Rule == ha.Idle && running(e, ha.ServerStandby) && e.turn().Observation.Server.Streaming:
		return said(e, "%s streams from %s.", n, t.c.To), true
	}
	return Statement{}, false
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// present says what the member is now. Only the last change speaks of now.
func (t *teller) present(s *source, n string) []Statement {
	switch {
	case !t.isLast():
		return nil
	case s == nil:
		return []Statement{unknown("%s is no member of the cluster now.", n)}
	case s.Now == nil && s.Missing != "":
		return []Statement{{Text: fmt.Sprintf("%s is still gone: %s.", n, sentenceOf(s.Missing)), Ground: Recorded, Evidence: []Ref{{Source: n}}}}
	case s.Now == nil:
		return []Statement{unknown("What %s is now is not known.", n)}
	}
	return []Statement{{At: t.ev.Gathered, Text: fmt.Sprintf("Now %s is %s.", n, nowText(*s.Now)), Ground: Recorded, Evidence: []Ref{{Source: n}}}}
}

// nowText says what a member says of itself.
func nowText(n Now) string {
	text := harmless(n.State)
	if n.Role != "" {
		text += ", " + harmless(n.Role)
	}
	if n.Replication != "" {
		text += ", " + harmless(n.Replication)
	}
	if n.Timeline > 0 {
		text += fmt.Sprintf(", on timeline %d", n.Timeline)
	}
	if n.Task != "" {
		text += ", busy with " + harmless(n.Task)
	}
	return text
}

func (t *teller) isLast() bool { return t.c == t.changes[len(t.changes)-1] }

// advice is what a person should do now, if anything.
func (t *teller) advice() []Statement {
	if !t.isLast() {
		return nil
	}
	var out []Statement
	say := func(format string, args ...any) {
		out = append(out, Statement{Text: fmt.Sprintf(format, args...), Ground: Advice})
	}
	known := false
	for _, s := range t.members() {
		known = known || s.Now != nil
		switch {
		case s.Now == nil && s.Missing != "":
			say("Bring %s back: look whether its host runs and start its agent there; until then one member less can take over.", s.Name)
		case s.Now == nil:
		case s.Now.State != "running" && s.Now.Task == "":
			say("Look at %s: its PostgreSQL is %q. `journalctl` or the agent's log on that host says why.", s.Name, harmless(s.Now.State))
		case s.Now.Role == "replica" && s.Now.Replication != "streaming" && s.Now.Task == "":
			say("Look at %s: it is a replica and does not stream. `matriarch list` shows how far it is behind.", s.Name)
		}
	}
	if t.ev.Paused {
		say("The cluster is paused: nobody takes over by itself until `matriarch resume`.")
	}
	if t.ev.LeaderKnown && t.ev.Leader == "" {
		say("Nobody leads now: `matriarch explain --why-not` says what stands in the way of each member.")
	}
	if e := t.recordsLost(); e != nil && e.rec.Event.Loss.Kept != "" && e.rec.Event.Loss.Transactions > 0 && !t.syncHeld() {
		say("Decide what to do about the transactions that were lost: their WAL is kept on %s in %s, readable with pg_waldump.", e.src.Name, harmless(e.rec.Event.Loss.Kept))
	}
	if len(out) == 0 && known {
		say("Nothing: every member that answers is well.")
	}
	return out
}

// restarts are the primaries that were started again in place, newest first.
func (t *teller) restarts() []Restart {
	var out []Restart
	for _, s := range t.members() {
		for i := range s.entries {
			if r, ok := restartAt(s.entries[i:]); ok {
				out = append(out, r)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Restart) int { return b.At.Compare(a.At) })
	return out
}

// restartAt: the first entry is the end of a start in place of a primary that had
// run before.
func restartAt(entries []*entry) (Restart, bool) {
	e := entries[0]
	if !e.done(ha.StartPrimary) {
		return Restart{}, false
	}
	began := e
	for p := e.prev; p != nil && e.at.Sub(p.at) < time.Hour; p = p.prev {
		if _, ok := p.action(ha.StartPrimary); ok {
			began = p
			break
		}
	}
	turn := began.turn()
	if turn == nil || turn.Before.Led == "" || turn.Observation.Task.Last.Kind == ha.Bootstrap {
		return Restart{}, false
	}
	r := Restart{Member: e.src.Name, At: e.at, Asked: turn.Before.Restart.UnderWay(), Evidence: refs(began, e)}
	since := began.instant(turn.Observation.Server.RoleSince)
	down, attempt := exitBefore(began)
	if down != nil {
		r.Exit, since = down.event(journal.ServerExited).Exit, down.at
		r.Evidence = append(refs(down), r.Evidence...)
	}
	r.Took = e.at.Sub(since)
	what := "PostgreSQL on %s went down and was started again in place"
	if r.Asked {
		what = "PostgreSQL on %s was restarted, since a person asked for it"
	}
	r.Text = fmt.Sprintf(what, r.Member)
	if r.Exit != nil && !r.Asked {
		r.Text = fmt.Sprintf("PostgreSQL on %s %s, and was started again in place", r.Member, exitText(r.Exit))
	}
	if attempt > 1 && !r.Asked {
		r.Text += fmt.Sprintf(" at attempt %d", attempt)
	}
	r.Text += fmt.Sprintf(": the same primary and timeline, no writes for %s.", approximately(r.Took))
	return r, true
}

// exitBefore is the end of the server that was a primary before the start that began
// there, and how often it was started until then: what a start that failed left behind
// ended too.
func exitBefore(began *entry) (down *entry, attempt int) {
	attempt = 1
	failed := false // the exit seen last belongs to a start that failed
	for p := began.prev; p != nil && began.at.Sub(p.at) < time.Minute; p = p.prev {
		if p.done(ha.StartPrimary) || p.done(ha.Promote) {
			break // it ran
		}
		if _, ok := p.action(ha.StartPrimary); ok {
			failed = true
			attempt++
		}
		if x := p.event(journal.ServerExited); x != nil && x.Exit != nil && (down == nil || failed) {
			down, failed = p, false
		}
	}
	return down, attempt
}
