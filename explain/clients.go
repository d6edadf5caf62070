package explain

import (
	"fmt"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/journal"
)

// lossBegan is the first moment of the loss that is known.
func (t *teller) lossBegan() time.Time {
	at := t.c.beginning()
	for _, other := range []time.Time{t.loss.ended.earliest, first(t.loss.told), sighted(t.loss.gone)} {
		if !other.IsZero() && other.Before(at) {
			at = other
		}
	}
	return at
}

func first(entries []*entry) time.Time {
	if len(entries) == 0 {
		return time.Time{}
	}
	return entries[0].at
}

func sighted(all []sight) time.Time {
	if len(all) == 0 {
		return time.Time{}
	}
	return all[0].at
}

// outage is the time without a primary that accepts writes; nil where its
// beginning is not known.
func (t *teller) outage() *Outage {
	ended := t.loss.ended
	if ended.latest.IsZero() || t.c.At.IsZero() {
		return nil
	}
	o := Outage{FromEarliest: ended.earliest, From: ended.latest, To: t.c.At, Ended: true}
	if o.From.After(o.To) { // the old primary's end was recorded late
		o.From = o.To
	}
	if o.FromEarliest.After(o.From) {
		o.FromEarliest = o.From
	}
	o.Least, o.Most = o.To.Sub(o.From), o.To.Sub(o.FromEarliest)
	return &o
}

// outageText says how long nobody accepted writes.
func outageText(o Outage) string {
	least, most := approximately(o.Least), approximately(o.Most)
	if o.Most-o.Least <= 5*time.Millisecond || least == most {
		return fmt.Sprintf("No primary accepted writes for %s.", most)
	}
	return fmt.Sprintf("No primary accepted writes for at least %s and at most %s.", least, most)
}

// clients tells how long no writes were accepted, and what the entrypoints saw.
func (t *teller) clients(o *Outage) []Statement {
	var out []Statement
	if o != nil {
		s := Statement{At: o.From, Text: outageText(*o), Ground: Inferred, Evidence: refs(t.loss.silence, t.loss.release, t.loss.ended.alive, t.loss.ended.gone, t.c.done)}
		out = append(out, s)
		out = append(out, t.doubtOfOutage(*o)...)
		out = append(out, t.breakdown(*o)...)
	} else {
		out = append(out, unknown("How long no writes were accepted is not known: no record tells when the old primary ended."))
	}
	points := t.entrypoints()
	if len(points) == 0 {
		return append(out, unknown("No entrypoint of Matriarch is known, so that what connections went through is not on record."))
	}
	for _, p := range points {
		out = append(out, t.entrypoint(p)...)
	}
	return out
}

// doubtOfOutage says why the beginning is not known better.
func (t *teller) doubtOfOutage(o Outage) []Statement {
	n, ended := t.c.From, t.loss.ended
	switch {
	case o.Most-o.Least <= 5*time.Millisecond:
		return nil
	case t.loss.release != nil && ended.gone == nil:
		return []Statement{follows(fmt.Sprintf("The last write was accepted between the order to stop PostgreSQL on %s and its end.", n), t.loss.told[0], t.loss.release)}
	}
	text := fmt.Sprintf("The lease of %s was renewed last about %s before", n, approximately(o.Most))
	if ended.alive != nil {
		text = fmt.Sprintf("%s recorded last that it runs as the primary about %s before", n, approximately(o.Most))
	}
	seen := []*entry{ended.alive, ended.gone}
	switch mayBeDead := "; from then on it may have been dead. "; {
	case ended.gone != nil && ended.gone.src.Kind == KindEntrypoint:
		text += mayBeDead + fmt.Sprintf("The port of %s refused a connection of %s about %s before.", n, shown(ended.gone.src.Source), approximately(o.Least))
	case ended.gone != nil:
		text += mayBeDead + fmt.Sprintf("Its guard found no process of it any more about %s before.", approximately(o.Least))
	case t.loss.silence != nil && t.loss.silence.turn() != nil && t.loss.silence.turn().Observation.Guard.Running:
		text += mayBeDead + fmt.Sprintf("If it lived, its guard stopped the server about %s before.", approximately(o.Least))
		seen = append(seen, t.loss.silence)
	default:
		text += "; when after that it went down nobody saw."
		seen = append(seen, sightEntries(t.loss.gone)...)
	}
	return []Statement{follows(text, seen...)}
}

// breakdown says what the outage was spent with: that tells what would shorten it.
func (t *teller) breakdown(o Outage) []Statement {
	gone := sighted(t.loss.gone)
	if gone.IsZero() || t.c.took == nil || t.c.done == nil || gone.Before(o.FromEarliest) {
		return nil
	}
	var parts []string
	add := func(d time.Duration, format string, args ...any) {
		if d > 0 {
			parts = append(parts, approximately(d)+" "+fmt.Sprintf(format, args...))
		}
	}
	waited, upTo := gone.Sub(o.FromEarliest), ""
	if o.Most-o.Least > 5*time.Millisecond {
		upTo = "up to "
	}
	switch ttl := t.loss.gone[0].e.turn().Observation.Settings.TTL; {
	case waited <= 0:
	case t.loss.release != nil:
		parts = append(parts, upTo+approximately(waited)+fmt.Sprintf(" until %s had given its lease up", t.c.From))
	case find(t.old(), t.leaseReturned) != nil:
		parts = append(parts, upTo+approximately(waited)+fmt.Sprintf(" until the lease of %s was given up", t.c.From))
	default:
		parts = append(parts, upTo+approximately(waited)+fmt.Sprintf(" until the lease of %s had run out (ttl %s)", t.c.From, approximately(ttl)))
	}
	add(t.c.took.at.Sub(gone), "until %s held the lease", t.c.To)
	add(t.c.done.at.Sub(t.c.took.at), "until it was promoted")
	if len(parts) < 2 {
		return nil
	}
	return []Statement{follows("Of that: "+strings.Join(parts, ", ")+".", t.loss.gone[0].e, t.c.took, t.c.done)}
}

// leaseReturned: the session of the old primary's lease was ended for it before it
// ran out.
func (t *teller) leaseReturned(e *entry) bool {
	ev := e.event(journal.LeaseReleased)
	return ev != nil && ev.Error == "" && e.at.Before(t.c.At)
}

// entrypoint tells what one entrypoint recorded of the change.
func (t *teller) entrypoint(p *source) []Statement {
	if p.Missing != "" {
		return []Statement{unknown("%s could not be asked: %s.", capital(shown(p.Source)), sentenceOf(p.Missing))}
	}
	var out []Statement
	for _, e := range t.traffic(p) {
		out = append(out, said(e, "%s %s.", capital(shown(p.Source)), trafficText(e)))
	}
	if len(out) == 0 {
		return []Statement{unknown("%s recorded nothing of this change.", capital(shown(p.Source)))}
	}
	return out
}

// traffic are the records of an entrypoint that belong to the change: from the
// last loss before it to the first time that it forwarded to the new primary.
func (t *teller) traffic(p *source) []*entry {
	var out []*entry
	for _, e := range p.between(t.lossBegan().Add(-5*time.Second), t.settled()) {
		if trafficText(e) == "" {
			continue
		}
		found := e.rec.Event.Name == journal.PrimaryFound
		if found && e.at.Before(t.c.beginning()) {
			out = nil // that was another, short loss
			continue
		}
		out = append(out, e)
		if found && e.rec.Event.Traffic.Primary == t.c.To {
			break
		}
	}
	return out
}

// felt is what the change was for the clients of each entrypoint that tells.
func (t *teller) felt() []ClientView {
	var out []ClientView
	for _, p := range t.entrypoints() {
		for _, e := range t.traffic(p) {
			if e.rec.Event.Name != journal.PrimaryFound {
				continue
			}
			tr := e.rec.Event.Traffic
			out = append(out, ClientView{Entrypoint: short(p.Name), Without: tr.Without, Open: tr.Open, Broken: tr.Broken, Held: tr.Held,
				Released: tr.Released, Refused: tr.Refused, Longest: tr.Longest, Evidence: refs(e)})
		}
	}
	return out
}

// summary is the view in one sentence.
func (v ClientView) summary() Statement {
	text := fmt.Sprintf("Through the entrypoint %s there was no primary for %s", v.Entrypoint, approximately(v.Without))
	if v.Broken+v.Held > 0 {
		text += fmt.Sprintf("; it broke %s, held %s and released %d of them", count(v.Broken, "connection", "connections"), count(v.Held, "client", "clients"), v.Released)
		if v.Refused > 0 {
			text += fmt.Sprintf(", the other %d gave up or were turned away", v.Refused)
		}
	}
	return Statement{Text: text + ".", Ground: Recorded, Evidence: v.Evidence}
}

// settled is when the change is told to its end: clients may come back a while
// after the promotion.
func (t *teller) settled() time.Time {
	end := t.c.At.Add(time.Minute)
	if !t.until.IsZero() && t.until.Before(end) {
		return t.until
	}
	return end
}

// trafficText words an entrypoint's event; empty for other records.
func trafficText(e *entry) string {
	ev := e.rec.Event
	if ev == nil || ev.Traffic == nil {
		return ""
	}
	tr := ev.Traffic
	switch ev.Name {
	case journal.PrimaryLost:
		text := "has no primary any more"
		if tr.Primary != "" {
			text = fmt.Sprintf("lost the primary %s", harmless(tr.Primary))
		}
		if e.rec.Why != "" {
			text += ": " + sentenceOf(e.rec.Why)
		}
		return text
	case journal.PrimaryFound:
		return foundText(*tr)
	}
	return ""
}

// foundText says what an outage was for the clients of one entrypoint.
func foundText(tr journal.Traffic) string {
	text := fmt.Sprintf("forwards to %s again after %s without a primary", harmless(tr.Primary), approximately(tr.Without))
	if tr.Open > 0 || tr.Broken > 0 {
		text += fmt.Sprintf("; of %s it broke %d", count(max(tr.Open, tr.Broken), "open connection", "open connections"), tr.Broken)
	}
	if tr.Held == 0 {
		text += "; nobody waited for it"
	} else {
		text += fmt.Sprintf("; it held %s and released %d of them", count(tr.Held, "client", "clients"), tr.Released)
		if tr.Refused > 0 {
			text += fmt.Sprintf(", %d gave up or were turned away", tr.Refused)
		}
		text += fmt.Sprintf("; the longest waited %s", approximately(tr.Longest))
	}
	if tr.Silent > 0 && tr.Silent <= tr.Without+2*time.Second { // else nobody had anything to say
		text += fmt.Sprintf("; from the last byte to the old primary to the first that the new one served: %s", approximately(tr.Silent))
	}
	return text
}

// shown is an entrypoint's name for people.
func shown(s *Source) string {
	if s.Kind == KindEntrypoint {
		return "the entrypoint " + short(s.Name)
	}
	return s.Name
}
