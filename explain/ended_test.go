package explain

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/journal"
)

// A guard that found nothing left to kill says only until when the server had
// ended. The last word of the primary, and an entrypoint that was refused, say the
// rest. The server and its agent were killed 3.27 s before the promotion.
func TestWhoFindsNoServerDidNotSeeItEnd(t *testing.T) {
	const truth = 3270 * time.Millisecond
	without := evidence(t, "refused")
	without.Sources = slices.DeleteFunc(without.Sources, func(s Source) bool { return s.Kind == KindEntrypoint })
	for name, c := range map[string]struct {
		ev    Evidence
		least time.Duration
		text  string
	}{
		"with the entrypoint":    {evidence(t, "refused"), 2817 * time.Millisecond, "The port of n2 refused a connection of the entrypoint vm:5000 about 2.82 s before."},
		"without the entrypoint": {without, 1104 * time.Millisecond, "Its guard found no process of it any more about 1.10 s before."},
	} {
		t.Run(name, func(t *testing.T) {
			s, text := tell(t, c.ev, Question{Timeline: 2})
			o := s.Outage
			if o == nil || o.Least.Truncate(time.Millisecond) != c.least || o.Most < truth || o.Most > 15*time.Second {
				t.Fatalf("outage %+v, it was %s", o, truth)
			}
			contains(t, text, "No primary accepted writes for at least", "n2 recorded last that it runs as the primary about 14.3 s before", c.text)
		})
	}
}

// A refusal narrows what only the lease bounds, too; not one that the primary was
// heard of after, nor one by another word.
func TestRefusalNarrowsTheEnd(t *testing.T) {
	const narrow, wide = 26 * time.Second, 2 * time.Second
	ask := func(edit func(*Ledger)) time.Duration {
		ev := evidence(t, "refused")
		for i := range ev.Sources {
			if ev.Sources[i].Kind == KindEntrypoint {
				edit(&ev.Sources[i].Records)
			}
		}
		s, _ := tell(t, ev, Question{Timeline: 6})
		return s.Outage.Least
	}
	refusal := func(l *Ledger) *journal.Record {
		i := slices.IndexFunc(*l, func(r journal.Record) bool { return r.Seq == 13 })
		return &(*l)[i]
	}
	if got := ask(func(*Ledger) {}); got < narrow {
		t.Errorf("at least %s, the refusal says %s", got, narrow)
	}
	if got := ask(func(l *Ledger) { refusal(l).Why = "n3 does not answer" }); got > wide {
		t.Errorf("at least %s by a record of no refusal", got)
	}
	if got := ask(func(l *Ledger) { refusal(l).Event.Traffic.Primary = "n2" }); got > wide {
		t.Errorf("at least %s by the refusal of another", got)
	}
	if got := ask(func(l *Ledger) {
		back := *refusal(l)
		event := *back.Event
		event.Name, event.Now = journal.PrimaryFound, event.Now.Add(time.Second)
		back.Seq, back.Time, back.Why, back.Event = 20, back.Time.Add(time.Second), "n3 is served", &event
		for i := range *l { // make room behind it
			if (*l)[i].Seq > 13 {
				(*l)[i].Seq += 20
			}
		}
		*l = append(*l, back)
	}); got > wide {
		t.Errorf("at least %s by a refusal after which it served", got)
	}
}

// The lease that an agent gave up, which was started again, did not run out.
func TestLeaseThatWasGivenUpDidNotRunOut(t *testing.T) {
	_, text := tell(t, evidence(t, "refused"), Question{Timeline: 2})
	contains(t, text, "until the lease of n2 was given up", "the session of n2 in the store had been ended before its time.")
	for _, wrong := range []string{"had run out", "the lease was over", "nothing had renewed it"} {
		if strings.Contains(text, wrong) {
			t.Errorf("says %q:\n%s", wrong, text)
		}
	}
}
