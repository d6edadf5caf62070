package up

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Command is `matriarch up`. env is the environment of the processes that it
// starts.
func Command(env []string) *cobra.Command {
	var o Options
	c := &cobra.Command{
		Use:   "up",
		Short: "Run a whole cluster on this machine",
		Long: "Runs a whole cluster on this machine: servers, the embedded store's votes, and the entrypoint,\n" +
			"each its own process, all on loopback. It shows what happens and how to connect; Ctrl-C stops\n" +
			"everything, and the same command brings the same cluster back with its data.\n\n" +
			"If this command itself is killed, the cluster goes on, and the next start takes it over.",
		Example: "  matriarch up\n  matriarch up -n 2 --base-port 15000 --dir /var/tmp/two",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkGiven(c.Flags(), o); err != nil {
				return err
			}
			o.Out, o.Env = c.OutOrStdout(), env
			hard := make(chan struct{})
			o.Hard = hard
			ctx, cancel := signals(c.Context(), hard)
			defer cancel()
			return Run(ctx, o)
		},
	}
	f := c.Flags()
	f.IntVarP(&o.Members, "members", "n", 0, "number of servers (default 3, or what the directory's cluster has); an even number gets a witness vote")
	f.StringVar(&o.Dir, "dir", "", "the cluster's directory (default ~/.local/share/matriarch/SCOPE, as root /var/lib/matriarch/SCOPE)")
	f.IntVar(&o.BasePort, "base-port", 0, "first of a contiguous range of ports: entrypoint, PostgreSQL, REST, store, statistics (default 5000, 5432, 8008, 2379, 7000)")
	f.StringVar(&o.PgBin, "pg-bin", "", "directory of PostgreSQL's programs (default: PATH and the usual places)")
	f.StringVar(&o.Scope, "scope", "", "name of the cluster (default demo)")
	f.BoolVar(&o.Synchronous, "synchronous", false, "commits of a new cluster wait for a standby")
	return c
}

// checkGiven refuses flags that were given the value which Options has for "not
// given": nobody who writes -n 0 wants three servers, and a directory from an
// empty variable is not the default one.
func checkGiven(f *pflag.FlagSet, o Options) error {
	switch {
	case f.Changed("members") && o.Members == 0:
		return wrongMembers(0)
	case f.Changed("base-port") && o.BasePort == 0:
		return wrongBase(0)
	}
	for _, name := range []string{"dir", "pg-bin", "scope"} {
		if f.Changed(name) && f.Lookup(name).Value.String() == "" {
			return fmt.Errorf("--%s is empty: give a value, or leave the flag out", name)
		}
	}
	return nil
}
