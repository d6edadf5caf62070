package cli

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// completionTimeout is how long a person who pressed the key waits for names.
const completionTimeout = 1500 * time.Millisecond

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the completion script of a shell",
		Long: "Prints a script that completes commands, options, and the names of the cluster and its members\n" +
			"where they can be learnt quickly. That of bash needs the package bash-completion.",
		Example: a.examples("source <({} completion bash)", "{} completion bash > /etc/bash_completion.d/{}",
			"{} completion zsh > \"${fpath[1]}/_{}\"", "{} completion fish > ~/.config/fish/completions/{}.fish"),
		Args:      args(cobra.ExactArgs(1)),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(c *cobra.Command, shell []string) error {
			out := c.OutOrStdout()
			switch shell[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(out, true)
			case "zsh":
				return c.Root().GenZshCompletion(out)
			case "fish":
				return c.Root().GenFishCompletion(out, true)
			}
			return usage(c, errors.New("want one of bash, zsh, fish"))
		},
	}
}

// names are what completion learns about the cluster: its name, and its
// members.
func (a *app) names(c *cobra.Command, cluster string) (scope string, members []string) {
	ctx := c.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	c.SetErr(io.Discard) // a person is typing: what fails gives no names
	x, err := a.connect(c, cluster)
	if err != nil {
		return "", nil
	}
	defer x.close()
	s, err := x.state(ctx)
	if err != nil {
		return x.scope, nil
	}
	for _, m := range s.doc.Members {
		members = append(members, m.Name)
	}
	return s.doc.Scope, members
}

const noFiles = cobra.ShellCompDirectiveNoFileComp

// completeCluster completes the one cluster that a command takes.
func (a *app) completeCluster(c *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, noFiles
	}
	return a.completeClusters(c, given, "")
}

// completeClusters completes a list of clusters: only one is known.
func (a *app) completeClusters(c *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	scope, _ := a.names(c, "")
	if scope == "" || slices.Contains(given, scope) {
		return nil, noFiles
	}
	return []string{scope}, noFiles
}

// completeMembers completes a cluster and members of it.
func (a *app) completeMembers(c *cobra.Command, given []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(given) == 0 {
		return a.completeClusters(c, given, text)
	}
	_, members := a.names(c, given[0])
	return slices.DeleteFunc(members, func(m string) bool { return slices.Contains(given[1:], m) }), noFiles
}

// completeFlush is completeMembers with what may be withdrawn.
func (a *app) completeFlush(c *cobra.Command, given []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 && slices.Contains(flushTargets(), given[len(given)-1]) {
		return nil, noFiles
	}
	words, _ := a.completeMembers(c, given, text)
	return append(words, flushTargets()...), noFiles
}

// completesMembers completes an option with members' names.
func (a *app) completesMembers(c *cobra.Command, option string) {
	// The error is for an option that does not exist.
	_ = c.RegisterFlagCompletionFunc(option, func(c *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		_, members := a.names(c, clusterArg(given))
		return members, noFiles
	})
}
