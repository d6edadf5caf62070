package app

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

func newRoot(_ context.Context, env []string, _ io.Reader, _, errOut io.Writer) *cobra.Command {
	root := &cobra.Command{Use: "matriarch", SilenceUsage: true, SilenceErrors: true, Version: Version}
	root.AddCommand(daemons(env, errOut)...)
	return root
}
