package app

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/cli"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
)

// newRoot makes the command line for the name the program was called by.
func newRoot(name string, env []string, errOut io.Writer) *cobra.Command {
	return cli.NewWith(cli.Options{
		Version: Version, Env: env, Patronictl: called(name, "patronictl"), Drill: drills(),
		OpenStore: func(ctx context.Context, f *config.File) (dcs.Store, error) {
			return OpenStore(ctx, f, slog.New(slog.DiscardHandler))
		},
	}, daemons(env, errOut)...)
}

func called(name, as string) bool { return filepath.Base(name) == as }
