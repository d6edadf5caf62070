// Command forever simulates worlds until it is stopped, and says how it goes.
// It ends with status 1 when any world broke an invariant.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/matriarch-ha/matriarch/sim"
)

func main() {
	first := flag.Uint64("first", uint64(time.Now().UnixNano())>>10, "first seed; drawn from the clock unless given")
	worlds := flag.Int("worlds", 0, "how many worlds to run; 0: until stopped")
	jobs := flag.Int("jobs", 0, "how many at a time; 0: one per processor")
	failures := flag.String("failures", "sim-failures.txt", "file that failing seeds are appended to")
	flag.Parse()
	if flag.NArg() > 0 || *worlds < 0 || *jobs < 0 {
		flag.Usage()
		os.Exit(2)
	}
	file := &appended{name: *failures}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	sum := sim.Forever(ctx, sim.Watch{First: *first, Worlds: *worlds, Jobs: *jobs, Out: os.Stdout, Failures: file,
		Live: term.IsTerminal(int(os.Stdout.Fd()))})
	stop()
	if file.err != nil {
		fmt.Fprintf(os.Stderr, "failing seeds were not kept: %v\n", file.err)
	}
	if sum.Failed > 0 {
		fmt.Fprintf(os.Stderr, "%d of %d worlds broke an invariant; their seeds are in %s\n", sum.Failed, sum.Worlds, *failures)
		os.Exit(1)
	}
}

// appended is a file that comes to be when there is something to write.
type appended struct {
	name string
	err  error
}

func (a *appended) Write(p []byte) (int, error) {
	f, err := os.OpenFile(a.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.Write(p)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		a.err = err
		return 0, err
	}
	return len(p), nil
}
