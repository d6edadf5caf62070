package etcdembed

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

const (
	// The live heap is a few megabytes; collecting it more often than Go's
	// default costs little and keeps the process small.
	storeGCPercent = 40
	// storeMemory is a soft limit: near it the collector works harder.
	storeMemory = 96 << 20
)

// Run is the whole of the hidden command `matriarch store`: it reads a Config
// as JSON from in, serves until SIGTERM or SIGINT, writes every change of its
// State as one line of JSON to out (nil: nowhere) and the server's warnings to
// log. Its error has been recorded in the run file too.
func Run(ctx context.Context, in io.Reader, out, log io.Writer) error {
	var c Config
	if err := json.NewDecoder(in).Decode(&c); err != nil {
		return fmt.Errorf("read the store's configuration from standard input: %w", err)
	}
	c.Log = log
	debug.SetGCPercent(storeGCPercent)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(storeMemory)
	}
	// Whoever read our output may be gone: that is no reason to end.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return Serve(ctx, c, func(s State) {
		if b, err := json.Marshal(s); err == nil && out != nil {
			out.Write(append(b, '\n'))
		}
	})
}
