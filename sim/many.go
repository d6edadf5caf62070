package sim

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Summary is what many worlds came to.
type Summary struct {
	Worlds, Failed int
	Total          Stats
	// Worlds in which each happened at least once.
	WithFailover, WithFence, WithRewind, WithLostReply, WithSwitchover, WithMidTurn int
	WithRestart, WithReinit                                                         int
	Failures                                                                        []Result // the first ones, by seed
	Took                                                                            time.Duration
}

// PerSecond is the speed.
func (s Summary) PerSecond() float64 { return float64(s.Worlds) / s.Took.Seconds() }

// keepFailures is how many failing worlds a summary keeps.
const keepFailures = 20

// Fleet runs many worlds side by side.
type Fleet struct {
	Jobs int // at a time; 0: one per processor
	// Each, when not nil, is told of every world, one at a time, and what all came
	// to so far; it says whether to stop.
	Each func(sofar *Summary, r Result) (stop bool)
}

// Many runs the worlds of n seeds from first on, on all processors, until stop
// says so (nil: never).
func Many(first uint64, n int, opt Options, stop func(Result) bool) Summary {
	var f Fleet
	if stop != nil {
		f.Each = func(_ *Summary, r Result) bool { return stop(r) }
	}
	return f.Run(first, n, opt)
}

// Run runs the worlds of n seeds from first on.
func (f Fleet) Run(first uint64, n int, opt Options) Summary {
	var sum Summary
	var mu sync.Mutex
	next, halt := 0, false
	began := time.Now()
	// A world is garbage once it is over, and little at a time: collect rarely.
	defer debug.SetGCPercent(debug.SetGCPercent(4000))
	jobs := f.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	take := func(done *Result) (seed uint64, more bool) {
		mu.Lock()
		defer mu.Unlock()
		if done != nil {
			sum.add(*done)
			halt = f.Each != nil && f.Each(&sum, *done) || halt
		}
		if halt || next >= n {
			return 0, false
		}
		next++
		return first + uint64(next-1), true
	}
	var wg sync.WaitGroup
	for range jobs {
		wg.Go(func() {
			seed, more := take(nil)
			for more {
				r := Run(seed, opt)
				seed, more = take(&r)
			}
		})
	}
	wg.Wait()
	sum.Took = time.Since(began)
	slices.SortFunc(sum.Failures, func(a, b Result) int { return int(int64(a.Seed) - int64(b.Seed)) })
	return sum
}

func (s *Summary) add(r Result) {
	one := Summary{Worlds: 1, Total: r.Stats}
	did := func(to *int, n int) { *to = min(n, 1) }
	did(&one.WithFailover, r.Stats.Failovers)
	did(&one.WithFence, r.Stats.Fences)
	did(&one.WithRewind, r.Stats.Rewinds)
	did(&one.WithLostReply, r.Stats.LostReplies)
	did(&one.WithSwitchover, r.Stats.Switchovers)
	did(&one.WithMidTurn, r.Stats.MidTurn)
	did(&one.WithRestart, r.Stats.Restarts)
	did(&one.WithReinit, r.Stats.Reinits)
	if len(r.Violations) > 0 {
		one.Failed = 1
		one.Failures = []Result{r}
	}
	s.Merge(one)
}

// Merge sums two summaries; the time that they took is the caller's to say.
func (s *Summary) Merge(o Summary) {
	s.Worlds += o.Worlds
	s.Failed += o.Failed
	s.Total.Add(o.Total)
	s.WithFailover += o.WithFailover
	s.WithFence += o.WithFence
	s.WithRewind += o.WithRewind
	s.WithLostReply += o.WithLostReply
	s.WithSwitchover += o.WithSwitchover
	s.WithMidTurn += o.WithMidTurn
	s.WithRestart += o.WithRestart
	s.WithReinit += o.WithReinit
	if room := keepFailures - len(s.Failures); room > 0 {
		s.Failures = append(s.Failures, o.Failures[:min(room, len(o.Failures))]...)
	}
}
