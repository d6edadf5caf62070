package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/cli"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs/etcdembed"
)

// storeCommand runs a vote, as the agent starts it, and holds the two decisions
// about the embedded store that only a person can take.
func storeCommand(env []string) *cobra.Command {
	c := &cobra.Command{
		Use: "store", Args: cobra.NoArgs,
		Short: "Decide about the embedded store after its majority was lost",
		RunE: func(c *cobra.Command, _ []string) error {
			// A vote is told its configuration through a pipe; a person means the help.
			if in, err := os.Stdin.Stat(); err == nil && in.Mode()&os.ModeCharDevice != 0 {
				return c.Help()
			}
			return etcdembed.Run(c.Context(), os.Stdin, os.Stdout, os.Stderr)
		},
	}
	c.AddCommand(
		decision(env, &cobra.Command{
			Use:   "recover FILE",
			Short: "Make this member's data a new store, after the majority was lost for good",
			Long: "Makes the data of this member's vote a new store with this vote alone. Stop the agent of\n" +
				"this node first, and start it afterwards. The other votes join when they start without\n" +
				"their old directories; one that still has its own refuses to start beside the new store.\n" +
				"What only the lost votes had confirmed is lost. Be sure that they do not run: while they\n" +
				"cannot reach the new store, they know nothing of it.",
			Example: "  matriarch store recover n1.yml",
		}, "The other votes are lost for good, and this one's data become a new store?", etcdembed.Recover),
		decision(env, &cobra.Command{
			Use:   "found FILE",
			Short: "Found an empty store with this member's vote alone",
			Long: "Founds an empty store with this member's vote alone: for when not all votes can be there for\n" +
				"the first start, or when the directories of all are lost, or to give a cluster that has data\n" +
				"an embedded store. Stop the agent of this node first, and start it afterwards. The other\n" +
				"votes join when they start.",
			Example: "  matriarch store found n1.yml",
		}, "No vote of this cluster has a store that must be kept, and this one founds a new one?", etcdembed.Found),
	)
	return c
}

// decision completes a command that asks a person and then decides.
func decision(env []string, c *cobra.Command, question string, decide func(context.Context, etcdembed.Config) (etcdembed.Identity, error)) *cobra.Command {
	c.Args = cobra.ExactArgs(1)
	force := c.Flags().Bool("force", false, "do not ask")
	c.RunE = func(c *cobra.Command, args []string) error {
		f, _, err := config.Load(args[0], env)
		if err != nil {
			return err
		}
		if f.Store.Embedded == nil {
			return fmt.Errorf("%s describes no member of an embedded store: it has no section embedded", args[0])
		}
		if err := f.Check(config.ForWitness); err != nil {
			return err
		}
		sc := embeddedConfig(f, etcdembed.KeptByAgent)
		if !*force {
			yes, err := cli.Confirm(c, question)
			if err != nil {
				return err
			}
			if !yes {
				return errors.New("nothing was done")
			}
		}
		sc.Log = c.ErrOrStderr()
		id, err := decide(c.Context(), sc)
		if err != nil {
			return err
		}
		var others []string
		for _, m := range sc.Members {
			if m.Name != sc.Name {
				others = append(others, m.Name)
			}
		}
		fmt.Fprintf(c.OutOrStdout(), "The store is now %s, with %s alone. Start its agent.\n", id, sc.Name)
		if len(others) > 0 {
			fmt.Fprintf(c.OutOrStdout(), "On %s: stop the agent, move the vote's directory (such as %s) aside if there is one, start the agent; it joins.\n",
				strings.Join(others, ", "), filepath.Clean(sc.DataDir))
		}
		return nil
	}
	return c
}
