package drill

import (
	"fmt"
	"strconv"
	"time"
)

// Objective is what a cluster is to hold.
type Objective struct {
	// RTO is the longest outage that is allowed, RPO the number of acknowledged
	// rows that may be lost.
	RTO time.Duration
	RPO int
}

// Verdict is what came of it.
type Verdict struct {
	Met bool `json:"met"`
	// Why are the sentences with the numbers, one per part of the objective.
	Why []string `json:"why"`
}

// Judge compares what was measured with the objective.
func Judge(o Objective, outage Gap, c Check) Verdict {
	v := Verdict{Met: true}
	say := func(ok bool, format string, values ...any) {
		v.Met = v.Met && ok
		v.Why = append(v.Why, fmt.Sprintf(format, values...))
	}
	switch length := outage.Length(); {
	case outage.Open:
		say(false, "no write was acknowledged any more for %s, until the writing ended", seconds(length))
	case length > o.RTO:
		say(false, "the outage of %s is longer than %s", seconds(length), seconds(o.RTO))
	default:
		say(true, "the outage of %s is within %s", seconds(length), seconds(o.RTO))
	}
	switch {
	case c.Lost > o.RPO:
		say(false, "%s lost, %d allowed", counted(c.Lost, "acknowledged row was", "acknowledged rows were"), o.RPO)
	default:
		say(true, "%s lost, %d allowed", counted(c.Lost, "acknowledged row was", "acknowledged rows were"), o.RPO)
	}
	// Neither can be allowed: the database is not what clients were told.
	if c.Refused > 0 {
		say(false, "%s there although the client was told that nothing was written", counted(c.Refused, "row is", "rows are"))
	}
	if c.Strange > 0 {
		say(false, "%s there that this drill never wrote", counted(c.Strange, "row is", "rows are"))
	}
	return v
}

// withoutEffect tells what was waited for in vain. A failover that did not take
// place has cost nobody a write, and some clients may never have come back while
// others wrote: neither may pass for an objective that was met.
func (r *Run) withoutEffect(since time.Time) {
	within := r.Timing.Effect.Round(time.Second)
	l := r.Writing.Ledger()
	switch {
	case since.IsZero() && r.Scenario.Moves():
		r.unmet = append(r.unmet, fmt.Sprintf("no other member took the leadership within %s", within))
	case since.IsZero():
		r.note("the leadership did not change within %s", within)
	default:
		_, clients := l.AcksSince(l.Since(since))
		r.unmet = append(r.unmet, fmt.Sprintf("only %d of %s had a write acknowledged again within %s", clients, counted(r.Clients, "connection", "connections"), within))
	}
}

// seconds is a length of time for people, as precise as it was measured.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return strconv.FormatFloat(float64(d.Round(time.Millisecond).Milliseconds())/1000, 'f', -1, 64) + " s"
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
