package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// groups are the headings under which help lists commands, with the commands.
func groups() []struct{ title, commands string } {
	return []struct{ title, commands string }{
		{"Run:", "up agent proxy witness"},
		{"Look at a cluster:", "list topology history dsn query version health top explain"},
		{"Change a cluster:", "switchover failover restart reload reinit flush pause resume remove drill"},
		{"Configuration:", "show-config edit-config config validate generate-config"},
		{"More:", ""},
	}
}

// assignGroups puts every command under its heading, unknown ones under the
// last.
func assignGroups(root *cobra.Command) {
	all := groups()
	for _, c := range root.Commands() {
		c.GroupID = all[len(all)-1].title
		for _, g := range all {
			if strings.Contains(" "+g.commands+" ", " "+c.Name()+" ") {
				c.GroupID = g.title
			}
		}
	}
	for _, g := range all {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
	}
	root.SetHelpCommandGroupID(all[len(all)-1].title)
}

// usageText prints how a command is called: with its commands by headings, and
// its own options before those that all commands share.
func (a *app) usageText(c *cobra.Command) error {
	w := c.OutOrStdout()
	fmt.Fprintf(w, "Usage:\n  %s\n", c.UseLine())
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(w, "  %s COMMAND\n", c.CommandPath())
	}
	if len(c.Aliases) > 0 {
		fmt.Fprintf(w, "\nAlso called: %s\n", strings.Join(c.Aliases, ", "))
	}
	if c.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", c.Example)
	}
	for _, g := range c.Groups() {
		listCommands(w, c, g)
	}
	listCommands(w, c, &cobra.Group{Title: "Commands:"})
	own, shared := splitFlags(c)
	for _, part := range []struct {
		title string
		flags *pflag.FlagSet
	}{{"Options", own}, {"Options of all commands", shared}} {
		if part.flags.HasAvailableFlags() {
			fmt.Fprintf(w, "\n%s:\n%s", part.title, part.flags.FlagUsagesWrapped(100))
		}
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nWith \"%s COMMAND --help\" each command explains itself.\n", c.CommandPath())
	}
	return nil
}

// listCommands prints the commands under one heading.
func listCommands(w io.Writer, c *cobra.Command, g *cobra.Group) {
	begun := false
	for _, below := range c.Commands() {
		if below.GroupID != g.ID || !below.IsAvailableCommand() && below.Name() != "help" {
			continue
		}
		if !begun {
			begun = true
			fmt.Fprintf(w, "\n%s\n", g.Title)
		}
		fmt.Fprintf(w, "  %-*s %s\n", below.NamePadding(), below.Name(), below.Short)
	}
}

// splitFlags tells a command's own options from those that all share.
func splitFlags(c *cobra.Command) (own, shared *pflag.FlagSet) {
	own, shared = pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if _, all := f.Annotations[common]; all {
			shared.AddFlag(f)
		} else {
			own.AddFlag(f)
		}
	})
	return own, shared
}
