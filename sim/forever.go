package sim

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"
)

// Forever runs worlds from a seed drawn from the clock on until ctx ends, tells
// w how it goes every few seconds, and of each world that fails. It returns an
// error when any did.
func Forever(ctx context.Context, w io.Writer) error {
	first := uint64(time.Now().UnixNano()) >> 10
	return ForeverFrom(ctx, w, first)
}

// ForeverFrom is Forever from a given seed on.
func ForeverFrom(ctx context.Context, w io.Writer, first uint64) error {
	const batch = 2000
	var all Summary
	fmt.Fprintf(w, "simulating worlds from seed %d on %d processors until stopped\n", first, runtime.GOMAXPROCS(0))
	for ctx.Err() == nil {
		s := Many(first, batch, Options{}, func(Result) bool { return ctx.Err() != nil })
		first += batch
		all.merge(s)
		for _, r := range s.Failures {
			fmt.Fprintf(w, "seed %d FAILED\n%s", r.Seed, r.Report())
		}
		fmt.Fprintln(w, all)
	}
	if all.Failed > 0 {
		return fmt.Errorf("%d of %d worlds broke an invariant", all.Failed, all.Worlds)
	}
	return nil
}

func (s *Summary) merge(o Summary) {
	s.Worlds += o.Worlds
	s.Failed += o.Failed
	s.Total.Add(o.Total)
	s.WithFailover += o.WithFailover
	s.WithFence += o.WithFence
	s.WithRewind += o.WithRewind
	s.WithLostReply += o.WithLostReply
	s.WithSwitchover += o.WithSwitchover
	s.WithMidTurn += o.WithMidTurn
	s.Took += o.Took
}

// String is one line on what was run.
func (s Summary) String() string {
	return fmt.Sprintf("%d worlds, %d failed, %.0f/s; worlds with a failover %d, a fence %d, a rewind %d, a lost reply %d, a switchover %d, a fault between two actions %d; "+
		"%d commits acknowledged; rules that never fired: %v",
		s.Worlds, s.Failed, s.PerSecond(), s.WithFailover, s.WithFence, s.WithRewind, s.WithLostReply, s.WithSwitchover, s.WithMidTurn,
		s.Total.Commits, s.Total.Silent())
}
