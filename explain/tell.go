package explain

import (
	"fmt"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/wal"
)

// Tell tells the change of the primary that is asked for. It is pure: the same
// evidence and question give the same story. The error is a *NoChange where the
// evidence knows of no such change.
func Tell(ev Evidence, q Question) (Story, error) {
	t := &teller{ev: &ev, sources: prepare(&ev)}
	t.changes = findChanges(t.ev, t.sources)
	at, err := q.pick(t.changes)
	if no, ok := err.(*NoChange); ok {
		no.Others, no.Restarts, no.Sources = t.others(nil), t.restarts(), t.notes()
		return Story{}, no
	}
	t.choose(at)
	return t.story(), nil
}

// teller tells one change.
type teller struct {
	ev      *Evidence
	sources []*source
	changes []*change

	c *change
	// from is when the change before was over, until when the next one began.
	from, until time.Time
	loss        loss
}

// choose narrows the records to those between the changes before and after.
func (t *teller) choose(at int) {
	t.c = t.changes[at]
	t.from, t.until = time.Time{}, time.Time{}
	if at > 0 {
		t.from = t.changes[at-1].At
	}
	if at+1 < len(t.changes) {
		t.until = t.changes[at+1].beginning()
	}
	t.loss = t.findLoss()
	if at+1 < len(t.changes) {
		t.until = t.endBefore(t.changes[at+1])
	}
}

// endBefore is when the loss before the next change began: what came after it is
// that one's story.
func (t *teller) endBefore(next *change) time.Time {
	end := next.beginning()
	for _, s := range t.sources {
		for _, e := range s.between(t.c.At, end) {
			if l := e.turn(); l != nil && !l.Observation.Store.View.Leader.Held() && l.Observation.Store.Reachable && e.at.Before(end) {
				end = e.at
			}
		}
	}
	return end
}

func (t *teller) story() Story {
	s := Story{
		Format: StoryFormat, Scope: t.ev.Scope, Gathered: t.ev.Gathered, Change: t.c.Change,
		Cause: t.loss.cause, Kind: t.kind(), Candidates: t.candidates(), Outage: t.outage(), Loss: t.lossOfData(), Clients: t.felt(),
		Others: t.others(t.c), Restarts: t.restarts(), Sources: t.notes(),
	}
	s.Events = t.events()
	s.Lanes = t.lanes(&s)
	for _, part := range []Section{
		{ID: "lost", Title: t.lostTitle(), Statements: t.lostStatements()},
		{ID: "candidates", Title: "Who could take over", Statements: t.candidateStatements(s.Candidates)},
		{ID: "takeover", Title: fmt.Sprintf("How %s took over", t.c.To), Statements: t.takeover()},
		{ID: "data", Title: "What became of the data", Statements: t.data()},
		{ID: "clients", Title: "What clients felt", Statements: t.clients(s.Outage)},
		{ID: "since", Title: "What happened since", Statements: t.since()},
		{ID: "next", Title: "What to do now", Statements: t.advice()},
		{ID: "sure", Title: "How sure this is", Statements: t.sureness(s)},
	} {
		if len(part.Statements) > 0 {
			s.Sections = append(s.Sections, part)
		}
	}
	s.Title = t.title(s.Kind)
	s.Summary = t.summary(s)
	return s
}

// kind is what sort of change it was.
func (t *teller) kind() Kind {
	switch t.c.From {
	case "":
		return First
	case t.c.To:
		return Again
	}
	switch t.loss.cause {
	case CauseSwitchover:
		return Switchover
	case CauseFailoverRequest:
		return ManualFailover
	case CauseStopped:
		return Handover
	}
	return Failover
}

func (t *teller) title(k Kind) string {
	from := t.c.From
	if from == "" {
		return fmt.Sprintf("%s became the primary", t.c.To)
	}
	switch k {
	case Switchover:
		return fmt.Sprintf("A switchover moved the primary from %s to %s", from, t.c.To)
	case ManualFailover:
		return fmt.Sprintf("A failover asked for by a person moved the primary from %s to %s", from, t.c.To)
	case Again:
		return fmt.Sprintf("%s was promoted again", t.c.To)
	}
	return fmt.Sprintf("%s took over from %s", t.c.To, from)
}

// summary is the story in a few sentences.
func (t *teller) summary(s Story) []Statement {
	out := []Statement{t.loss.headline}
	if s.Kind == Again && t.loss.cause == CauseStopped {
		out = append(out, follows(fmt.Sprintf("Nobody else took over; %s led again once its agent had been started.", t.c.To), t.c.take))
	}
	if o := s.Outage; o != nil {
		out = append(out, Statement{At: o.From, Text: outageText(*o), Ground: Inferred})
	}
	for _, v := range s.Clients[:min(len(s.Clients), 3)] {
		out = append(out, v.summary())
	}
	text := fmt.Sprintf("Timeline %d began", t.c.Timeline)
	if t.c.LSN > 0 {
		text += fmt.Sprintf(" at %s, where timeline %d was left", t.c.LSN, t.c.Parent)
	}
	out = append(out, Statement{Text: text + ".", Ground: Recorded, Evidence: t.historyRef()})
	return append(out, s.Loss.Statement)
}

// historyRef is what the timeline is known from.
func (t *teller) historyRef() []Ref {
	if t.c.promote != nil {
		return refs(t.c.promote, t.c.done)
	}
	return []Ref{{Source: "history"}}
}

// others are all changes but one, newest first.
func (t *teller) others(not *change) []Change {
	var out []Change
	for _, c := range slices.Backward(t.changes) {
		if c != not {
			out = append(out, c.Change)
		}
	}
	return out
}

// named is the source of a member, nil if it has none.
func (t *teller) named(name string) *source {
	i := slices.IndexFunc(t.sources, func(s *source) bool { return s.Kind == KindMember && s.Name == name })
	if i < 0 {
		return nil
	}
	return t.sources[i]
}

// members are the sources that are members, entrypoints the others.
func (t *teller) members() []*source {
	return slices.DeleteFunc(slices.Clone(t.sources), func(s *source) bool { return s.Kind != KindMember })
}

func (t *teller) entrypoints() []*source {
	return slices.DeleteFunc(slices.Clone(t.sources), func(s *source) bool { return s.Kind != KindEntrypoint })
}

// old are the records of the old primary between the change before and the end.
func (t *teller) old() []*entry {
	s := t.named(t.c.From)
	if s == nil || t.c.From == "" {
		return nil
	}
	return s.between(t.from, t.until)
}

// refs names records as evidence, without those that are missing.
func refs(entries ...*entry) []Ref {
	var out []Ref
	for _, e := range entries {
		if e != nil && !slices.Contains(out, e.ref()) {
			out = append(out, e.ref())
		}
	}
	return out
}

// said is a statement that a record makes, at its time.
func said(e *entry, format string, args ...any) Statement {
	return Statement{At: e.at, Within: e.doubt, Text: fmt.Sprintf(format, args...), Ground: Recorded, Evidence: refs(e)}
}

// follows is a statement that follows from records; it has no moment of its own.
func follows(text string, from ...*entry) Statement {
	return Statement{Text: text, Ground: Inferred, Evidence: refs(from...)}
}

// unknown is a statement that nobody saw something.
func unknown(format string, args ...any) Statement {
	return Statement{Text: fmt.Sprintf(format, args...), Ground: Unknown}
}

func position(p wal.Position) string {
	if !p.Known() {
		return "an unknown position"
	}
	return fmt.Sprintf("%s on timeline %d", p.LSN, p.Timeline)
}

// leaderIn is the holder of the leader key in a current view.
func leaderIn(e *entry) (cluster.Leader, bool) {
	if e.turn() == nil || !e.turn().Observation.Store.Reachable {
		return cluster.Leader{}, false
	}
	return e.turn().Observation.Store.View.Leader, true
}

// running: the record's server runs in the role.
func running(e *entry, role ha.ServerRole) bool {
	t := e.turn()
	return t != nil && t.Observation.Server.Process == ha.ProcessRunning && t.Observation.Server.Role == role
}
