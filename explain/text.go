package explain

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// TextOptions say how a story is written for a terminal.
type TextOptions struct {
	// Columns is the width; 0 means 80.
	Columns int
	// Colour uses what terminals understand.
	Colour bool
	// Zone is the time zone of the times; nil: UTC.
	Zone *time.Location
	// Brief leaves the time line out.
	Brief bool
}

func (o TextOptions) withDefaults() TextOptions {
	if o.Columns <= 0 {
		o.Columns = 80
	}
	o.Columns = max(40, o.Columns)
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	return o
}

// Text writes the story for a terminal.
func (s Story) Text(w io.Writer, o TextOptions) error {
	p := &page{o: o.withDefaults()}
	p.title(s.Title)
	if at := s.Change.At; !at.IsZero() {
		p.wrap("  ", "  ", "", "on "+at.In(p.o.Zone).Format("2006-01-02 at 15:04:05 MST")+" in cluster "+s.Scope)
	}
	p.line("")
	for _, st := range s.Summary {
		p.wrap("  ", "  ", refText(st.Evidence), st.Text)
	}
	for _, sec := range s.Sections {
		p.heading(sec.Title)
		p.statements(sec.Statements)
	}
	if len(s.Events) > 0 && !p.o.Brief {
		p.heading("Time line")
		p.timeLine(s.Events)
	}
	p.restarts(s.Restarts)
	p.others(s.Others)
	_, err := io.WriteString(w, p.b.String())
	return err
}

// page is text that is being written.
type page struct {
	b strings.Builder
	o TextOptions
}

const (
	styleBold = "1"
	styleDim  = "2"
	styleWarn = "33"
)

func (p *page) paint(style, text string) string {
	if !p.o.Colour || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (p *page) line(text string) { p.b.WriteString(text + "\n") }

func (p *page) title(text string) { p.line(p.paint(styleBold, harmless(text))) }

func (p *page) heading(text string) {
	p.line("")
	p.line(p.paint(styleBold, harmless(text)))
}

// statements writes each with its time before it and its evidence behind it.
func (p *page) statements(all []Statement) {
	timed := false
	for _, s := range all {
		timed = timed || !s.At.IsZero()
	}
	for _, s := range all {
		mark := "- "
		if s.Ground == Unknown {
			mark = "? "
		}
		lead, rest := "  "+mark, "    "
		if timed {
			lead, rest = "  "+p.clock(s.At)+"  ", strings.Repeat(" ", 16)
		}
		p.wrap(lead, rest, refText(s.Evidence), s.Text)
	}
}

// clock writes a time of day in twelve columns.
func (p *page) clock(at time.Time) string {
	if at.IsZero() {
		return strings.Repeat(" ", 12)
	}
	return at.In(p.o.Zone).Format("15:04:05.000")
}

// wrap writes text between the margins, with a dimmed tail that is not broken.
func (p *page) wrap(lead, rest, tail, text string) {
	words := strings.Fields(harmless(text))
	line, width := lead, columns(lead)
	begun := false
	put := func(word, style string) {
		switch n := columns(word); {
		case begun && width+1+n > p.o.Columns:
			p.line(strings.TrimRight(line, " "))
			line, width = rest+p.paint(style, word), columns(rest)+n
		case begun:
			line, width = line+" "+p.paint(style, word), width+1+n
		default:
			line, width = line+p.paint(style, word), width+n
		}
		begun = true
	}
	for _, w := range words {
		put(w, "")
	}
	for part := range strings.SplitSeq(tail, ", ") {
		if part != "" {
			put(part, styleDim)
		}
	}
	p.line(strings.TrimRight(line, " "))
}

// columns is how wide a text is, near enough for wrapping.
func columns(text string) int { return utf8.RuneCountInString(text) }

// refText writes evidence compactly: [n1 #4 #5, n2 #9].
func refText(all []Ref) string {
	if len(all) == 0 {
		return ""
	}
	var parts []string
	for i, r := range all {
		switch {
		case r.Record == 0:
			parts = append(parts, short(r.Source))
		case i > 0 && all[i-1].Source == r.Source && all[i-1].Record > 0:
			parts[len(parts)-1] += fmt.Sprintf(" #%d", r.Record)
		default:
			parts = append(parts, fmt.Sprintf("%s #%d", short(r.Source), r.Record))
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// short is a source's name without what entrypoints have before it, label one
// that fits before a line.
func short(name string) string { return harmless(strings.TrimPrefix(name, "entrypoint@")) }

func label(name string) string { return shortened(short(name), 16) }

// timeLine writes the events; ~ marks those whose order is not proven.
func (p *page) timeLine(events []Event) {
	name := 0
	for _, e := range events {
		name = max(name, columns(label(e.Source)))
	}
	for _, e := range events {
		mark := " "
		if e.Unproven {
			mark = "~"
		}
		lead := fmt.Sprintf(" %s%s  %-*s  ", mark, p.clock(e.At), name, label(e.Source))
		text := e.Text
		if e.Rule != "" {
			text += " (" + e.Rule + ")"
		}
		p.wrap(lead, strings.Repeat(" ", 18+name), refText([]Ref{{e.Source, e.Record}}), text)
	}
}

// restarts and others say what else there was.
func (p *page) restarts(all []Restart) {
	if len(all) == 0 {
		return
	}
	p.heading("Restarts in place, without a change of the primary")
	for i, r := range all {
		if i == maxListed {
			p.line(fmt.Sprintf("  … and %d more", len(all)-i))
			break
		}
		p.wrap("  "+r.At.In(p.o.Zone).Format("2006-01-02 15:04:05")+"  ", strings.Repeat(" ", 23), refText(r.Evidence), r.Text)
	}
}

// maxListed bounds lists of what else there was.
const maxListed = 10

func (p *page) others(all []Change) {
	if len(all) == 0 {
		return
	}
	p.heading("Other changes of the primary (--timeline N tells them)")
	for i, c := range all {
		if i == maxListed {
			p.line(fmt.Sprintf("  … and %d more", len(all)-i))
			break
		}
		p.wrap("  ", strings.Repeat(" ", 23), "", c.text(p.o.Zone))
	}
}

// text is a change in one line.
func (c Change) text(zone *time.Location) string {
	at := "at a time not known"
	if !c.At.IsZero() {
		at = c.At.In(zone).Format("2006-01-02 15:04:05")
	}
	who := c.To + " became the primary"
	if c.From != "" {
		who = fmt.Sprintf("%s → %s", c.From, c.To)
	}
	text := fmt.Sprintf("%s  timeline %d: %s", at, c.Timeline, who)
	if !c.Recorded {
		text += " (only its line in the history is left)"
	}
	return text
}

// Text writes what is known where no change is.
func (n *NoChange) Text(w io.Writer, o TextOptions) error {
	p := &page{o: o.withDefaults()}
	p.wrap("", "", "", capital(n.Why)+".")
	for _, s := range n.Sources {
		p.wrap("  - ", "    ", "", s.Text)
	}
	p.restarts(n.Restarts)
	p.others(n.Others)
	_, err := io.WriteString(w, p.b.String())
	return err
}

// Text writes the answer for a terminal.
func (a Answer) Text(w io.Writer, o TextOptions) error {
	p := &page{o: o.withDefaults()}
	p.title(a.Title)
	when := "now, "
	if !a.Present {
		when = ""
	}
	p.wrap("  ", "  ", "", when+a.At.In(p.o.Zone).Format("2006-01-02 at 15:04:05 MST")+", in cluster "+a.Scope)
	p.line("")
	for _, st := range a.Summary {
		p.wrap("  ", "  ", refText(st.Evidence), st.Text)
	}
	for _, sec := range a.Sections {
		p.heading(sec.Title)
		p.statements(sec.Statements)
	}
	_, err := io.WriteString(w, p.b.String())
	return err
}
