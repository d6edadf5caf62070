// Command matriarch keeps a herd of PostgreSQL servers available: it runs one
// member, the entrypoint, a witness, or a whole cluster on this machine, and is
// the tool to operate them.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/matriarch-ha/matriarch/app"
)

func main() {
	// A program whose file carries capabilities, as in a container, would say
	// nothing of the place where it crashed. There are no secrets in a trace.
	debug.SetTraceback("single")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(app.Main(ctx, os.Args, os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
