package explain

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/wal"
)

func whyNotText(t *testing.T, ev Evidence, at time.Time) string {
	t.Helper()
	a, err := WhyNot(ev, at)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := a.Text(&b, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	checkWidth(t, b.String(), 80)
	return b.String()
}

// TestWhyNotGolden: of a real cluster, now; when nobody led; when all was stopped.
func TestWhyNotGolden(t *testing.T) {
	ev := evidence(t, "lab")
	golden(t, "why-not-now.txt", []byte(whyNotText(t, ev, time.Time{})))
	golden(t, "why-not-leaderless.txt", []byte(whyNotText(t, ev, time.Date(2026, 11, 26, 4, 17, 0, 450e6, time.UTC))))
	golden(t, "why-not-stopped.txt", []byte(whyNotText(t, ev, time.Date(2026, 11, 26, 4, 30, 0, 0, time.UTC))))
}

// present is the lab now, with the newest turn of each member changed.
func present(t *testing.T, change func(name string, r *journal.Record)) Evidence {
	ev := evidence(t, "lab")
	for i := range ev.Sources {
		s := &ev.Sources[i]
		s.Now = nil // only the records speak
		for j := range s.Records {
			if s.Records[j].Turn != nil {
				change(s.Name, &s.Records[j])
			}
		}
	}
	return ev
}

// TestEveryObstacleIsNamed: each rule that stands in the way is told, all of them
// where there are several.
func TestEveryObstacleIsNamed(t *testing.T) {
	priority := 0
	for _, c := range []struct {
		name   string
		change func(o *ha.Observation)
		want   []string
	}{
		{"tag", func(o *ha.Observation) { o.Self.Tags.NoFailover = true }, []string{"its tags say nofailover"}},
		{"priority 0", func(o *ha.Observation) { o.Self.Tags.FailoverPriority = &priority }, []string{"its tags say nofailover"}},
		{"lag", func(o *ha.Observation) { o.Server.Position.LSN, o.Settings.MaxLagOnFailover = 0x4000000, 100 }, []string{"bytes behind the last known position", "more than the 100 allowed"}},
		{"no session", func(o *ha.Observation) { o.Lease.Session = "" }, []string{"it has no session in the store"}},
		{"guard", func(o *ha.Observation) { o.Guard = ha.Guard{Required: true} }, []string{"its guard does not run"}},
		{"replay", func(o *ha.Observation) { o.Server.ReplayDone = false }, []string{"it has not replayed all WAL"}},
		{"diverged", func(o *ha.Observation) { o.Server.Position = wal.Position{Timeline: 6, LSN: 0x5000000} }, []string{"which the cluster left at"}},
		{"several", func(o *ha.Observation) {
			o.Self.Tags.NoFailover, o.Lease.Session, o.Server.ReplayDone = true, "", false
		}, []string{"its tags say nofailover", "it has no session in the store", "it has not replayed all WAL"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := present(t, func(name string, r *journal.Record) {
				if name == "n3" {
					c.change(&r.Turn.Observation)
				}
			})
			a, err := WhyNot(ev, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range a.Members {
				if m.Name != "n3" {
					if m.Name == "n1" && (!m.MayLead || a.Successor != "n1") {
						t.Errorf("n1 is as good as before, and not the successor (%q): %v", a.Successor, m.Why)
					}
					continue
				}
				for _, w := range c.want {
					if m.MayLead || !strings.Contains(strings.Join(m.Why, "\n"), w) {
						t.Errorf("%q is not told: %v", w, m.Why)
					}
				}
			}
		})
	}
}

// What binds the whole cluster is told too.
func TestWhatHoldsForAll(t *testing.T) {
	sync := present(t, func(_ string, r *journal.Record) {
		r.Turn.Observation.Store.View.Sync = cluster.SyncState{Leader: "n2", Standbys: []string{"n1"}}
	})
	text := whyNotText(t, sync, time.Time{})
	for _, want := range []string{"Replication is synchronous", "could not lead: it is not a synchronous standby"} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
			t.Errorf("%q is not told:\n%s", want, text)
		}
	}
	// The set has grown since the last record, and n3 says that it may lead.
	grown := sync
	grown.Sources = slices.Clone(sync.Sources)
	for i := range grown.Sources {
		if s := &grown.Sources[i]; s.Name == "n3" {
			s.Now = &Now{Program: "1", State: "running", Eligible: true}
		}
	}
	text = strings.Join(strings.Fields(whyNotText(t, grown, time.Time{})), " ")
	if !strings.Contains(text, "may lead, that is n2, n1, n3.") {
		t.Errorf("n3 may lead and is not told to hold every commit:\n%s", text)
	}
	paused := evidence(t, "lab")
	paused.Paused = true
	if text := whyNotText(t, paused, time.Time{}); !strings.Contains(text, "The cluster is paused") {
		t.Errorf("the pause is not told:\n%s", text)
	}
	away := present(t, func(name string, r *journal.Record) {
		if name == "n3" {
			r.Turn.Observation.Store.Reachable, r.Turn.Observation.Store.LastError = false, "no answer in time"
		}
	})
	text = whyNotText(t, away, time.Time{})
	if !strings.Contains(text, "n3 cannot reach the store: no answer in time") {
		t.Errorf("that the store is away is not told:\n%s", text)
	}
	gone := evidence(t, "lab")
	gone.Sources[2].Records, gone.Sources[2].Now, gone.Sources[2].Missing = nil, nil, "GET http://x: connection refused"
	if text := whyNotText(t, gone, time.Time{}); !strings.Contains(text, "Of n3 nothing is known: GET http://x: connection refused") {
		t.Errorf("that n3 is missing is not told:\n%s", text)
	}
	if _, err := WhyNot(Evidence{Gathered: time.Now()}, time.Time{}); err == nil {
		t.Error("of nothing, something is told")
	}
}

// No measurement is without doubt.
func TestDoubtIsNeverNone(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0.1 ms", 30 * time.Microsecond: "0.1 ms", 240 * time.Microsecond: "0.2 ms", 12 * time.Millisecond: "12 ms"} {
		if got := fine(d); got != want {
			t.Errorf("%s is told as %s, not %s", d, got, want)
		}
	}
}

// What is told of a moment is as old as the records before it, which says how old.
func TestOldPositionsAreToldAsOld(t *testing.T) {
	lab := evidence(t, "lab")
	text := strings.Join(strings.Fields(whyNotText(t, lab, time.Date(2026, 11, 26, 4, 30, 0, 0, time.UTC))), " ")
	for _, want := range []string{"n3, last recorded 11.2 min before at 0/40008E0 on timeline 6,", "by the newest record of that, 11.2 min before, it was"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told:\n%s", want, text)
		}
	}
	// Now, members that answer say where they are, and the others are as they were.
	now := strings.Join(strings.Fields(whyNotText(t, lab, time.Time{})), " ")
	if strings.Contains(now, "last recorded") || strings.Contains(now, "positions recorded") {
		t.Errorf("every member answers, and old positions are told:\n%s", now)
	}
	for i := range lab.Sources {
		if s := &lab.Sources[i]; s.Name == "n3" {
			s.Now, s.Missing = nil, "no answer"
		}
	}
	silent := strings.Join(strings.Fields(whyNotText(t, lab, time.Time{})), " ")
	if !strings.Contains(silent, "n3, last recorded ") || strings.Contains(silent, "n1, last recorded") {
		t.Errorf("n3 does not answer and its position is told as if of now, or that of n1 as old:\n%s", silent)
	}
	for i := range lab.Sources {
		lab.Sources[i].Now, lab.Sources[i].Missing = nil, ""
	}
	records := strings.Join(strings.Fields(whyNotText(t, lab, time.Time{})), " ")
	if !strings.Contains(records, "the best candidate, by positions recorded up to ") {
		t.Errorf("candidates are compared by old positions as if of now:\n%s", records)
	}
}
