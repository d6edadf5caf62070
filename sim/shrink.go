package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// plainer applies what makes a failing world plainer to its schedule.
func (o Options) plainer(faults []Fault) []Fault {
	for i := range faults {
		f := &faults[i]
		if d, ok := o.Lasts[i]; ok {
			f.Lasts = min(f.Lasts, d)
		}
		if o.Members > 0 {
			f.A, f.B = min(f.A, o.Members-1), min(f.B, o.Members-1)
		}
	}
	return faults
}

// tries bounds the worlds that one shrinking runs.
const tries = 400

// shrinker looks for a plainer world that breaks the same invariant.
type shrinker struct {
	best Result
	left int
}

// still runs a plainer world; if it breaks the same, it is the best so far.
func (s *shrinker) still(opt Options) bool {
	if s.left == 0 {
		return false
	}
	s.left--
	r := Run(s.best.Seed, opt)
	if len(r.Violations) == 0 || r.Violations[0].Invariant != s.best.Violations[0].Invariant {
		return false
	}
	s.best = r
	return true
}

// Smallest leaves out as many faults of a failing world as it can, then members,
// and then shortens what is left, while the first violation stays of its kind.
func Smallest(r Result) Result {
	opt := r.Options
	opt.Trace, opt.StopAtFirst = false, true
	first := Run(r.Seed, opt)
	if len(first.Violations) == 0 {
		return first
	}
	s := &shrinker{first, tries}
	s.dropFaults()
	for n := 2; n < len(names); n++ {
		opt := s.best.Options
		if opt.Members = n; s.still(opt) {
			break
		}
	}
	s.dropFaults()
	for _, i := range s.best.needed() {
		for d := s.best.Faults[i].Lasts / 2; d > 100*time.Millisecond; d /= 2 {
			opt := s.best.Options
			opt.Lasts = maps.Clone(opt.Lasts)
			if opt.Lasts == nil {
				opt.Lasts = map[int]time.Duration{}
			}
			if opt.Lasts[i] = d.Round(time.Millisecond); !s.still(opt) {
				break
			}
		}
	}
	return s.best
}

// dropFaults: halves first, then smaller pieces: most have nothing to do with it.
func (s *shrinker) dropFaults() {
	n := len(s.best.Faults)
	for size := (n + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < n; from += size {
			opt := s.best.Options
			opt.Drop = slices.Clone(opt.Drop)
			for i := from; i < min(from+size, n); i++ {
				if !slices.Contains(opt.Drop, i) {
					opt.Drop = append(opt.Drop, i)
				}
			}
			slices.Sort(opt.Drop)
			if len(opt.Drop) > len(s.best.Options.Drop) {
				s.still(opt)
			}
		}
	}
}

// formatLasts writes shortened faults as parseLasts reads them: 3:1.5s,4:200ms.
func formatLasts(m map[int]time.Duration) string {
	var out []string
	for _, i := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%d:%s", i, m[i]))
	}
	return strings.Join(out, ",")
}

func parseLasts(s string) (map[int]time.Duration, error) {
	if s == "" {
		return nil, nil
	}
	out := map[int]time.Duration{}
	for _, f := range strings.Split(s, ",") {
		var i int
		number, length, _ := strings.Cut(f, ":")
		d, err := time.ParseDuration(length)
		if _, numErr := fmt.Sscanf(number, "%d", &i); numErr != nil || err != nil {
			return nil, fmt.Errorf("list of shortened faults: %q is not like 3:1.5s", f)
		}
		out[i] = d
	}
	return out, nil
}
