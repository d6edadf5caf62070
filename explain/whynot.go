package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/election"
	"github.com/matriarch-ha/matriarch/wal"
)

// AnswerFormat names the form of an answer in JSON.
const AnswerFormat = "matriarch-why-not/1"

// Answer says what stands, or stood, in the way of a failover.
type Answer struct {
	Format   string    `json:"format"`
	Scope    string    `json:"scope"`
	Gathered time.Time `json:"gathered"`
	// At is the moment that is spoken of; Present: it is the one of gathering.
	At      time.Time `json:"at"`
	Present bool      `json:"present"`
	Title   string    `json:"title"`
	// Leader holds the leader key; empty: nobody, or not known.
	Leader string `json:"leader,omitempty"`
	// Successor would take over if the leader were lost; empty: nobody could.
	Successor string       `json:"successor,omitempty"`
	Members   []Standing   `json:"members"`
	Summary   []Statement  `json:"summary"`
	Sections  []Section    `json:"sections"`
	Sources   []SourceNote `json:"sources"`
}

// Standing is one member's case.
type Standing struct {
	Name     string       `json:"name"`
	Leads    bool         `json:"leads,omitempty"`
	Position wal.Position `json:"position,omitzero"`
	// MayLead: nothing keeps it from leading. Known is false where nothing is
	// known of it.
	Known   bool     `json:"known"`
	MayLead bool     `json:"may_lead"`
	Why     []string `json:"why,omitempty"`
	// Rule is the one by which it decided, Says its reason.
	Rule     string    `json:"rule,omitempty"`
	Says     string    `json:"says,omitempty"`
	AsOf     time.Time `json:"as_of,omitzero"`
	Evidence []Ref     `json:"evidence,omitempty"`
	// Now is what it says of itself at present.
	Now string `json:"now,omitempty"`

	tags cluster.Tags
	// recorded is the record that the position is from; nil: it said so just now.
	recorded *entry
}

// asker answers one question of this kind.
type asker struct {
	*teller
	at      time.Time
	present bool
	view    cluster.View // the newest before at
	viewOf  *entry
}

// WhyNot says what stood in the way of a failover at a moment; the zero time
// means when the evidence was gathered. The judgement is that of the code which
// decides in production, on what each member had before it.
func WhyNot(ev Evidence, at time.Time) (Answer, error) {
	a := &asker{teller: &teller{ev: &ev, sources: prepare(&ev)}, at: at.UTC(), present: at.IsZero()}
	if a.present {
		a.at = ev.Gathered
	}
	a.findView()
	if a.viewOf == nil && !a.nowKnown() {
		return Answer{}, fmt.Errorf("nothing is known of the cluster at %s: no record reaches back to then", a.at.Format(time.RFC3339))
	}
	out := Answer{Format: AnswerFormat, Scope: ev.Scope, Gathered: ev.Gathered, At: a.at, Present: a.present, Sources: a.notes()}
	out.Leader = a.leader()
	for _, s := range a.members() {
		out.Members = append(out.Members, a.standing(s, out.Leader))
	}
	out.Successor = best(out.Members)
	out.Title = a.titleOf(out)
	out.Summary = a.summaryOf(out)
	for _, part := range []Section{
		{ID: "leader", Title: "The leader", Statements: a.leaderStatements(out.Leader)},
		{ID: "cluster", Title: "What holds for all", Statements: a.clusterStatements(out.Leader)},
		{ID: "members", Title: "The members", Statements: a.memberStatements(out.Members)},
		{ID: "sure", Title: "How sure this is", Statements: a.sureness(Story{Sources: out.Sources})},
	} {
		if len(part.Statements) > 0 {
			out.Sections = append(out.Sections, part)
		}
	}
	return out, nil
}

func (a *asker) nowKnown() bool {
	return a.present && slices.ContainsFunc(a.ev.Sources, func(s Source) bool { return s.Now != nil })
}

// last is a source's newest turn up to the moment.
func (a *asker) last(s *source) *entry {
	return findLast(s.between(time.Time{}, a.at), func(e *entry) bool { return e.turn() != nil })
}

// findView takes the newest current view that any member had.
func (a *asker) findView() {
	for _, s := range a.members() {
		e := findLast(s.between(time.Time{}, a.at), func(e *entry) bool {
			return e.turn() != nil && e.turn().Observation.Store.Known && e.turn().Observation.Store.Reachable
		})
		if e != nil && (a.viewOf == nil || e.at.After(a.viewOf.at)) {
			a.viewOf, a.view = e, e.turn().Observation.Store.View
		}
	}
}

func (a *asker) leader() string {
	if a.present && a.ev.LeaderKnown {
		return a.ev.Leader
	}
	return a.view.Leader.Name
}

// standing judges one member, as it judged itself.
func (a *asker) standing(s *source, leader string) Standing {
	out := Standing{Name: s.Name, Leads: s.Name == leader && leader != ""}
	e := a.last(s)
	if e == nil {
		return a.withoutRecords(s, out)
	}
	o, m := e.turn().Observation, e.turn().Before
	if a.present {
		o, m = a.today(s, e)
	}
	out.Known, out.AsOf, out.Evidence = true, e.at, refs(e)
	out.Position, out.tags, out.recorded = o.Server.Position, o.Self.Tags, e
	if a.saysWhere(s) {
		out.recorded = nil
	}
	out.Rule, out.Says = string(e.rec.Rule), sentenceOf(e.rec.Why)
	out.Why = ha.Obstacles(o, m)
	if a.present && s.Now != nil {
		out.Now = nowText(*s.Now)
	}
	if n := s.Now; a.present && n != nil && n.Program != "" {
		// Its own word, given just now, is newer than any record.
		switch {
		case n.Eligible:
			out.Why = nil
		case n.WhyNot != "" && !slices.Contains(out.Why, n.WhyNot):
			out.Why = slices.Insert(out.Why, 0, harmless(n.WhyNot))
		}
	}
	if a.present && s.Missing != "" && s.Now == nil {
		out.Why = slices.Insert(out.Why, 0, "it does not answer: "+sentenceOf(s.Missing))
	}
	out.MayLead = len(out.Why) == 0
	return out
}

// withoutRecords is a member of which only its present word is known, or nothing.
func (a *asker) withoutRecords(s *source, out Standing) Standing {
	switch n := s.Now; {
	case a.present && n != nil:
		out.Known, out.AsOf, out.Evidence = true, a.at, []Ref{{Source: s.Name}}
		out.MayLead = n.Eligible
		if n.WhyNot != "" {
			out.Why = []string{harmless(n.WhyNot)}
		}
		if n.Program == "" {
			out.Why = []string{"it is run by another program, which does not say"}
		}
	case s.Missing != "":
		out.Why = []string{sentenceOf(s.Missing)}
	default:
		out.Why = []string{"no record of it reaches back to then"}
	}
	return out
}

// today is a member's last observation, brought up to date with what it and the
// others say now.
func (a *asker) today(s *source, e *entry) (ha.Observation, ha.Memory) {
	o, m := e.turn().Observation, e.turn().After
	o.Now += boot.Instant(max(0, a.ev.Gathered.Sub(e.at)))
	o.Settings.Paused = a.ev.Paused
	if a.viewOf != nil {
		o.Store.View = a.view
	}
	if len(a.ev.History) > 0 {
		o.Store.View.History = cluster.History{Present: true, Lines: a.ev.History, Version: o.Store.View.History.Version}
	}
	if l := a.named(a.ev.Leader); l != nil && l.Now != nil {
		if at, err := wal.ParseLSN(l.Now.LSN); err == nil {
			o.Store.View.Status.Optime = at
		}
	}
	if n := s.Now; n != nil {
		if at, err := wal.ParseLSN(n.LSN); err == nil && a.saysWhere(s) {
			o.Server.Position = wal.Position{Timeline: wal.Timeline(n.Timeline), LSN: at}
		}
		if n.State == "running" {
			o.Server.Process, o.Server.Dir = ha.ProcessRunning, ha.DirPresent
		}
	}
	return o, m
}

// saysWhere: the member tells its position now.
func (a *asker) saysWhere(s *source) bool {
	if !a.present || s.Now == nil || s.Now.Timeline <= 0 || s.Now.Timeline >= 1<<32 {
		return false
	}
	_, err := wal.ParseLSN(s.Now.LSN)
	return err == nil
}

// age says how much older a record is than the moment that is spoken of.
func (a *asker) age(e *entry) string {
	return approximately(max(0, a.at.Sub(e.at).Round(time.Millisecond))) + a.tense(" ago", " before")
}

// oldest is the oldest record of the positions that candidates are compared by; nil:
// they all said just now where they are.
func oldest(all []Standing) *entry {
	var old *entry
	for _, m := range all {
		if e := m.recorded; e != nil && m.MayLead && !m.Leads && (old == nil || e.at.Before(old.at)) {
			old = e
		}
	}
	return old
}

// best is the member that would win a race, by the same comparison; empty if
// nobody may lead.
func best(all []Standing) string {
	var top *election.Standing
	for _, m := range all {
		if m.Leads || !m.MayLead || !m.Known {
			continue
		}
		s := election.Standing{Name: m.Name, Tags: m.tags, Position: m.Position}
		if top == nil || election.Ahead(s, *top) {
			top = &s
		}
	}
	if top == nil {
		return ""
	}
	return top.Name
}

// tense chooses between what holds now and what held then.
func (a *asker) tense(now, then string) string {
	if a.present {
		return now
	}
	return then
}

func (a *asker) titleOf(out Answer) string {
	if out.Leader != "" {
		return fmt.Sprintf("Why nobody %s over from %s", a.tense("takes", "took"), out.Leader)
	}
	return "Why nobody " + a.tense("leads", "led")
}

// summaryOf is the answer in a few sentences.
func (a *asker) summaryOf(out Answer) []Statement {
	var all []Statement
	say := func(g Ground, format string, args ...any) {
		all = append(all, Statement{Ground: g, Text: fmt.Sprintf(format, args...), Evidence: refs(a.viewOf)})
	}
	if out.Leader != "" {
		say(Recorded, a.tense("%s holds the leader key. As long as it renews its lease, nobody else may lead: that alone stands in the way.",
			"%s held the leader key. As long as it renewed its lease, nobody else could lead: that alone stood in the way."), out.Leader)
	} else {
		say(Recorded, "Nobody %s the leader key.", a.tense("holds", "held"))
	}
	if a.paused() {
		say(Recorded, "The cluster %s paused: nobody takes over by itself then, whatever happens to the leader.", a.tense("is", "was"))
	}
	what := a.tense("If it were lost now", "If it had been lost then")
	if out.Leader == "" {
		what = "Of the members that are known"
	}
	if out.Successor == "" {
		say(Inferred, "%s, nobody could %s over; each member's reasons are below.", what, a.tense("take", "have taken"))
	} else {
		by := ""
		if e := oldest(out.Members); e != nil {
			by = ", by positions recorded up to " + a.age(e)
		}
		say(Inferred, "%s, %s would %s the best candidate%s.", what, out.Successor, a.tense("be", "have been"), by)
	}
	return all
}

func (a *asker) paused() bool {
	if a.present && a.nowKnown() {
		return a.ev.Paused
	}
	return a.viewOf != nil && a.viewOf.turn().Observation.Settings.Paused
}

// memberStatements put each member's case into words.
func (a *asker) memberStatements(all []Standing) []Statement {
	var out []Statement
	for _, m := range all {
		s := Statement{Ground: Recorded, Evidence: m.Evidence}
		at := ""
		if m.Position.Known() {
			at = ", at " + position(m.Position) + ","
			if m.recorded != nil { // a member records its position when it decides something else
				at = ", last recorded " + a.age(m.recorded) + " at " + position(m.Position) + ","
			}
		}
		switch {
		case m.Leads:
			s.Text = fmt.Sprintf("%s%s leads.", m.Name, at)
		case !m.Known:
			s.Ground, s.Text = Unknown, fmt.Sprintf("Of %s nothing is known: %s.", m.Name, strings.Join(m.Why, "; "))
		case m.MayLead:
			s.Text = fmt.Sprintf("%s%s could lead.", m.Name, at)
		default:
			s.Text = fmt.Sprintf("%s%s could not lead: %s.", m.Name, at, strings.Join(m.Why, "; "))
		}
		switch {
		case m.Now != "":
			s.Text += fmt.Sprintf(" Now it is %s.", m.Now)
		case m.Rule != "":
			s.Text += fmt.Sprintf(" By rule %s, since %s: %s.", m.Rule, m.AsOf.Format("15:04:05.000 MST"), m.Says)
		}
		out = append(out, s)
	}
	return out
}
