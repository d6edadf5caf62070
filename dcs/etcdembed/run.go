package etcdembed

import (
	"context"
	"encoding/json"
	"errors"
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

// Recover makes the data of this member the whole store and drops all other
// members: a person's decision after the majority was lost for good. What only
// the lost members had confirmed is lost. It refuses while a majority answers,
// and while this member's process runs. Afterwards the member is started as
// usual and the others rejoin. Where others still have old directories, these
// must be moved away first: together they could go on as the old store.
func Recover(ctx context.Context, c Config, progress func(State)) error {
	c, err := c.absolute()
	if err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return err
	}
	s := &server{cfg: c}
	if len(c.partners()) > 0 {
		cl, err := s.partnerClient()
		if err != nil {
			return err
		}
		defer cl.Close()
		if _, err := memberList(ctx, cl); err == nil {
			return errors.New("the other members of the store have a majority and answer: nothing is to be recovered, start this member as usual")
		}
	}
	if !logExists(c) {
		return fmt.Errorf("recover the embedded store: %s holds no data of it: do this on a member that has kept its directory", c.DataDir)
	}
	c.recover = true
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return Serve(ctx, c, func(st State) {
		if progress != nil {
			progress(st)
		}
		if st.Phase == Ready {
			cancel()
		}
	})
}
