package sim

import (
	"fmt"
	"slices"
	"strings"
)

// storyLines bounds a printed story: what a person reads to the end.
const storyLines = 60

// Story tells the shrunk world in the lines that matter: what world it is, the
// faults that are needed, what the members decided between the first of them and
// the violation, without the waiting, and the violation itself.
func (r Result) Story() string {
	opt := r.Options
	opt.Trace, opt.StopAtFirst = true, true
	t := run(r.Seed, opt).trace
	matters := t.lines[:0:0]
	for i, l := range t.lines {
		if i == 0 || l.weight > 0 {
			matters = append(matters, l)
		}
	}
	// The newest lines explain a violation; faults and reigns are kept always.
	spare := len(matters) - storyLines
	var b strings.Builder
	skipped := 0
	for i, l := range matters {
		if spare > 0 && i > 0 && l.weight == told {
			spare--
			skipped++
			continue
		}
		if skipped > 0 {
			fmt.Fprintf(&b, "             … %d more decisions\n", skipped)
			skipped = 0
		}
		fmt.Fprintln(&b, l.text)
	}
	return b.String()
}

// Report is what went wrong, as a story of the smallest world that still goes
// wrong in that way, and the command that repeats it.
func (r Result) Report() string {
	small := Smallest(r)
	var b strings.Builder
	for _, v := range r.Violations {
		fmt.Fprintln(&b, v)
	}
	if left := len(small.Faults) - len(small.Options.Drop); len(small.Violations) > 0 {
		fmt.Fprintf(&b, "the smallest world that breaks %s needs %d of %d faults:\n", small.Violations[0].Invariant, left, len(small.Faults))
		fmt.Fprint(&b, small.Story())
	}
	fmt.Fprintf(&b, "repeat it:           %s\n", small.Command())
	fmt.Fprintf(&b, "as it was found:     %s\n", r.Command())
	return b.String()
}

// needed lists the faults that are left.
func (r Result) needed() []int {
	var out []int
	for i := range r.Faults {
		if !slices.Contains(r.Options.Drop, i) {
			out = append(out, i)
		}
	}
	return out
}
