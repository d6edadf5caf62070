// Command matriarch keeps a herd of PostgreSQL servers available: it runs one
// member, the entrypoint, a witness, or a whole cluster on this machine, and is
// the tool to operate them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/matriarch-ha/matriarch/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(app.Main(ctx, os.Args, os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
