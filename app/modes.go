package app

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/cli"
)

// withModes adds what the agent's command does instead of running: checking and
// writing configurations, under the flags that existing scripts use.
func withModes(c *cobra.Command, env []string) *cobra.Command {
	var validate, generate, sample bool
	var o cli.ValidateOptions
	var dsn string
	f := c.Flags()
	f.BoolVar(&validate, "validate-config", false, "check the configuration, and end")
	f.BoolVarP(&o.IgnoreListenPort, "ignore-listen-port", "i", false, "with --validate-config: do not complain of listen ports in use")
	f.BoolVarP(&o.Print, "print", "p", false, "with --validate-config: print the merged configuration, without secrets")
	f.BoolVar(&generate, "generate-config", false, "write the configuration for a running server to FILE or standard output, and end")
	f.BoolVar(&sample, "generate-sample-config", false, "write a template to FILE or standard output, and end")
	f.StringVar(&dsn, "dsn", "", "with --generate-config: how to connect")
	c.MarkFlagsMutuallyExclusive("validate-config", "generate-config", "generate-sample-config")
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		path := ""
		if len(args) > 0 {
			path = args[0]
		}
		switch {
		case dsn != "" && !generate:
			return errors.New("--dsn belongs to --generate-config")
		case (o.Print || o.IgnoreListenPort) && !validate:
			return errors.New("--print and --ignore-listen-port belong to --validate-config")
		case validate:
			o.Quiet = true
			return cli.Validate(c, path, env, o)
		case generate || sample:
			return cli.Generate(c, path, dsn, sample)
		}
		return run(c, args)
	}
	return c
}
