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
			ClockKnown: c.Known, Offset: c.Offset, Error: c.Error, Steps: s.dial.steps}
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
	what := n.Name
	if n.Kind == KindEntrypoint {
		what = "the entrypoint " + n.Name
	}
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
