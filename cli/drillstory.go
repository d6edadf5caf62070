package cli

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/client"
	"github.com/matriarch-ha/matriarch/drill"
	"github.com/matriarch-ha/matriarch/explain"
)

const (
	// storyPatience bounds gathering the journals.
	storyPatience = 15 * time.Second
	// beforeFault is how much earlier than the fault, by this host's clock, the
	// change may be dated: gathering corrects clocks, but not to the instant.
	beforeFault = 2 * time.Second
)

// addStory adds what the journals tell of the change that the drill brought
// about. A drill without a story is a drill all the same.
func (a *app) addStory(c *cobra.Command, x *access, members *drill.Members, r *drill.Report) {
	if r.Fault.IsZero() {
		return
	}
	// Also after an interrupt: what happened is then of interest all the more.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), storyPatience)
	defer cancel()
	story, err := a.storySince(ctx, x, members, r.Fault.Add(-beforeFault))
	if err != nil {
		r.Notes = append(r.Notes, "the story cannot be told: "+err.Error())
		return
	}
	r.Story = story
}

func (a *app) storySince(ctx context.Context, x *access, members *drill.Members, since time.Time) (*drill.Story, error) {
	p, err := members.Look(ctx)
	if err != nil {
		return nil, err
	}
	plan := explain.Plan{Scope: p.Scope, Question: explain.Question{Last: 1, Since: since}}
	for _, m := range p.Members {
		plan.Members = append(plan.Members, explain.Address{Name: m.Name, Base: m.Base})
	}
	o := clientOptions(x.file, a.insecure)
	o.Username, o.Password = "", "" // records may name addresses that are somebody else's by now
	o.Resolve = x.resolve
	asker, err := client.New(o)
	if err != nil {
		return nil, err
	}
	defer asker.Close()
	g := explain.Gatherer{Client: asker, Now: a.opts.Now}
	story, err := explain.Tell(g.Gather(ctx, plan), plan.Question)
	var none *explain.NoChange
	switch {
	case errors.As(err, &none): // a server that was started again in place
		return storyOf(none)
	case err != nil:
		return nil, err
	}
	return storyOf(story)
}

// storyOf writes a story in the forms that a drill's report has.
func storyOf(s told) (*drill.Story, error) {
	var text, doc bytes.Buffer
	if err := errors.Join(s.Text(&text, explain.TextOptions{Zone: time.Local, Brief: true}), s.JSON(&doc)); err != nil {
		return nil, err
	}
	return &drill.Story{Text: text.String(), JSON: doc.Bytes()}, nil
}
