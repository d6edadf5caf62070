package sim

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Watch says how Forever is to run and where it tells of it.
type Watch struct {
	First  uint64 // first seed
	Worlds int    // how many; 0: until it is stopped
	Jobs   int    // how many at a time; 0: one per processor
	Out    io.Writer
	// Live redraws one line in place, as a terminal can; otherwise whole lines are
	// written now and then.
	Live bool
	// Failures, when not nil, gets one line for each world that fails, in the form
	// of testdata/seeds.txt.
	Failures io.Writer
}

// How often Forever tells how it goes.
const (
	liveEvery = 500 * time.Millisecond
	lineEvery = 30 * time.Second
)

// Forever runs worlds until ctx ends or all are run, tells how it goes, and of
// each world that fails when it does. It returns the sum.
func Forever(ctx context.Context, w Watch) Summary {
	var all Summary
	began := time.Now()
	next := began
	fmt.Fprintf(w.Out, "simulating worlds from seed %d on\n", w.First)
	for ctx.Err() == nil && (w.Worlds == 0 || all.Worlds < w.Worlds) {
		batch := 1 << 20
		if w.Worlds > 0 {
			batch = w.Worlds - all.Worlds
		}
		sofar := all
		s := Fleet{Jobs: w.Jobs, Each: func(now *Summary, r Result) bool {
			if len(r.Violations) > 0 {
				w.failed(r)
			}
			if t := time.Now(); t.After(next) {
				sum := sofar
				sum.Merge(*now)
				sum.Took = t.Sub(began)
				next = t.Add(w.tell(sum.Line()))
			}
			return ctx.Err() != nil
		}}.Run(w.First+uint64(all.Worlds), batch, Options{})
		all.Merge(s)
		all.Took = time.Since(began)
	}
	w.tell(all.Line())
	fmt.Fprintf(w.Out, "\n%s\n", all)
	return all
}

// tell writes the line and says when the next is due.
func (w Watch) tell(line string) time.Duration {
	if w.Live {
		fmt.Fprintf(w.Out, "\r\x1b[K%s", line)
		return liveEvery
	}
	fmt.Fprintln(w.Out, line)
	return lineEvery
}

func (w Watch) failed(r Result) {
	if w.Live {
		fmt.Fprint(w.Out, "\r\x1b[K")
	}
	fmt.Fprintf(w.Out, "seed %d FAILED\n%s", r.Seed, r.Report())
	if w.Failures != nil {
		fmt.Fprintf(w.Failures, "%d # %s\n", r.Seed, r.Violations[0])
	}
}

// Line is one short line on what was run.
func (s Summary) Line() string {
	return fmt.Sprintf("%d worlds, %.3f simulated years, %.0f worlds/s, %d failed", s.Worlds, s.Years(), s.PerSecond(), s.Failed)
}

// Years is how much time passed in all the worlds together.
func (s Summary) Years() float64 { return s.Total.Simulated.Hours() / 24 / 365 }

// String says what was run and what happened in it.
func (s Summary) String() string {
	return fmt.Sprintf("%s; worlds with a failover %d, a fence %d, a rewind %d, a lost reply %d, a switchover %d, a fault between two actions %d; "+
		"%d commits acknowledged, %d operations on the register; rules that never fired: %v",
		s.Line(), s.WithFailover, s.WithFence, s.WithRewind, s.WithLostReply, s.WithSwitchover, s.WithMidTurn,
		s.Total.Commits, s.Total.Operations, s.Total.Silent())
}
