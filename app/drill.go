package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/cli"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/drill"
	"github.com/matriarch-ha/matriarch/drill/docker"
	"github.com/matriarch-ha/matriarch/drill/hand"
	"github.com/matriarch-ha/matriarch/drill/netcut"
	"github.com/matriarch-ha/matriarch/drill/remote"
	"github.com/matriarch-ha/matriarch/up"
)

// drills is what the command drill is given: the ways to members' processes, and
// how each is undone.
func drills() cli.DrillOptions {
	return cli.DrillOptions{Finders: []drill.Finder{up.FindReach, docker.FindReach, remote.FindReach}, Undoers: undoers()}
}

func undoers() drill.Undoers {
	all := drill.PostgresUndoers()
	maps.Copy(all, up.Undoers())
	maps.Copy(all, docker.Undoers())
	maps.Copy(all, remote.Undoers())
	return all
}

// undoCommand is the second process of a drill. It takes its leave from nobody
// but the drill: signals that are meant for a whole terminal or session do not
// reach it, and one to end makes it undo first.
func undoCommand(errOut io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: "drill-undo", Hidden: true, Args: cobra.NoArgs,
		Short: "Undo what a drill did, when it ends (started by drill)",
		RunE: func(c *cobra.Command, _ []string) error {
			signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGINT)
			stop, ended := make(chan struct{}), make(chan os.Signal, 1)
			signal.Notify(ended, syscall.SIGTERM)
			go func() {
				<-ended
				close(stop)
			}()
			return drill.RunSecond(c.InOrStdin(), c.OutOrStdout(), errOut, stop, undoers())
		},
	}
}

// handCommand is what a drill runs on a member's host. Its work is not given up
// when the connection breaks.
func handCommand() *cobra.Command {
	return &cobra.Command{
		Use: "drill-hand VERB", Hidden: true, Args: cobra.ExactArgs(1),
		Short: "Do a drill's part on a member's host (run by drill --reach)",
		RunE: func(c *cobra.Command, args []string) error {
			// Caught and dropped: ignored, they would be so for what it starts too.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGHUP)
			return hand.Main(context.WithoutCancel(c.Context()), args[0], c.InOrStdin(), c.OutOrStdout())
		},
	}
}

// cutPatience bounds looking the store's names up.
const cutPatience = 10 * time.Second

// cutCommand cuts the network that it runs in off from the store of a
// configuration: a drill runs it in a member's container.
func cutCommand(env []string) *cobra.Command {
	var within time.Duration
	var mend, check bool
	c := &cobra.Command{
		Use: "drill-cut [FILE]", Hidden: true, Args: cobra.MaximumNArgs(1),
		Short: "Cut this network off from the store for a time (run by drill)",
		RunE: func(c *cobra.Command, args []string) error {
			if mend {
				return netcut.Mend()
			}
			path := ""
			for _, name := range []string{"MATRIARCH_CONFIG_FILE", "PATRONI_CONFIG_FILE"} {
				if path == "" {
					path = valueOf(env, name)
				}
			}
			if len(args) > 0 {
				path = args[0]
			}
			f, _, err := config.Load(path, env)
			if err != nil {
				return err
			}
			hosts, err := storeHosts(f)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), cutPatience)
			defer cancel()
			targets, err := netcut.Resolve(ctx, hosts)
			if err != nil {
				return fmt.Errorf("the store's addresses: %w", err)
			}
			if check {
				return netcut.Mend() // needs the same rights, and there is nothing to mend
			}
			return netcut.Cut(targets, within)
		},
	}
	c.Flags().DurationVar(&within, "for", time.Minute, "how long")
	c.Flags().BoolVar(&check, "check", false, "look whether it can be done")
	c.Flags().BoolVar(&mend, "mend", false, "end the cut")
	return c
}

func valueOf(env []string, name string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// storeHosts are the addresses at which a member's agent asks the store.
func storeHosts(f *config.File) ([]string, error) {
	switch {
	case f.Store.Embedded != nil:
		var out []string
		for _, p := range f.Store.Embedded.Members() {
			out = append(out, p.Client)
		}
		return out, nil
	case len(f.Store.Hosts) > 0:
		return f.Store.Hosts, nil
	case f.Store.SRV != "":
		return nil, errors.New("the store's hosts come from SRV records: name them under hosts for this drill")
	}
	return nil, errors.New("the configuration names no store")
}
