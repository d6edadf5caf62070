package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/config"
)

// ValidateOptions refine the check of a configuration.
type ValidateOptions struct {
	IgnoreListenPort bool // the member may be running: its ports are taken
	Print            bool // print the merged configuration when it is right
	Quiet            bool // say nothing when all is right, and no warnings
}

func (a *app) validateCommand() *cobra.Command {
	var o ValidateOptions
	c := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check the configuration of a member, all of it at once",
		Long: "Checks a configuration file (or a directory of them, with the environment over it) and what\n" +
			"it needs on this machine: programs, directories, ports, addresses. Everything that is wrong is\n" +
			"named at once, with its place, its value and what to write instead. Nothing is changed.",
		Example: a.examples("{} validate /etc/patroni.yml", "{} validate -i /etc/patroni.yml   # while the member runs"),
		Args:    args(cobra.ExactArgs(1)),
		RunE:    func(c *cobra.Command, files []string) error { return Validate(c, files[0], a.opts.Env, o) },
	}
	c.Flags().BoolVarP(&o.IgnoreListenPort, "ignore-listen-port", "i", false, "do not complain of listen ports in use")
	c.Flags().BoolVarP(&o.Print, "print", "p", false, "print the merged configuration, without secrets, when it is right")
	return c
}

// Validate checks the configuration at path and says what is wrong with it.
func Validate(c *cobra.Command, path string, env []string, o ValidateOptions) error {
	if path != "" {
		// The agent would go on with the environment alone.
		if _, err := os.Stat(path); err != nil {
			return err
		}
	}
	f, warnings, err := config.Load(path, env)
	if !o.Quiet {
		for _, w := range warnings {
			warn(c, "warning: %s", w)
		}
	}
	var found []string
	add := func(err error) {
		if err != nil {
			found = append(found, strings.Split(err.Error(), "\n")...)
		}
	}
	add(err)
	if err == nil {
		add(f.Check(config.ForValidate))
		add(checkMachine(c.Context(), f, o.IgnoreListenPort))
	}
	if len(found) > 0 {
		for _, line := range found {
			warn(c, "%s", line)
		}
		return &exitError{code: exitFailed}
	}
	switch {
	case o.Print:
		fmt.Fprint(c.OutOrStdout(), f.Raw.YAML(false))
	case !o.Quiet:
		say(c, "%s: no mistake was found", path)
	}
	return nil
}
