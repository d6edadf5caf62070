package sim

import (
	"fmt"
	"math"
	"sort"
	"time"
)

// zone is the life of one value as clients saw it, by its write and its reads:
// the earliest end of any of these operations and the latest beginning. When the
// first lies before the last, the register held the value in all the time
// between (it is forward); otherwise it held it at some instant in the span.
type zone struct {
	value               int
	firstEnd, lastBegin time.Duration
	wrote               bool
	writeBegin          time.Duration
	firstReadEnd        time.Duration
}

func (z *zone) forward() bool       { return z.firstEnd < z.lastBegin }
func (z *zone) low() time.Duration  { return min(z.firstEnd, z.lastBegin) }
func (z *zone) high() time.Duration { return max(z.firstEnd, z.lastBegin) }

// linearizable says why no order of the operations, each at an instant between
// its beginning and its end, makes one register; empty when one does. Values are
// written once each, so this is exact and quick (Gibbons and Korach, Testing
// Shared Memories, theorem 4.2): no value is read before its write began, no two
// forward zones overlap, and no other zone lies within a forward one. A write
// whose client never learned the outcome may have happened at any time after its
// beginning, or never.
func linearizable(ops []*op) string {
	zones := map[int]*zone{0: {value: 0, wrote: true, firstEnd: -1, lastBegin: -1, writeBegin: -1, firstReadEnd: never}} // nothing, before all else
	of := func(v int) *zone {
		z := zones[v]
		if z == nil {
			z = &zone{value: v, firstEnd: never, lastBegin: math.MinInt64, firstReadEnd: never}
			zones[v] = z
		}
		return z
	}
	for _, o := range ops {
		if o.write {
			z := of(o.value)
			z.wrote, z.writeBegin = true, o.call
			z.firstEnd, z.lastBegin = min(z.firstEnd, o.ret), max(z.lastBegin, o.call)
		} else if o.ret != never {
			z := of(o.value)
			z.firstReadEnd = min(z.firstReadEnd, o.ret)
			z.firstEnd, z.lastBegin = min(z.firstEnd, o.ret), max(z.lastBegin, o.call)
		}
	}
	var forward, backward []*zone
	for _, z := range zones {
		switch {
		case z.firstEnd == never: // an unknown write that nobody saw: after everything
		case !z.wrote:
			return fmt.Sprintf("the value %d is read and nobody wrote it", z.value)
		case z.firstReadEnd < z.writeBegin:
			return fmt.Sprintf("the value %d is read until %s, before its write begins at %s", z.value, z.firstReadEnd, z.writeBegin)
		case z.forward():
			forward = append(forward, z)
		default:
			backward = append(backward, z)
		}
	}
	sort.Slice(forward, func(i, j int) bool { return forward[i].low() < forward[j].low() })
	for i := 1; i < len(forward); i++ {
		if a, b := forward[i-1], forward[i]; b.low() < a.high() {
			return fmt.Sprintf("the value %d is there from %s to %s and the value %d from %s to %s, at the same time",
				a.value, a.low(), a.high(), b.value, b.low(), b.high())
		}
	}
	for _, z := range backward {
		// The last forward zone that begins before this one.
		i := sort.Search(len(forward), func(i int) bool { return forward[i].low() >= z.low() })
		if i > 0 && z.high() < forward[i-1].high() {
			f := forward[i-1]
			return fmt.Sprintf("the value %d is there from %s to %s, and the value %d is written in between, from %s to %s, and is not the later one",
				f.value, f.low(), f.high(), z.value, z.low(), z.high())
		}
	}
	return ""
}
