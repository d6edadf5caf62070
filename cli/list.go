package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// watching is the repetition of a command.
type watching struct {
	app    *app
	every2 bool
	every  float64
	keep   bool // do not clear the screen before each repetition
}

func (w *watching) flags(c *cobra.Command) {
	c.Flags().BoolVarP(&w.every2, "watch2", "W", false, "repeat every 2 seconds")
	c.Flags().Float64VarP(&w.every, "watch", "w", 0, "repeat every so many `SECONDS`")
}

// interval is the time between two repetitions, 0 for none.
func (w *watching) interval(c *cobra.Command) (time.Duration, error) {
	f := c.Flags().Lookup("watch")
	switch {
	case f.Changed && !(w.every >= 0.01 && w.every <= 86400):
		return 0, usage(c, fmt.Errorf("invalid value for --watch: %s is not from 0.01 to 86400 seconds", f.Value))
	case f.Changed:
		return time.Duration(w.every * float64(time.Second)), nil
	case w.every2:
		return 2 * time.Second, nil
	}
	return 0, nil
}

// repeat shows once, or again and again until interrupted. What is shown is
// written in one piece, so that the screen does not flicker.
func (w *watching) repeat(c *cobra.Command, show func(context.Context, io.Writer) error) error {
	every, err := w.interval(c)
	if err != nil {
		return err
	}
	if every == 0 {
		return show(c.Context(), c.OutOrStdout())
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		var frame bytes.Buffer
		if !w.keep && w.app.screen(c) != nil {
			frame.WriteString("\x1b[H\x1b[2J") // home, clear
		}
		err := show(c.Context(), &frame)
		if c.Context().Err() != nil {
			return nil
		}
		c.OutOrStdout().Write(frame.Bytes())
		if err != nil {
			warnError(c, err) // it may be better the next time
		}
		select {
		case <-tick.C:
		case <-c.Context().Done():
			return nil
		}
	}
}

// warnError says what is wrong without ending the command.
func warnError(c *cobra.Command, err error) {
	if err.Error() != "" {
		warn(c, "Error: %v", err)
	}
}

func (a *app) listCommand() *cobra.Command {
	var o listOptions
	w := watching{app: a}
	var stamp bool
	c := &cobra.Command{
		Use: "list [CLUSTER...]", Aliases: []string{"members"},
		Short: "Show the members of a cluster",
		Long: "Shows the members of a cluster: role, state, timeline, and how far replicas have received and\n" +
			"replayed. Lags are in MiB.",
		Example: a.examples("{} list", "{} list -e -f json", "{} --api http://10.0.0.1:8008 list -W"),
		RunE: func(c *cobra.Command, names []string) error {
			o.guards = o.extended && !a.opts.Patronictl
			return w.repeat(c, func(ctx context.Context, out io.Writer) error { return a.show(ctx, out, c, names, o, stamp) })
		},
	}
	c.Flags().BoolVarP(&o.extended, "extended", "e", false, "show all columns")
	c.Flags().BoolVarP(&stamp, "timestamp", "t", false, "print the time first")
	formatFlag(c, &o.format, "f", formatPretty)
	w.flags(c)
	groupFlag(c)
	c.ValidArgsFunction = a.completeClusters
	return c
}

func (a *app) topologyCommand() *cobra.Command {
	w := watching{app: a}
	c := &cobra.Command{
		Use:     "topology [CLUSTER...]",
		Short:   "Show the members as a tree of replication",
		Long:    "Shows the members as list does, each below the one it replicates from.",
		Example: a.examples("{} topology", "{} topology -w 5"),
		RunE: func(c *cobra.Command, names []string) error {
			o := listOptions{format: formatTopology}
			return w.repeat(c, func(ctx context.Context, out io.Writer) error { return a.show(ctx, out, c, names, o, false) })
		},
	}
	w.flags(c)
	groupFlag(c)
	c.ValidArgsFunction = a.completeClusters
	return c
}

// show prints the members of each named cluster, or of the configured one.
func (a *app) show(ctx context.Context, out io.Writer, c *cobra.Command, names []string, o listOptions, stamp bool) error {
	if stamp {
		io.WriteString(out, a.opts.Now().Format("2006-01-02 15:04:05")+"\n")
	}
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		if err := a.showOne(ctx, out, c, name, o); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) showOne(ctx context.Context, out io.Writer, c *cobra.Command, name string, o listOptions) error {
	x, err := a.connect(c, name)
	switch {
	case errors.Is(err, errNoCluster) && a.opts.Patronictl:
		warn(c, "Listing members: No cluster names were provided")
		return nil
	case err != nil:
		return err
	}
	defer x.close()
	s, err := x.state(ctx)
	if err != nil {
		return err
	}
	text, err := a.render(c, s, o)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}

// render is renderMembers for the screen in use.
func (a *app) render(c *cobra.Command, s state, o listOptions) (string, error) {
	o.screen = a.screen(c)
	o.narrow, o.waits = !a.opts.Patronictl, !a.opts.Patronictl
	return renderMembers(s, o)
}

// printMembers shows the cluster within another command.
func (a *app) printMembers(c *cobra.Command, s state) error {
	text, err := a.render(c, s, listOptions{format: formatPretty})
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.OutOrStdout(), text)
	return err
}
