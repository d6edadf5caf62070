package explain

import (
	"fmt"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/wal"
)

// Question says which change of the primary is asked for; the zero Question
// means the last one.
type Question struct {
	// Last counts back: 1 the last change, 2 the one before.
	Last int
	// Since asks for the first change at or after a time.
	Since time.Time
	// Timeline asks for the change that began it.
	Timeline wal.Timeline
}

// NoChange is the answer where the evidence knows of no such change.
type NoChange struct {
	Why string
	// Others are the changes that are known, newest first, and Restarts those of a
	// primary that was started again in place.
	Others   []Change
	Restarts []Restart
	Sources  []SourceNote
}

func (n *NoChange) Error() string { return n.Why }

// pick finds the change that is asked for.
func (q Question) pick(all []*change) (int, error) {
	refuse := func(format string, args ...any) (int, error) {
		return 0, &NoChange{Why: fmt.Sprintf(format, args...)}
	}
	switch {
	case q.Timeline > 0:
		i := slices.IndexFunc(all, func(c *change) bool { return c.Timeline == q.Timeline })
		if i < 0 {
			return refuse("no change of the primary is known that began timeline %d", q.Timeline)
		}
		return i, nil
	case len(all) == 0:
		return refuse("no change of the primary is known: no record and no history of timelines tells of one")
	case !q.Since.IsZero():
		i := slices.IndexFunc(all, func(c *change) bool { return !c.At.Before(q.Since) })
		if i < 0 {
			return refuse("the primary has not changed since %s", q.Since.Format(time.RFC3339))
		}
		return i, nil
	}
	n := max(1, q.Last)
	if n > len(all) {
		return refuse("only %s known, and number %d from the end was asked for", count(len(all), "change of the primary is", "changes of the primary are"), n)
	}
	return len(all) - n, nil
}

// count writes a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
