package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
)

// Options are what the commands need from the program.
type Options struct {
	Version string
	// Env is the environment in the form of os.Environ.
	Env []string
	// Patronictl gives the program that name, and the reference's exit codes.
	Patronictl bool
	// OpenStore connects to the store of a configuration; nil: there is no way
	// but the members.
	OpenStore func(context.Context, *config.File) (dcs.Store, error)
	// Now tells wall time, for messages; nil: time.Now.
	Now func() time.Time
	// Drill is what the command drill needs.
	Drill DrillOptions
	// Screen is the terminal to write for; nil: that of the output, if any.
	Screen *Screen

	timing timing
}

// timing is how long commands wait; tests wait less.
type timing struct {
	// known is how long the members that the configuration names may take, where
	// the store can name others.
	known time.Duration
	// every is the time between two looks at what goes on.
	every time.Duration
	// silence is how long a member may give no sign of life before its outcome
	// counts as unknown.
	silence time.Duration
	// move is how long a switchover or failover is followed, long a restart or a
	// copy in which nothing changes any more.
	move, long time.Duration
}

func usualTiming() timing {
	return timing{known: 3 * time.Second, every: time.Second, silence: 30 * time.Second, move: 2 * time.Minute, long: 10 * time.Minute}
}

// New makes the root command with all commands, and the extra ones of the
// caller, from the program's environment.
func New(version string, extra ...*cobra.Command) *cobra.Command {
	return NewWith(Options{Version: version, Env: os.Environ()}, extra...)
}

// NewWith is New with everything given. Errors of the returned command have a
// method ExitCode() int where the code is not 1, and then a text that is
// complete; an empty text means that all was said.
func NewWith(o Options, extra ...*cobra.Command) *cobra.Command {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.timing == (timing{}) {
		o.timing = usualTiming()
	}
	a := &app{opts: o, name: "matriarch"}
	if o.Patronictl {
		a.name = "patronictl"
	}
	root := a.root()
	root.AddCommand(
		a.listCommand(), a.topologyCommand(), a.historyCommand(), a.dsnCommand(), a.queryCommand(), a.versionCommand(), a.healthCommand(),
		a.explainCommand(),
		a.switchoverCommand(), a.failoverCommand(), a.restartCommand(), a.reloadCommand(), a.reinitCommand(),
		a.flushCommand(), a.pauseCommand(), a.resumeCommand(), a.removeCommand(),
		a.showConfigCommand(), a.editConfigCommand(), a.configCommand(), a.validateCommand(), a.generateCommand(),
		a.completionCommand(), a.drillCommand(),
	)
	for _, c := range root.Commands() {
		a.addGlobals(c)
	}
	root.AddCommand(extra...)
	assignGroups(root)
	return root
}

// root is the command without a command.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   a.name,
		Short: "High availability for PostgreSQL",
		Long: "High availability for PostgreSQL: looks at a cluster and changes it.\n\n" +
			"Commands ask the members themselves: the one at --api, or at restapi.connect_address of the\n" +
			"configuration file, and the others that it names. The store is used only when none answers.",
		Example:       a.examples("{} --api http://10.0.0.1:8008 list", "{} -c /etc/patroni.yml switchover"),
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       a.opts.Version,
		// Options of the root may stand before a command, also where the command
		// has one with the same letter, as query has.
		TraverseChildren:      true,
		DisableFlagsInUseLine: true,
		Args:                  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(c, args[0])
			}
			return c.Help()
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.SetUsageFunc(a.usageText)
	root.CompletionOptions.DisableDefaultCmd = true
	a.addGlobals(root)
	return root
}

// unknownCommand suggests what was probably meant.
func unknownCommand(root *cobra.Command, name string) error {
	text := fmt.Sprintf("no such command %q", name)
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(name); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage(root, fmt.Errorf("%s", text))
}

// app is what all commands share.
type app struct {
	opts Options
	name string

	configFile string
	dcsURL     string
	apis       []string
	insecure   bool
}

// common marks the options that all commands share, for help.
const common = "common"

// addGlobals adds the shared options to a command and those below it, without
// the letters that a command uses itself.
func (a *app) addGlobals(c *cobra.Command) {
	f := c.Flags()
	letter := func(l string) string {
		if f.ShorthandLookup(l) != nil {
			return ""
		}
		return l
	}
	f.StringVarP(&a.configFile, "config-file", letter("c"), a.configFile, "configuration `FILE` or directory")
	f.StringVarP(&a.dcsURL, "dcs-url", letter("d"), a.dcsURL, "`URL` of the store, such as etcd3://10.0.0.1:2379/service, instead of the configured one")
	f.StringVar(&a.dcsURL, "dcs", a.dcsURL, "the same as --dcs-url")
	f.StringArrayVar(&a.apis, "api", a.apis, "`URL` of a member to ask, such as http://10.0.0.1:8008 (may be repeated)")
	f.BoolVarP(&a.insecure, "insecure", letter("k"), a.insecure, "do not verify members' certificates")
	for _, name := range []string{"config-file", "dcs-url", "dcs", "api", "insecure"} {
		_ = f.SetAnnotation(name, common, nil) // the error is for an option that does not exist
	}
	_ = f.MarkHidden("dcs")
	for _, below := range c.Commands() {
		a.addGlobals(below)
	}
}

// args wraps a check of arguments so that it counts as wrong usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usage(c, err)
		}
		return nil
	}
}

// clusterArg returns the cluster named on the command line, if any.
func clusterArg(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return ""
}

// examples fills the program's name into examples.
func (a *app) examples(lines ...string) string {
	for i, l := range lines {
		lines[i] = "  " + strings.ReplaceAll(l, "{}", a.name)
	}
	return strings.Join(lines, "\n")
}

// now stamps a line of progress as the reference does.
func (a *app) now() string { return a.opts.Now().Format("2006-01-02 15:04:05.00000") }

// say tells a person a line; what is filled in may come from a stranger.
func say(c *cobra.Command, format string, values ...any) {
	fmt.Fprintf(c.OutOrStdout(), format+"\n", harmlessly(values)...)
}

func warn(c *cobra.Command, format string, values ...any) {
	fmt.Fprintf(c.ErrOrStderr(), format+"\n", harmlessly(values)...)
}

// harmlessly makes texts and errors harmless.
func harmlessly(values []any) []any {
	out := slices.Clone(values)
	for i, v := range out {
		switch v := v.(type) {
		case string:
			out[i] = Harmless(v)
		case error:
			out[i] = Harmless(v.Error())
		}
	}
	return out
}
