package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// watching is the repetition of a list.
type watching struct {
	every2 bool
	every  float64
}

func (w *watching) flags(c *cobra.Command) {
	c.Flags().BoolVarP(&w.every2, "watch2", "W", false, "show again every 2 seconds")
	c.Flags().Float64VarP(&w.every, "watch", "w", 0, "show again every so many seconds")
}

// repeat shows once, or again and again until interrupted.
func (w *watching) repeat(c *cobra.Command, show func(context.Context) error) error {
	if f := c.Flags().Lookup("watch"); f.Changed && !(w.every >= 0.01 && w.every <= 86400) {
		return usage(c, fmt.Errorf("invalid value for --watch: %s is not from 0.01 to 86400 seconds", f.Value))
	}
	every := time.Duration(w.every * float64(time.Second))
	if w.every2 && every <= 0 {
		every = 2 * time.Second
	}
	if every <= 0 {
		return show(c.Context())
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		fmt.Fprint(c.OutOrStdout(), "\x1b[H\x1b[2J") // home, clear
		if err := show(c.Context()); err != nil && c.Context().Err() == nil {
			warn(c, "Error: %v", err) // it may be better the next time
		}
		select {
		case <-tick.C:
		case <-c.Context().Done():
			return nil
		}
	}
}

func (a *app) listCommand() *cobra.Command {
	var o listOptions
	var w watching
	var stamp bool
	c := &cobra.Command{
		Use: "list [CLUSTER...]", Aliases: []string{"members"},
		Short: "Show the members of a cluster",
		Long: "Shows the members of a cluster: role, state, timeline, and how far replicas have received and\n" +
			"replayed. Lags are in MiB.",
		Example: a.examples("{} list", "{} list -e -f json", "{} --api http://10.0.0.1:8008 list -W"),
		RunE: func(c *cobra.Command, names []string) error {
			var err error
			if o.format, err = parseFormat(o.format); err != nil {
				return usage(c, err)
			}
			o.guards = o.extended && !a.opts.Patronictl
			return w.repeat(c, func(ctx context.Context) error { return a.show(ctx, c, names, o, stamp) })
		},
	}
	c.Flags().BoolVarP(&o.extended, "extended", "e", false, "show all columns")
	c.Flags().BoolVarP(&stamp, "timestamp", "t", false, "print the time first")
	c.Flags().StringVarP(&o.format, "format", "f", formatPretty, "pretty, tsv, json, yaml")
	w.flags(c)
	return c
}

func (a *app) topologyCommand() *cobra.Command {
	var w watching
	c := &cobra.Command{
		Use:     "topology [CLUSTER...]",
		Short:   "Show the members as a tree of replication",
		Long:    "Shows the members as list does, each below the one it replicates from.",
		Example: a.examples("{} topology", "{} topology -w 5"),
		RunE: func(c *cobra.Command, names []string) error {
			o := listOptions{format: formatTopology}
			return w.repeat(c, func(ctx context.Context) error { return a.show(ctx, c, names, o, false) })
		},
	}
	w.flags(c)
	return c
}

// show prints the members of each named cluster, or of the configured one.
func (a *app) show(ctx context.Context, c *cobra.Command, names []string, o listOptions, stamp bool) error {
	if stamp {
		say(c, "%s", a.opts.Now().Format("2006-01-02 15:04:05"))
	}
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		if err := a.showOne(ctx, c, name, o); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) showOne(ctx context.Context, c *cobra.Command, name string, o listOptions) error {
	x, err := a.connect(c, name)
	if err != nil {
		return err
	}
	defer x.close()
	s, err := x.state(ctx)
	if err != nil {
		return err
	}
	return printMembers(c, s, o)
}

func printMembers(c *cobra.Command, s state, o listOptions) error {
	text, err := renderMembers(s, o)
	if err != nil {
		return err
	}
	fmt.Fprint(c.OutOrStdout(), text)
	return nil
}
