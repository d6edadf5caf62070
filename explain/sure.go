package explain

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// harmless takes out of a stranger's text what a terminal would obey.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// notes say how good each source was.
func (t *teller) notes() []SourceNote {
	var out []SourceNote
	for _, s := range t.sources {
		c := s.dial.clock
		n := SourceNote{Name: s.Name, Kind: s.Kind, Missing: s.Missing, Incomplete: s.Incomplete, Records: len(s.entries), Unreadable: s.Unreadable,
			ClockKnown: c.Known, Offset: c.Offset, Error: c.Error, Steps: s.dial.steps, ByCause: s.byCause}
		for _, o := range t.sources {
			if o != s && o.host == s.host {
				n.SameHost = append(n.SameHost, o.Name)
			}
		}
		n.Text = noteText(n)
		out = append(out, n)
	}
	return out
}

// noteText puts a note into a sentence.
func noteText(n SourceNote) string {
	what := shown(&Source{Name: n.Name, Kind: n.Kind})
	if n.Missing != "" && n.Records == 0 {
		return fmt.Sprintf("Nothing came from %s: %s.", what, sentenceOf(n.Missing))
	}
	text := fmt.Sprintf("%s of %s", count(n.Records, "record", "records"), what)
	if n.Unreadable > 0 {
		text += fmt.Sprintf(", %d more could not be understood", n.Unreadable)
	}
	if n.Incomplete != "" {
		text += "; " + sentenceOf(n.Incomplete)
	}
	switch {
	case !n.ClockKnown:
		text += "; its clock could not be compared, so that its times are as it wrote them"
	case n.ByCause:
		text += fmt.Sprintf("; its clock could not be compared; what can only have come before or after other records bounds it to ± %s", fine(n.Error))
	case abs(n.Offset) <= n.Error:
		text += fmt.Sprintf("; its clock agrees with the one here within ± %s", fine(n.Error))
	default:
		text += fmt.Sprintf("; its clock is %s %s, ± %s; its times are corrected", fine(abs(n.Offset)), aheadOrBehind(n.Offset), fine(n.Error))
	}
	for _, s := range n.Steps {
		text += fmt.Sprintf("; its wall clock was set by %s after record %d, which is corrected by its boot clock", s.By.Round(time.Millisecond), s.After)
	}
	return text + "."
}

func aheadOrBehind(d time.Duration) string {
	if d < 0 {
		return "behind"
	}
	return "ahead"
}

// fine writes a small duration.
func fine(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

// sureness tells how good the evidence and the order of events are.
func (t *teller) sureness(s Story) []Statement {
	var out []Statement
	for _, n := range s.Sources {
		g := Recorded
		if n.Missing != "" || !n.ClockKnown {
			g = Unknown
		}
		out = append(out, Statement{Text: n.Text, Ground: g})
	}
	out = append(out, t.contradictions()...)
	if len(s.Events) == maxEvents {
		out = append(out, unknown("The time line ends after %d events; there were more.", maxEvents))
	}
	doubtful := 0
	for _, e := range s.Events {
		if e.Unproven {
			doubtful++
		}
	}
	switch {
	case len(s.Events) == 0:
	case doubtful == 0:
		out = append(out, Statement{Ground: Inferred, Text: "The order of all events is proven: by the numbers of one journal, by one clock, by clocks that are further apart than their doubt, or by cause."})
	default:
		out = append(out, Statement{Ground: Inferred, Text: fmt.Sprintf(
			"The order is proven but for %s, marked with ~: the clocks are not known well enough to say whether it came after the one before.", count(doubtful, "event", "events"))})
	}
	return out
}

// contradictions tell of clocks that cannot be right: an effect is dated before
// its cause by more than both may be off.
func (t *teller) contradictions() []Statement {
	var out []Statement
	told := map[string]bool{}
	for _, p := range pairs(t.sources) {
		a, b := p.cause, p.effect
		off := a.at.Sub(b.at) - a.doubt - b.doubt
		names := a.src.Name + " and " + b.src.Name
		if off <= 0 || told[names] || !a.src.dial.clock.Known || !b.src.dial.clock.Known {
			continue
		}
		told[names] = true
		out = append(out, follows(fmt.Sprintf("The clocks of %s contradict each other by %s more than was measured: one was set, or runs wrong. What must have come first is put first.", names, fine(off)), a, b))
	}
	return out
}
