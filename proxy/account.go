package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/route"
)

// account counts what the clients of one port did with one member. It outlives the
// gates to that member.
type account struct {
	sessions gauge        // that have the member
	served   atomic.Int64 // sessions ever that reached it
	failed   atomic.Int64 // attempts to reach it that failed
	toServer atomic.Int64 // bytes
	toClient atomic.Int64
	began    rate
	connects timing // from the call to the first byte of an answer
	lasted   timing // sessions
}

func newAccount() *account {
	return &account{connects: newTiming(connectBuckets), lasted: newTiming(sessionBuckets)}
}

// gauge is a number that goes up and down, with the most that it ever was.
type gauge struct{ now, most atomic.Int64 }

func (g *gauge) add(n int64) { raise(&g.most, g.now.Add(n)) }

// raise makes the most of what it is and another number.
func raise(most *atomic.Int64, n int64) {
	for {
		was := most.Load()
		if n <= was || most.CompareAndSwap(was, n) {
			return
		}
	}
}

// rate counts what happened in the last whole second, and in the busiest one.
type rate struct {
	mu              sync.Mutex
	second          int64
	now, last, most int64
}

func (r *rate) add(at boot.Instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(at)
	r.now++
	r.most = max(r.most, r.now)
}

func (r *rate) read(at boot.Instant) (last, most int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(at)
	return r.last, r.most
}

func (r *rate) turn(at boot.Instant) {
	second := int64(at) / int64(time.Second)
	if second <= r.second { // or read before another's
		return
	}
	r.last = 0
	if second == r.second+1 {
		r.last = r.now
	}
	r.second, r.now = second, 0
}

// The upper ends of the histograms' buckets, in seconds.
var (
	connectBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	sessionBuckets = []float64{.001, .01, .1, 1, 10, 60, 600, 3600, 28800}
	holdBuckets    = []float64{.01, .1, .25, .5, 1, 2, 5, 10, 20, 30, 60}
	delayBuckets   = []float64{.000005, .00001, .000025, .00005, .0001, .00025, .0005, .001, .01, .1, 1}
)

// timing is how long something took.
type timing struct {
	prometheus.Histogram
	longest *atomic.Int64 // nanoseconds
}

func newTiming(buckets []float64) timing {
	return timing{prometheus.NewHistogram(prometheus.HistogramOpts{Name: "unnamed", Buckets: buckets}), new(atomic.Int64)}
}

func (t timing) took(d time.Duration) {
	t.Observe(d.Seconds())
	raise(t.longest, int64(d))
}

// snapshot is a histogram as a metric is made of it.
type snapshot struct {
	count   uint64
	sum     float64 // seconds
	longest float64 // seconds
	buckets map[float64]uint64
}

func (t timing) snapshot() snapshot {
	var m dto.Metric
	if err := t.Write(&m); err != nil {
		return snapshot{} // it cannot fail for a histogram
	}
	h := m.GetHistogram()
	s := snapshot{count: h.GetSampleCount(), sum: h.GetSampleSum(), longest: time.Duration(t.longest.Load()).Seconds(), buckets: map[float64]uint64{}}
	for _, b := range h.GetBucket() {
		s.buckets[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	return s
}

// mean in milliseconds, 0 of nothing.
func (s snapshot) mean() float64 {
	if s.count == 0 {
		return 0
	}
	return s.sum / float64(s.count) * 1000
}

// standing is whether a port uses a member, and since when.
type standing struct {
	route.Verdict
	since boot.Instant
	falls int64         // times that it was in and came out
	out   time.Duration // that it was not in, before since
}

// outFor is how long the member was not used altogether.
func (s standing) outFor(now boot.Instant) time.Duration {
	if s.In {
		return s.out
	}
	return s.out + now.Sub(s.since)
}

// next is the standing after a verdict.
func (s standing) next(v route.Verdict, now boot.Instant) standing {
	if s.since.IsZero() {
		return standing{Verdict: v, since: now}
	}
	if s.In != v.In {
		if s.In {
			s.falls++
		} else {
			s.out += now.Sub(s.since)
		}
		s.since = now
	}
	s.Verdict = v
	return s
}
