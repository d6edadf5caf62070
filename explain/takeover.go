package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// candidates are the members in the race, the winner first, and why each did or
// did not take over: by the same code that decided then.
func (t *teller) candidates() []Candidate {
	c := t.c
	if !c.raced() {
		return t.candidatesByOwnWord(nil)
	}
	turn := c.take.turn()
	winner := Candidate{Name: c.To, Won: true, Position: turn.Observation.Server.Position, Why: sentenceOf(c.take.rec.Why), Evidence: refs(c.take)}
	out := []Candidate{winner}
	for _, v := range ha.Verdicts(turn.Observation, turn.Before) {
		cand := Candidate{Name: v.Name, Evidence: refs(c.take)}
		if i := slices.IndexFunc(turn.Observation.Peers, func(p ha.Peer) bool { return p.Name == v.Name }); i >= 0 && v.Answered {
			cand.Position = turn.Observation.Peers[i].Position
		}
		cand.Why = strings.Join(v.Why, "; ")
		t.ownWord(&cand)
		cand.Behind = winner.Position.LSN.Sub(cand.Position.LSN)
		if !cand.Position.Known() || cand.Position.Timeline > winner.Position.Timeline {
			cand.Behind = 0
		}
		out = append(out, cand)
	}
	return t.candidatesByOwnWord(out)
}

// ownWord adds what the member itself recorded in the race, which says more than
// its answer to others.
func (t *teller) ownWord(c *Candidate) {
	s := t.named(c.Name)
	if s == nil || len(s.entries) == 0 {
		if c.Name == t.c.From {
			c.Why = "it was the primary that was lost"
		}
		if s != nil && s.Missing != "" && c.Why == "" {
			c.Why = "it did not answer"
		}
		return
	}
	e := findLast(s.between(t.raceBegan(), t.c.At), func(e *entry) bool {
		return e.turn() != nil && e.turn().After.LeaderlessSince != 0
	})
	if e != nil {
		turn := e.turn()
		if why := ha.Obstacles(turn.Observation, turn.Before); len(why) > 0 {
			c.Why = strings.Join(why, "; ")
		}
		if !c.Position.Known() {
			c.Position = turn.Observation.Server.Position
		}
		c.Evidence = append(c.Evidence, e.ref())
	}
	if why, e := t.attempt(s); e != nil {
		c.Why = why
		c.Evidence = append(c.Evidence, e.ref())
	}
	switch {
	case c.Name == t.c.From && t.loss.cause == CauseSwitchover, c.Name == t.c.From && t.loss.cause == CauseFailoverRequest:
		c.Why = "it gave the primary up, and leaves the race to others"
	case c.Name == t.c.From && t.loss.cause == CauseStopped:
		c.Why = "its agent was stopping"
	case c.Name == t.c.From && c.Why != "":
		c.Why = "it was the primary that was lost: " + c.Why
	case c.Name == t.c.From:
		c.Why = "it was the primary that was lost"
	case c.Why == "":
		c.Why = "it was as good a candidate; the store gives the lease to one, and " + t.c.To + " was faster"
	}
}

// attempt: the member reached for the lease itself in this race.
func (t *teller) attempt(s *source) (string, *entry) {
	race := s.between(t.raceBegan(), t.c.At)
	if e := find(race, func(e *entry) bool { ev := e.event(string(ha.TakeLeader)); return ev != nil && ev.Error != "" }); e != nil {
		return fmt.Sprintf("it asked the store for the lease too, and the store had given it away: %s", sentenceOf(e.rec.Event.Error)), e
	}
	won := find(race, func(e *entry) bool { return e.done(ha.TakeLeader) })
	if won == nil {
		return "", nil
	}
	gave := find(s.between(won.at, t.c.At), func(e *entry) bool { _, ok := e.action(ha.ReleaseLeader); return ok && e.rec.Seq > won.rec.Seq })
	if gave == nil {
		return "", nil
	}
	return "it won the lease first, and gave it up: " + sentenceOf(gave.rec.Why), gave
}

// raceBegan is when nobody led, as far as anybody saw.
func (t *teller) raceBegan() time.Time {
	if len(t.loss.gone) > 0 {
		return t.loss.gone[0].at.Add(-time.Second)
	}
	return t.from
}

// candidatesByOwnWord adds the members that only their own records tell of.
func (t *teller) candidatesByOwnWord(out []Candidate) []Candidate {
	for _, g := range t.loss.gone {
		name := g.e.src.Name
		if name == t.c.To || slices.ContainsFunc(out, func(c Candidate) bool { return c.Name == name }) {
			continue
		}
		c := Candidate{Name: name}
		t.ownWord(&c)
		out = append(out, c)
	}
	return out
}

// candidateStatements put the candidates into sentences.
func (t *teller) candidateStatements(all []Candidate) []Statement {
	if len(all) == 0 {
		return []Statement{unknown("No record tells of the race: who else could have taken over is not known.")}
	}
	var out []Statement
	for _, c := range all {
		text := fmt.Sprintf("%s did not: %s", c.Name, c.Why)
		if c.Won {
			text = fmt.Sprintf("%s took over: %s", c.Name, c.Why)
		} else if c.Position.Known() {
			text = fmt.Sprintf("%s, at %s, did not: %s", c.Name, position(c.Position), c.Why)
		}
		if c.Behind > 0 && !strings.Contains(c.Why, "less than") {
			text += fmt.Sprintf(" (%s behind %s)", bytesText(c.Behind), t.c.To)
		}
		out = append(out, Statement{Text: text + ".", Ground: Recorded, Evidence: c.Evidence})
	}
	return out
}

// takeover tells the steps: each decision with its rule, the lease, the timeline.
func (t *teller) takeover() []Statement {
	c := t.c
	s := t.named(c.To)
	if s == nil || c.promote == nil {
		out := t.missingWinner()
		return append(out, t.timelineStatement())
	}
	var out []Statement
	start := t.raceBegan()
	if c.take != nil && c.take.at.Before(start) {
		start = c.take.at
	}
	for _, e := range s.between(start, c.At) {
		if !repeats(e) && (e.rec.Rule == ha.Race || e.rec.Rule == ha.TakeOver || e.rec.Rule == ha.Paused) {
			out = append(out, said(e, "%s, by rule %s: %s.", c.To, e.rec.Rule, sentenceOf(e.rec.Why)))
		}
		if e == c.took {
			out = append(out, t.lockStatement(e))
		}
		if ev := e.event(string(ha.ClaimTimeline)); ev != nil && ev.Error == "" {
			out = append(out, said(e, "The store gave %s the number of the new timeline, %d, which nobody else can have now.", c.To, c.Timeline))
		}
		if ev := e.rec.Event; ev != nil && ev.Error != "" {
			out = append(out, said(e, "%s on %s failed: %s.", ev.Name, c.To, sentenceOf(ev.Error)))
		}
	}
	if c.done != nil {
		took := approximately(c.done.rec.Event.Took)
		out = append(out, said(c.done, "PostgreSQL on %s was promoted in %s and accepts writes.", c.To, took))
	} else if c.leads != nil {
		out = append(out, said(c.leads, "%s runs as the primary.", c.To))
	}
	out = append(out, t.timelineStatement())
	return chronological(append(out, t.acceptance()...))
}

// lockStatement tells when the leader key changed hands, by the store's versions.
func (t *teller) lockStatement(e *entry) Statement {
	s := said(e, "The leader key is held by %s", t.c.To)
	if v := t.c.promote.turn().Observation.Store.View.Leader; v.Version != "" && v.Name == t.c.To {
		s.Text += fmt.Sprintf(" (version %s of the key)", harmless(string(v.Version)))
		s.Evidence = refs(e, t.c.promote)
	}
	if len(t.loss.gone) > 0 {
		s.Text += fmt.Sprintf(", %s after it was first seen free", approximately(e.at.Sub(t.loss.gone[0].at)))
	}
	s.Text += "."
	return s
}

func (t *teller) missingWinner() []Statement {
	s := t.named(t.c.To)
	switch {
	case s == nil:
		return []Statement{unknown("%s, which took over, is no member now; its journal was not asked for.", t.c.To)}
	case s.Missing != "":
		return []Statement{unknown("The journal of %s, which took over, could not be read: %s.", t.c.To, sentenceOf(s.Missing))}
	}
	return []Statement{unknown("The journal of %s does not reach back to this change.", t.c.To)}
}

// timelineStatement says which timeline began where.
func (t *teller) timelineStatement() Statement {
	c := t.c
	text := fmt.Sprintf("Timeline %d began", c.Timeline)
	if c.LSN > 0 {
		text = fmt.Sprintf("Timeline %d began at %s, where timeline %d was left", c.Timeline, c.LSN, c.Parent)
	}
	out := Statement{Text: text, Ground: Recorded, Evidence: t.historyRef()}
	if c.line != nil {
		out.Evidence = append([]Ref{{Source: "history"}}, refs(c.promote)...)
	}
	if c.promote != nil {
		out.Text += fmt.Sprintf("; %s had all WAL up to %s", c.To, position(c.promote.turn().Observation.Server.Position))
	} else if c.line != nil && c.line.Timestamp != "" {
		out.Text += fmt.Sprintf(", on record since %s", harmless(c.line.Timestamp))
	}
	out.Text += "."
	return out
}

// acceptance: when each other member saw the new leader, and followed it.
func (t *teller) acceptance() []Statement {
	var out []Statement
	for _, s := range t.members() {
		if s.Name == t.c.To || s.Name == t.c.From {
			continue
		}
		e := find(s.between(t.c.beginning(), t.until), func(e *entry) bool {
			l, ok := leaderIn(e)
			return ok && l.Name == t.c.To && (t.c.session == "" || l.Session == t.c.session)
		})
		if e == nil {
			continue
		}
		st := said(e, "%s saw that %s leads", s.Name, t.c.To)
		if f := find(s.between(e.at, t.until), func(e *entry) bool { return e.done(ha.Follow) || e.done(ha.StartReplica) }); f != nil {
			st.Text += fmt.Sprintf(", and followed it %s later", approximately(f.at.Sub(e.at)))
			st.Evidence = refs(e, f)
		}
		st.Text += "."
		out = append(out, st)
	}
	slices.SortStableFunc(out, func(a, b Statement) int { return a.At.Compare(b.At) })
	return out
}

// bytesText writes a number of bytes, with a rounding for large ones.
func bytesText(n uint64) string {
	for _, unit := range []struct {
		size uint64
		name string
	}{{1 << 30, "GB"}, {1 << 20, "MB"}, {1 << 10, "kB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%d bytes (%.1f %s)", n, float64(n)/float64(unit.size), unit.name)
		}
	}
	return count(int(n), "byte", "bytes")
}
