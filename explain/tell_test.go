package explain

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// evidence reads what was collected of a real cluster.
func evidence(t testing.TB, name string) Evidence {
	t.Helper()
	ev, err := LoadFile(filepath.Join("testdata", name+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s is another (-update rewrites it):\n%s", path, got)
	}
}

// cases are the changes in the evidence of real clusters, and what each was.
func cases() []struct {
	name, evidence string
	q              Question
	kind           Kind
	cause          Cause
} {
	return []struct {
		name, evidence string
		q              Question
		kind           Kind
		cause          Cause
	}{
		{"switchover", "lab", Question{Timeline: 2}, Switchover, CauseSwitchover},
		{"agent-stopped", "lab", Question{Timeline: 3}, Handover, CauseStopped},
		{"agent-killed", "lab", Question{Timeline: 4}, Failover, CauseKilled},
		{"frozen", "lab", Question{Timeline: 5}, Failover, CauseFrozen},
		{"host-back", "lab", Question{Timeline: 6}, Failover, CauseKilled},
		{"all-stopped", "lab", Question{}, Again, CauseStopped},
		{"gone", "gone", Question{}, Failover, CauseGone},
		// With what members and entrypoints record of the server, the lease, requests
		// and clients.
		{"asked", "events", Question{Timeline: 2}, Switchover, CauseSwitchover},
		{"terminated", "events", Question{Timeline: 3}, Handover, CauseStopped},
		{"fenced", "events", Question{Timeline: 4}, Failover, CauseFrozen},
		{"killed", "events", Question{Timeline: 5}, Failover, CauseKilled},
		{"power-lost", "events", Question{Timeline: 6}, Failover, CauseKilled},
		{"power-lost-gone", "events-gone", Question{}, Failover, CauseGone},
		// The entrypoint was refused by the old primary long before anybody led.
		{"both-killed", "refused", Question{Timeline: 2}, Failover, CauseKilled},
		{"powered-off", "refused", Question{Timeline: 6}, Failover, CauseKilled},
	}
}

// TestStories tells real changes: each text is golden.
func TestStories(t *testing.T) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			ev := evidence(t, c.evidence)
			s, err := Tell(ev, c.q)
			if err != nil {
				t.Fatal(err)
			}
			if s.Kind != c.kind || s.Cause != c.cause {
				t.Errorf("told as %s by %s, it was %s by %s", s.Kind, s.Cause, c.kind, c.cause)
			}
			checkEvidence(t, ev, s)
			var b bytes.Buffer
			if err := s.Text(&b, TextOptions{}); err != nil {
				t.Fatal(err)
			}
			checkWidth(t, b.String(), 80)
			golden(t, c.name+".txt", b.Bytes())
		})
	}
}

// checkWidth: no line is wider than the screen, unless one word is.
func checkWidth(t *testing.T, text string, most int) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if columns(line) > most && len(strings.Fields(line)) > 2 {
			t.Errorf("wider than %d columns: %q", most, line)
		}
	}
}

// checkEvidence: whatever is claimed to be recorded names records that exist.
func checkEvidence(t *testing.T, ev Evidence, s Story) {
	t.Helper()
	for _, sec := range s.Sections {
		for _, st := range sec.Statements {
			if st.Ground == Recorded && len(st.Evidence) == 0 && sec.ID != "sure" {
				t.Errorf("%s: no evidence for %q", sec.ID, st.Text)
			}
			for _, r := range st.Evidence {
				checkRef(t, ev, r)
			}
		}
	}
	for i, e := range s.Events {
		checkRef(t, ev, Ref{e.Source, e.Record})
		if e.Number != i+1 || i > 0 && e.At.Before(s.Events[i-1].At) {
			t.Errorf("event %d (number %d) is out of order", i+1, e.Number)
		}
	}
}

func checkRef(t *testing.T, ev Evidence, r Ref) {
	t.Helper()
	if r.Source == "history" || r.Record == 0 {
		return
	}
	for _, s := range ev.Sources {
		if s.Name == r.Source && slices.ContainsFunc(s.Records, func(x journal.Record) bool { return x.Seq == r.Record }) {
			return
		}
	}
	t.Errorf("there is no record %d of %s", r.Record, r.Source)
}

// What is told to stand in the way is what stands in the way of the decision, on
// every turn that was recorded.
func TestObstaclesAgreeWithTheDecision(t *testing.T) {
	turns := 0
	for _, s := range append(evidence(t, "lab").Sources, evidence(t, "events").Sources...) {
		for _, r := range s.Records {
			if r.Turn == nil {
				continue
			}
			turns++
			first := ""
			if all := ha.Obstacles(r.Turn.Observation, r.Turn.Before); len(all) > 0 {
				first = all[0]
			}
			if want := ha.Decide(r.Turn.Observation, r.Turn.Before).Memory.WhyNot; first != want {
				t.Errorf("%s #%d: %q, decided by %q", s.Name, r.Seq, first, want)
			}
		}
	}
	if turns < 50 {
		t.Fatalf("only %d turns", turns)
	}
}

// A primary is drawn as one only as long as that is known: not from when it may
// have been dead, and never beside another.
func TestOnePrimaryAtATime(t *testing.T) {
	for _, c := range cases() {
		s, err := Tell(evidence(t, c.evidence), c.q)
		if err != nil {
			t.Fatal(err)
		}
		var all []Band
		for _, l := range s.Lanes {
			for _, b := range l.Bands {
				if b.Role == "primary" {
					all = append(all, b)
				}
				if silent := s.Cause == CauseGone || c.name == "power-lost"; silent && b.Role == "primary" && l.Name == s.Change.From && b.To.After(s.Outage.FromEarliest) {
					t.Errorf("%s: %s is drawn as the primary until %v, and may have been dead from %v", c.name, l.Name, b.To, s.Outage.FromEarliest)
				}
			}
		}
		for i, a := range all {
			for _, b := range all[:i] {
				if a.From.Before(b.To) && b.From.Before(a.To) {
					t.Errorf("%s: two primaries at once, %v to %v and %v to %v", c.name, a.From, a.To, b.From, b.To)
				}
			}
		}
	}
}

// TestNoChange: what is not known is refused in words, with what is known.
func TestNoChange(t *testing.T) {
	ev := evidence(t, "lab")
	for name, q := range map[string]Question{
		"a timeline that never was": {Timeline: 99},
		"too far back":              {Last: 40},
		"too new":                   {Since: ev.Gathered},
	} {
		_, err := Tell(ev, q)
		var none *NoChange
		if !errors.As(err, &none) || none.Why == "" || len(none.Others) != 6 || len(none.Restarts) != 1 {
			t.Errorf("%s: %v, %+v", name, err, none)
		}
	}
	_, err := Tell(Evidence{Gathered: ev.Gathered}, Question{})
	var none *NoChange
	if !errors.As(err, &none) {
		t.Errorf("of nothing: %v", err)
	}
}

// TestSelection: --last, --since and --timeline name the same changes.
func TestSelection(t *testing.T) {
	ev := evidence(t, "lab")
	for last := 1; last <= 6; last++ {
		a, err := Tell(ev, Question{Last: last})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Tell(ev, Question{Timeline: a.Change.Timeline})
		if err != nil || b.Title != a.Title || int(a.Change.Timeline) != 8-last {
			t.Errorf("--last %d tells timeline %d, which is told as %q (%v)", last, a.Change.Timeline, b.Title, err)
		}
		c, err := Tell(ev, Question{Since: a.Change.At.Add(-time.Second)})
		if err != nil || c.Change.Timeline != a.Change.Timeline {
			t.Errorf("since right before timeline %d: %d, %v", a.Change.Timeline, c.Change.Timeline, err)
		}
	}
}

// Only the history is left: the change is still told, and what is unknown said.
func TestOnlyHistory(t *testing.T) {
	ev := evidence(t, "lab")
	for i := range ev.Sources {
		ev.Sources[i].Records = nil
	}
	s, err := Tell(ev, Question{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Change.To != "n2" || s.Change.From != "n2" || s.Change.Timeline != 7 || s.Change.Recorded || s.Loss.Known || s.Outage != nil {
		t.Errorf("%+v, outage %v, loss %+v", s.Change, s.Outage, s.Loss)
	}
	var b bytes.Buffer
	if err := s.Text(&b, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "only-history.txt", b.Bytes())
}

// Any source may be missing; the rest is told, and says whose words are lacking.
func TestAnySourceMissing(t *testing.T) {
	for i := range evidence(t, "lab").Sources {
		ev := evidence(t, "lab")
		ev.Sources[i].Records, ev.Sources[i].Now, ev.Sources[i].Missing = nil, nil, "GET http://x/journal: connection refused"
		for tl := 2; tl <= 7; tl++ {
			q := Question{}
			q.Timeline = q.Timeline + 0
			q.Last = 8 - tl
			s, err := Tell(ev, q)
			if err != nil {
				t.Fatalf("without %s, timeline %d: %v", ev.Sources[i].Name, tl, err)
			}
			checkEvidence(t, ev, s)
			var b bytes.Buffer
			if err := s.Text(&b, TextOptions{}); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(b.String(), "Nothing came from "+ev.Sources[i].Name) {
				t.Errorf("it is not said that %s is missing", ev.Sources[i].Name)
			}
		}
	}
}
