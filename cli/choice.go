package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// choice is an option that takes one of several words.
type choice struct {
	value   *string
	allowed []string
	kind    string // what help calls the value
	// read, if set, understands the value instead.
	read func(text string) (string, error)
}

func (c *choice) String() string { return *c.value }
func (c *choice) Type() string   { return c.kind }

func (c *choice) Set(text string) (err error) {
	if c.read != nil {
		*c.value, err = c.read(text)
		return err
	}
	if !slices.Contains(c.allowed, text) {
		return fmt.Errorf("%q is not one of %s", text, strings.Join(c.allowed, ", "))
	}
	*c.value = text
	return nil
}

// chosen adds an option that takes one of several words.
func chosen(c *cobra.Command, o choice, name, short, help string) {
	c.Flags().VarP(&o, name, short, help+": "+strings.Join(o.allowed, ", "))
	// The error is for an option that does not exist.
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(o.allowed, cobra.ShellCompDirectiveNoFileComp))
}

// roleFlag adds -r; the empty value means that none was given.
func roleFlag(c *cobra.Command, role *string, help string) {
	chosen(c, choice{value: role, allowed: roles(), kind: "ROLE"}, "role", "r", help)
}

// formatFlag adds an option for the output's format.
func formatFlag(c *cobra.Command, format *string, short, fallback string) {
	*format = fallback
	chosen(c, choice{value: format, allowed: formats(), kind: "FORMAT", read: parseFormat}, "format", short, "output format")
}

// groupFlag adds --group where the reference has it. Clusters in groups do not
// exist here; acting on another cluster than the one that was meant would be
// worse than not to act.
func groupFlag(c *cobra.Command) {
	c.Flags().Int("group", 0, "Citus group: not supported")
	_ = c.Flags().MarkHidden("group")
}

// refuseGroup is the end of every command that was given --group.
func refuseGroup(c *cobra.Command) error {
	if f := c.Flags().Lookup("group"); f != nil && f.Changed {
		return fmt.Errorf("--group %s: Citus clusters are not supported, there are no groups; nothing was done", f.Value)
	}
	return nil
}
