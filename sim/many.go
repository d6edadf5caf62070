package sim

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
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

// Many runs the worlds of n seeds from first on, on all processors, until stop
// says so (nil: never).
func Many(first uint64, n int, opt Options, stop func(Result) bool) Summary {
	var sum Summary
	var mu sync.Mutex
	var next atomic.Uint64
	var halt atomic.Bool
	began := time.Now()
	// A world is garbage once it is over, and little at a time: collect rarely.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !halt.Load() {
				i := next.Add(1) - 1
				if i >= uint64(n) {
					return
				}
				r := Run(first+i, opt)
				mu.Lock()
				sum.add(r)
				if stop != nil && stop(r) {
					halt.Store(true)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	sum.Took = time.Since(began)
	slices.SortFunc(sum.Failures, func(a, b Result) int { return int(int64(a.Seed) - int64(b.Seed)) })
	return sum
}

func (s *Summary) add(r Result) {
	s.Worlds++
	s.Total.Add(r.Stats)
	count := func(to *int, n int) {
		if n > 0 {
			*to++
		}
	}
	count(&s.WithFailover, r.Stats.Failovers)
	count(&s.WithFence, r.Stats.Fences)
	count(&s.WithRewind, r.Stats.Rewinds)
	count(&s.WithLostReply, r.Stats.LostReplies)
	count(&s.WithSwitchover, r.Stats.Switchovers)
	count(&s.WithMidTurn, r.Stats.MidTurn)
	count(&s.WithRestart, r.Stats.Restarts)
	count(&s.WithReinit, r.Stats.Reinits)
	if len(r.Violations) > 0 {
		s.Failed++
		if len(s.Failures) < keepFailures {
			s.Failures = append(s.Failures, r)
		}
	}
}
