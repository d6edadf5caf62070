package cli

import (
	"context"
	"fmt"
	"os"
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
	a := &app{opts: o, name: "matriarch"}
	if o.Patronictl {
		a.name = "patronictl"
	}
	root := &cobra.Command{
		Use:   a.name,
		Short: "High availability for PostgreSQL",
		Long: "High availability for PostgreSQL: looks at a cluster and changes it.\n\n" +
			"Commands ask the members themselves: the one at --api, or at restapi.connect_address of the\n" +
			"configuration file, and the others that it names.",
		Example:       a.examples("{} --api http://10.0.0.1:8008 list", "{} -c /etc/patroni.yml switchover"),
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       o.Version,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.CompletionOptions.HiddenDefaultCmd = true
	f := root.PersistentFlags()
	f.StringVarP(&a.configFile, "config-file", "c", "", "configuration file or directory")
	f.StringArrayVar(&a.apis, "api", nil, "member to ask, such as http://10.0.0.1:8008 (may be repeated)")
	f.BoolVarP(&a.insecure, "insecure", "k", false, "do not verify members' certificates")
	root.AddCommand(
		a.listCommand(), a.topologyCommand(), a.historyCommand(),
		a.switchoverCommand(), a.failoverCommand(),
		a.showConfigCommand(), a.editConfigCommand(),
		a.pauseCommand(), a.resumeCommand(),
		a.dsnCommand(), a.versionCommand(),
		a.configCommand(), a.validateCommand(), a.generateCommand(),
	)
	root.AddCommand(extra...)
	return root
}

// app is what all commands share.
type app struct {
	opts Options
	name string

	configFile string
	apis       []string
	insecure   bool
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
	var out string
	for i, l := range lines {
		if i > 0 {
			out += "\n"
		}
		out += "  " + replaceName(l, a.name)
	}
	return out
}

// now stamps a line of progress as the reference does.
func (a *app) now() string { return a.opts.Now().Format("2006-01-02 15:04:05.00000") }

func say(c *cobra.Command, format string, values ...any) {
	fmt.Fprintf(c.OutOrStdout(), format+"\n", values...)
}

func warn(c *cobra.Command, format string, values ...any) {
	fmt.Fprintf(c.ErrOrStderr(), format+"\n", values...)
}
