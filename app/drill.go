package app

import (
	"io"
	"maps"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/cli"
	"github.com/matriarch-ha/matriarch/drill"
	"github.com/matriarch-ha/matriarch/up"
)

// drills is what the command drill is given: the ways to members' processes, and
// how each is undone.
func drills() cli.DrillOptions {
	return cli.DrillOptions{Finders: []drill.Finder{up.FindReach}, Undoers: undoers()}
}

func undoers() drill.Undoers {
	all := drill.PostgresUndoers()
	maps.Copy(all, up.Undoers())
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
