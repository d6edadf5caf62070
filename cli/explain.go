package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/explain"
	"github.com/matriarch-ha/matriarch/wal"
)

// Formats of a story.
const (
	storyText = "text"
	storyJSON = "json"
	storyHTML = "html"
)

// explaining is one use of the command.
type explaining struct {
	app *app
	cmd *cobra.Command

	last     int
	since    string
	timeline uint32
	whyNot   bool
	at       string

	format      string
	evidence    string
	save        string
	journals    []string
	entrypoints []string
	records     int
}

func (a *app) explainCommand() *cobra.Command {
	e := &explaining{app: a}
	c := &cobra.Command{
		Use:   "explain [CLUSTER]",
		Short: "Tell what happened at the last change of the primary, and why",
		Long: "Collects the journals of all members and entrypoints that answer, and tells in order how the\n" +
			"old primary was lost, who could have taken over and why each other did not, which rule decided\n" +
			"at each step, what was lost, what clients felt, and what to do now. Each statement names the\n" +
			"record that it stands on. Times are corrected for clocks that differ; ~ marks an order that is\n" +
			"not proven. It changes nothing.\n\n" +
			"With --why-not it tells what stands in the way of a failover, now or at another time.",
		Example: a.examples("{} explain", "{} explain --last 2", "{} explain --since 2h --format html > failover.html",
			"{} explain --why-not", "{} explain --why-not --at 10:42", "{} explain --save-evidence failover.json",
			"{} explain --evidence failover.json --timeline 7", "{} explain --journal n1=/var/lib/matriarch/n1/journal"),
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, names []string) error {
			e.cmd = c
			return e.run(c.Context(), clusterArg(names))
		},
	}
	f := c.Flags()
	f.IntVar(&e.last, "last", 1, "the `N`th change of the primary from the end")
	f.StringVar(&e.since, "since", "", "the first change since `TIME`: 2h, 30m, 10:42, 2026-11-26T10:42:00Z")
	f.Uint32Var(&e.timeline, "timeline", 0, "the change that began timeline `N`")
	f.BoolVar(&e.whyNot, "why-not", false, "tell instead what stands in the way of a failover")
	f.StringVar(&e.at, "at", "", "with --why-not: at `TIME`, as for --since")
	e.format = storyText
	chosen(c, choice{value: &e.format, allowed: []string{storyText, storyJSON, storyHTML}, kind: "FORMAT"}, "format", "f", "output format")
	f.StringVar(&e.evidence, "evidence", "", "tell from the evidence in `FILE`, and ask nobody")
	f.StringVar(&e.save, "save-evidence", "", "also write what was collected to `FILE`, to be told again")
	f.StringArrayVar(&e.journals, "journal", nil, "read the journal of a member that is gone from `[NAME=]DIR` (may be repeated)")
	f.StringArrayVar(&e.entrypoints, "entrypoint", nil, "`URL` of an entrypoint's statistics, beside those that members know (may be repeated)")
	f.IntVar(&e.records, "records", 0, "read up to `N` records of each journal, however old (default: as many as are needed, up to 5000)")
	c.ValidArgsFunction = a.completeCluster
	return c
}

func (e *explaining) run(ctx context.Context, name string) error {
	q, at, err := e.question()
	if err != nil {
		return usage(e.cmd, err)
	}
	ev, err := e.collect(ctx, name, q, at)
	if err != nil {
		return err
	}
	if e.save != "" {
		if err := ev.SaveFile(e.save); err != nil {
			return fmt.Errorf("save the evidence: %w", err)
		}
		warn(e.cmd, "The evidence is in %s; no passwords are in it.", e.save)
	}
	if e.whyNot {
		return e.tellWhyNot(ev, at)
	}
	story, err := explain.Tell(ev, q)
	var none *explain.NoChange
	if errors.As(err, &none) {
		return e.tellNone(none)
	}
	if err != nil {
		return err
	}
	return e.write(story)
}

// question reads the options that say what is asked.
func (e *explaining) question() (q explain.Question, at time.Time, err error) {
	flags, now := e.cmd.Flags(), e.app.opts.Now()
	chosen := 0
	for _, name := range []string{"last", "since", "timeline", "why-not"} {
		if flags.Changed(name) {
			chosen++
		}
	}
	switch {
	case chosen > 1:
		return q, at, errors.New("--last, --since, --timeline and --why-not exclude each other")
	case e.last < 1:
		return q, at, fmt.Errorf("--last %d: the last change is number 1", e.last)
	case flags.Changed("timeline") && e.timeline < 2:
		return q, at, fmt.Errorf("--timeline %d: no change of the primary begins it; the first one begins timeline 2", e.timeline)
	case e.at != "" && !e.whyNot:
		return q, at, errors.New("--at needs --why-not")
	case e.records < 0:
		return q, at, fmt.Errorf("--records %d: want a positive number", e.records)
	case e.evidence != "" && (e.save != "" || len(e.journals) > 0 || len(e.entrypoints) > 0):
		return q, at, errors.New("--evidence asks nobody, so it excludes --save-evidence, --journal and --entrypoint")
	}
	q = explain.Question{Last: e.last, Timeline: wal.Timeline(e.timeline)}
	if e.since != "" {
		if q.Since, err = explain.ParseTime(e.since, now); err != nil {
			return q, at, fmt.Errorf("--since %w", err)
		}
	}
	if e.at != "" {
		if at, err = explain.ParseTime(e.at, now); err != nil {
			return q, at, fmt.Errorf("--at %w", err)
		}
	}
	return q, at, nil
}

// collect reads saved evidence, or gathers it.
func (e *explaining) collect(ctx context.Context, name string, q explain.Question, at time.Time) (explain.Evidence, error) {
	if e.evidence != "" {
		return explain.LoadFile(e.evidence)
	}
	if !at.IsZero() {
		q.Since = at
	}
	plan := explain.Plan{Question: q, Journals: e.journals, Entrypoints: e.entrypoints, Limit: e.records, Deep: e.records > 0}
	x, err := e.app.connect(e.cmd, name)
	if err != nil {
		if len(e.journals) == 0 {
			return explain.Evidence{}, err
		}
		return explain.FromDisk(plan, e.app.opts.Now()), nil
	}
	defer x.close()
	s, err := x.state(ctx)
	switch {
	case err != nil && len(e.journals) == 0:
		return explain.Evidence{}, err
	case err != nil:
		warn(e.cmd, "%v", err)
		plan.Scope = x.scope
		return explain.FromDisk(plan, e.app.opts.Now()), nil
	}
	plan.Scope = s.doc.Scope
	for _, m := range s.doc.Members {
		base := ""
		if m.APIURL != "" {
			base = client.Base(m.APIURL)
		}
		plan.Members = append(plan.Members, explain.Address{Name: m.Name, Base: base})
	}
	// Reading needs no password, and records name addresses that may be somebody
	// else's by now.
	o := clientOptions(x.file, e.app.insecure)
	o.Username, o.Password = "", ""
	asker, err := client.New(o)
	if err != nil {
		return explain.Evidence{}, err
	}
	defer asker.Close()
	g := explain.Gatherer{Client: asker, Now: e.app.opts.Now}
	return g.Gather(ctx, plan), nil
}

// told is what can be written in each format.
type told interface {
	Text(io.Writer, explain.TextOptions) error
	JSON(io.Writer) error
	HTML(io.Writer, explain.HTMLOptions) error
}

func (e *explaining) write(s told) error {
	out := e.cmd.OutOrStdout()
	switch e.format {
	case storyJSON:
		return s.JSON(out)
	case storyHTML:
		return s.HTML(out, explain.HTMLOptions{Zone: time.Local, Version: e.app.opts.Version})
	}
	o := explain.TextOptions{Zone: time.Local}
	if screen := e.app.screen(e.cmd); screen != nil {
		o.Colour = screen.Colour
		o.Columns = min(screen.Columns, 100)
	}
	return s.Text(out, o)
}

// tellNone says that there is no such change, and what there was.
func (e *explaining) tellNone(none *explain.NoChange) error {
	if err := e.write(none); err != nil {
		return err
	}
	return &exitError{code: exitFailed}
}

// tellWhyNot tells what stands in the way of a failover.
func (e *explaining) tellWhyNot(ev explain.Evidence, at time.Time) error {
	answer, err := explain.WhyNot(ev, at)
	if err != nil {
		return err
	}
	return e.write(answer)
}
