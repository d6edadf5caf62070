package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// columns are the invariants of the report, and what one check of each is.
var columns = []struct{ name, unit string }{
	{"I1", "successions of one primary by the next"},
	{"I2", "rows acknowledged in a synchronous cluster and looked for"},
	{"I3", "rows acknowledged in an asynchronous cluster and looked for"},
	{"I4", "comparisons of a replica's rows with the primary's"},
	{"I5", "timelines"},
	{"I6", "healings"},
	{"I8", "lost rows found in a list of what was lost"},
}

// judged counts what was checked, for each round with its faults.
type judged struct {
	sync   bool
	rounds []*counts
	reign  int // timelines seen before
	acked  int
	slow   time.Duration // the longest until a write was acknowledged again
}

type counts struct {
	strikes map[string]int
	checks  map[string]int
	wrong   map[string]int
}

func (j *judged) of(round int) *counts {
	for len(j.rounds) <= round {
		j.rounds = append(j.rounds, &counts{map[string]int{}, map[string]int{}, map[string]int{}})
	}
	return j.rounds[round]
}

func (j *judged) strike(round int, fault string) { j.of(round).strikes[fault]++ }

func (j *judged) reigns(round int, rs []*reign) {
	c := j.of(round)
	for i, r := range rs {
		if int(r.timeline) > j.reign {
			c.checks["I5"]++
			if i > 0 {
				c.checks["I1"]++
			}
		}
	}
	if len(rs) > 0 {
		j.reign = int(rs[len(rs)-1].timeline)
	}
}

func (j *judged) rows(round, acked int) {
	name := "I3"
	if j.sync {
		name = "I2"
	}
	j.of(round).checks[name] += acked - j.acked
	j.acked = acked
}

func (j *judged) compared(round, n int) { j.of(round).checks["I4"] += n }
func (j *judged) lost(round, n int)     { j.of(round).checks["I8"] += n }
func (j *judged) healed(round int, took time.Duration) {
	j.of(round).checks["I6"]++
	j.slow = max(j.slow, took)
}

func (j *judged) violated(invariant string) {
	if len(j.rounds) > 0 {
		j.rounds[len(j.rounds)-1].wrong[invariant]++
	}
}

// Table is faults × invariants: how often each fault struck, and how often each
// invariant was checked over the rounds in which it did (a fault's row counts what
// was checked under it and the others of its round), with violations.
func Table(js []*judged) string {
	var b strings.Builder
	b.WriteString("| fault | struck |")
	for _, c := range columns {
		b.WriteString(" " + c.name + " |")
	}
	b.WriteString(" violations |\n|---|---|" + strings.Repeat("---|", len(columns)+1) + "\n")
	for _, name := range append(names(), "all") {
		struck, checks, wrong := 0, map[string]int{}, map[string]int{}
		for _, j := range js {
			for _, c := range j.rounds {
				if name == "all" {
					for _, n := range c.strikes {
						struck += n
					}
				} else if struck += c.strikes[name]; c.strikes[name] == 0 {
					continue
				}
				for k, n := range c.checks {
					checks[k] += n
				}
				for k, n := range c.wrong {
					wrong[k] += n
				}
			}
		}
		fmt.Fprintf(&b, "| %s | %d |", name, struck)
		for _, c := range columns {
			fmt.Fprintf(&b, " %d |", checks[c.name])
		}
		var bad []string
		for k, n := range wrong {
			bad = append(bad, fmt.Sprintf("%s: %d", k, n))
		}
		slices.Sort(bad)
		if len(bad) == 0 {
			bad = []string{"0"}
		}
		fmt.Fprintf(&b, " %s |\n", strings.Join(bad, ", "))
	}
	for _, c := range columns {
		fmt.Fprintf(&b, "%s: %s. ", c.name, c.unit)
	}
	return b.String()
}
