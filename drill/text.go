package drill

import (
	"fmt"
	"strings"
)

// columns of a terminal that a report fits.
const columns = 80

// Text is the report for a terminal.
func (r Report) Text() string {
	var b strings.Builder
	line := func(label, format string, values ...any) {
		const wide = 14
		b.WriteString(wrapped(fmt.Sprintf("%-*s", wide, label), fmt.Sprintf(format, values...), wide))
	}
	fmt.Fprintf(&b, "\nDrill: %s on %s, %s\n\n", r.Scenario, r.Cluster, r.Began.Format("2006-01-02 15:04:05 -07:00"))
	line("What", "%s", r.What)
	if r.LeaderAfter != "" {
		line("Leader", "%s on timeline %d%s", r.LeaderAfter, r.TimelineAfter, change(r.LeaderBefore, r.LeaderAfter))
	} else {
		line("Leader", "%s before the drill", r.LeaderBefore)
	}
	if m := r.Measured; m != nil {
		m.lines(line, r.Synchronous)
	}
	for _, n := range r.Notes {
		line("Note", "%s", n)
	}
	b.WriteString("\n")
	if r.Story != nil {
		b.WriteString(strings.TrimRight(r.Story.Text, "\n") + "\n\n")
	}
	r.end(line)
	return b.String()
}

func change(from, to string) string {
	if from == to {
		return ", as before"
	}
	return "; before the drill it was " + from
}

func (m *Measured) lines(line func(label, format string, values ...any), synchronous bool) {
	switch {
	case m.Open:
		line("Outage", "%s, and not over: from %s after the fault on, no write was acknowledged until the writing ended", m.Outage, m.From)
	default:
		line("Outage", "%s (from %s to %s after the fault; usual between two writes: %s)", m.Outage, m.From, m.To, m.Usual)
	}
	mode := "not synchronous"
	if synchronous {
		mode = "synchronous"
	}
	line("Writes", "%d acknowledged, %d failed, %d of unknown outcome, by %s; the cluster is %s", m.Writes.Acknowledged, m.Writes.Failed, m.Writes.Unknown,
		counted(m.Clients, "connection", "connections"), mode)
	line("Rows", "%d checked: %d acknowledged and lost, %d of unknown outcome there", m.Check.Rows, m.Check.Lost, m.Check.Kept)
	for _, id := range m.Check.LostRows {
		line("  lost", "connection %d, write %d", id.Client, id.Seq)
	}
	label := "Clients saw"
	for _, e := range m.Errors {
		line(label, "%d × %s", e.Count, e.Text)
		label = ""
	}
}

// end is the verdict, or why there is none, and what is left to do.
func (r Report) end(line func(label, format string, values ...any)) {
	switch {
	case r.Verdict == nil && r.Interrupted:
		line("No verdict", "the drill was interrupted")
	case r.Verdict == nil:
		line("No verdict", "%s", r.Failed)
	case r.Verdict.Met:
		line("MET", "%s", strings.Join(r.Verdict.Why, "; "))
	default:
		line("NOT MET", "%s", strings.Join(r.Verdict.Why, "; "))
	}
	for _, l := range r.Left {
		line("Left to do", "%s", l)
	}
	switch {
	case len(r.Left) > 0:
	case r.LeaderAfter != "" && r.LeaderAfter != r.LeaderBefore:
		line("Cluster", "whole again, nothing was left behind. %s leads; to move it back: matriarch switchover --candidate %s", r.LeaderAfter, r.LeaderBefore)
	default:
		line("Cluster", "as before, nothing was left behind")
	}
}

// wrapped breaks a text at spaces to fit the terminal; lines after the first
// begin below the text.
func wrapped(label, text string, indent int) string {
	var b strings.Builder
	b.WriteString(label)
	column := indent
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case column+1+n > columns:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += n
	}
	return strings.TrimRight(b.String(), " ") + "\n"
}
