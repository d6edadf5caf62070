package explain

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed page.html.tmpl
var pageText string

// fact is one of the numbers at the top of a page.
type fact struct{ Label, Value, Note string }

// htmlPage is what the template is filled with.
type htmlPage struct {
	Title, Scope, When string
	Zone               string
	Version            string
	Gathered           string
	Facts              []fact
	Summary            []Statement
	Chart              *chart
	Events             []Event
	Candidates         []Candidate
	Standings          []Standing
	Sections           []Section
	Restarts           []Restart
	Others             []Change
	Unproven           bool
	zone               *time.Location
}

// Clock writes a time of day; it is called by the template.
func (p *htmlPage) Clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(p.zone).Format("15:04:05.000")
}

// Date writes a date and a time, and ChangeText a change in one line.
func (p *htmlPage) Date(t time.Time) string { return t.In(p.zone).Format("2006-01-02 15:04:05") }

// ChangeText writes a change in one line.
func (p *htmlPage) ChangeText(c Change) string { return c.text(p.zone) }

// pageTemplate is parsed once.
var pageTemplate = sync.OnceValues(func() (*template.Template, error) {
	return template.New("page").Funcs(template.FuncMap{
		"refs": splitRefs, "position": position, "bytes": bytesText, "plain": harmless, "short": short,
		"n": func(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") },
	}).Parse(pageText)
})

// splitRefs names each record by itself, for the page's small labels.
func splitRefs(all []Ref) []string {
	var out []string
	for _, r := range all {
		out = append(out, strings.Trim(refText([]Ref{r}), "[]"))
	}
	return out
}

func (o HTMLOptions) fill(p *htmlPage, at time.Time) {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	p.zone, p.Version = o.Zone, o.Version
	p.Zone = at.In(o.Zone).Format("MST")
}

func (p *htmlPage) write(w io.Writer) error {
	t, err := pageTemplate()
	if err != nil {
		return err
	}
	return t.Execute(w, p)
}

// HTML writes the story as one page that needs nothing else.
func (s Story) HTML(w io.Writer, o HTMLOptions) error {
	p := &htmlPage{Title: s.Title, Scope: s.Scope, Summary: s.Summary, Events: s.Events, Candidates: s.Candidates,
		Restarts: s.Restarts, Others: s.Others}
	o.fill(p, s.Gathered)
	p.Gathered = s.Gathered.In(p.zone).Format("2006-01-02 15:04:05 MST")
	if !s.Change.At.IsZero() {
		p.When = s.Change.At.In(p.zone).Format("2 January 2006, 15:04:05 MST")
	}
	p.Chart = s.drawing(p.zone)
	p.Facts = s.facts()
	for _, sec := range s.Sections {
		if sec.ID != "candidates" || len(s.Candidates) == 0 {
			p.Sections = append(p.Sections, sec)
		}
	}
	for _, e := range s.Events {
		p.Unproven = p.Unproven || e.Unproven
	}
	return p.write(w)
}

// facts are the numbers that a reader looks for first.
func (s Story) facts() []fact {
	from := s.Change.From
	if from == "" {
		from = "?"
	}
	out := []fact{{Label: "Primary", Value: from + " → " + s.Change.To, Note: kindText(s.Kind)}}
	if o := s.Outage; o != nil {
		f := fact{Label: "No writes", Value: approximately(o.Most), Note: "measured on corrected clocks"}
		if o.Most-o.Least > 5*time.Millisecond {
			f.Value, f.Note = whole(approximately(o.Least))+" – "+whole(approximately(o.Most)), "at least – at most"
		}
		out = append(out, f)
	}
	if n := len(s.Clients); n > 0 {
		longest := slices.MaxFunc(s.Clients, func(a, b ClientView) int { return cmp.Compare(a.Without, b.Without) })
		out = append(out, fact{Label: "Clients without a primary", Value: approximately(longest.Without),
			Note: fmt.Sprintf("%s, %d of %d held served", count(longest.Broken, "connection broken", "connections broken"), longest.Released, longest.Held)})
	}
	timeline := fact{Label: "Timeline", Value: fmt.Sprint(s.Change.Timeline)}
	if s.Change.LSN > 0 {
		timeline.Value = fmt.Sprintf("%d → %d", s.Change.Parent, s.Change.Timeline)
		timeline.Note = "at " + s.Change.LSN.String()
	}
	out = append(out, timeline)
	return append(out, fact{Label: "Data lost", Value: s.Loss.word(), Note: s.Loss.note()})
}

// whole keeps a number and its unit on one line.
func whole(text string) string { return strings.ReplaceAll(text, " ", "\u00a0") }

func kindText(k Kind) string {
	return map[Kind]string{Switchover: "switchover", ManualFailover: "failover by a person", Handover: "clean handover",
		Failover: "failover", Again: "promoted again", First: "first known"}[k]
}

// HTML writes the answer as one page.
func (a Answer) HTML(w io.Writer, o HTMLOptions) error {
	p := &htmlPage{Title: a.Title, Scope: a.Scope, Summary: a.Summary, Standings: a.Members}
	o.fill(p, a.Gathered)
	p.Gathered = a.Gathered.In(p.zone).Format("2006-01-02 15:04:05 MST")
	p.When = a.At.In(p.zone).Format("2 January 2006, 15:04:05 MST")
	for _, sec := range a.Sections {
		if sec.ID != "members" {
			p.Sections = append(p.Sections, sec)
		}
	}
	return p.write(w)
}

// HTML writes a page that says that there is no such change.
func (n *NoChange) HTML(w io.Writer, o HTMLOptions) error {
	p := &htmlPage{Title: capital(n.Why), Restarts: n.Restarts, Others: n.Others}
	o.fill(p, time.Now())
	for _, s := range n.Sources {
		p.Summary = append(p.Summary, Statement{Text: s.Text, Ground: Recorded})
	}
	return p.write(w)
}
