package sim

import "slices"

// Shrink leaves out as many faults of a seed's schedule as it can while the
// first violation's invariant is still broken. It returns the faults to drop.
func Shrink(seed uint64, opt Options) []int {
	opt.Trace, opt.StopAtFirst = false, true
	first := Run(seed, opt)
	if len(first.Violations) == 0 {
		return nil
	}
	want := first.Violations[0].Invariant
	drop := slices.Clone(opt.Drop)
	// Halves first, then smaller pieces: most faults have nothing to do with it.
	for size := (len(first.Faults) + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < len(first.Faults); from += size {
			try := slices.Clone(drop)
			for i := from; i < min(from+size, len(first.Faults)); i++ {
				if !slices.Contains(try, i) {
					try = append(try, i)
				}
			}
			opt.Drop = try
			if r := Run(seed, opt); len(try) > len(drop) && len(r.Violations) > 0 && r.Violations[0].Invariant == want {
				drop = try
			}
		}
	}
	slices.Sort(drop)
	return drop
}
