package explain

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/journal"
)

// The offset that is measured is off by no more than the error that is told,
// however unequal the ways there and back are.
func TestMeasureIsHonest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Date(2026, 11, 26, 4, 0, 0, 0, time.UTC)
		offset := time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, "offset"))
		coarse := rapid.Bool().Draw(t, "coarse")
		var all []Probe
		for range rapid.IntRange(1, 6).Draw(t, "probes") {
			there := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "there"))
			back := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "back"))
			p := Probe{Sent: start, Received: start.Add(there + back), Wall: start.Add(there + offset), Boot: 1}
			if coarse {
				p.Wall, p.Coarse, p.Boot = p.Wall.Truncate(time.Second), time.Second, 0
			}
			all = append(all, p)
			start = start.Add(there + back)
		}
		c := Measure(all)
		if !c.Known || abs(c.Offset-offset) > c.Error+1 {
			t.Fatalf("measured %v ± %v, it is %v", c.Offset, c.Error, offset)
		}
	})
	if c := Measure(nil); c.Known {
		t.Error("known without a probe")
	}
	if c := Measure([]Probe{{Sent: time.Unix(10, 0), Received: time.Unix(9, 0), Wall: time.Unix(10, 0)}}); c.Known {
		t.Error("known by a probe during which the own clock was set")
	}
}

// at makes a record with both clocks.
func at(seq uint64, wall time.Time, now time.Duration) journal.Record {
	return journal.Record{Seq: seq, Time: wall, Event: &journal.Event{Name: "x", Now: boot.Instant(now)}}
}

// A wall clock that was set between records does not move them: the boot clock
// counts. What happened before the host was started anew has only the wall clock.
func TestSteppedWallClock(t *testing.T) {
	base := time.Date(2026, 11, 26, 4, 0, 0, 0, time.UTC)
	s, h := time.Second, time.Hour
	for _, c := range []struct {
		name    string
		records []journal.Record
		clock   Clock
		want    []time.Duration // after base
		steps   int
	}{
		{"steady", []journal.Record{at(1, base, 100*s), at(2, base.Add(5*s), 105*s)},
			Clock{Known: true, Wall: base.Add(9 * s), Boot: boot.Instant(109 * s)}, []time.Duration{0, 5 * s}, 0},
		{"set forward between two", []journal.Record{at(1, base, 100*s), at(2, base.Add(h+5*s), 105*s)},
			Clock{Known: true, Offset: h, Wall: base.Add(h + 9*s), Boot: boot.Instant(109 * s)}, []time.Duration{0, 5 * s}, 1},
		{"set back after the last", []journal.Record{at(1, base, 100*s), at(2, base.Add(5*s), 105*s)},
			Clock{Known: true, Offset: -h, Wall: base.Add(9*s - h), Boot: boot.Instant(109 * s)}, []time.Duration{0, 5 * s}, 1},
		{"host started anew", []journal.Record{at(1, base, 100*s), at(2, base.Add(60*s), 3*s)},
			Clock{Known: true, Wall: base.Add(70 * s), Boot: boot.Instant(13 * s)}, []time.Duration{0, 60 * s}, 0},
		{"host started anew since the last", []journal.Record{at(1, base, 100*s), at(2, base.Add(5*s), 105*s)},
			Clock{Known: true, Wall: base.Add(70 * s), Boot: boot.Instant(13 * s)}, []time.Duration{0, 5 * s}, 0},
		{"a record without boot clock before a step", []journal.Record{at(1, base, 0), at(2, base.Add(s), 101*s), at(3, base.Add(h+5*s), 105*s)},
			Clock{Known: true, Offset: h, Wall: base.Add(h + 9*s), Boot: boot.Instant(109 * s)}, []time.Duration{0, s, 5 * s}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDial(c.clock, c.records)
			for i, r := range c.records {
				got, _ := d.place(r, base.Add(10*s))
				if diff := got.Sub(base) - c.want[i]; abs(diff) > time.Millisecond {
					t.Errorf("record %d at %v after the beginning, want %v", r.Seq, got.Sub(base), c.want[i])
				}
			}
			if len(d.steps) != c.steps {
				t.Errorf("%d steps, want %d: %+v", len(d.steps), c.steps, d.steps)
			}
		})
	}
}

// precise gives every source a clock that was compared well.
func precise(t *testing.T, name string) Evidence {
	ev := evidence(t, name)
	for i := range ev.Sources {
		s := &ev.Sources[i]
		for _, r := range s.Records {
			if now := instantOf(r); !now.IsZero() {
				s.Clock = Clock{Known: true, Error: 10 * time.Microsecond, Wall: r.Time, Boot: now, Probes: 5}
			}
		}
	}
	return ev
}

// shift moves one source's clocks, and says so in what was measured.
func shift(ev *Evidence, name string, by time.Duration) {
	for i := range ev.Sources {
		s := &ev.Sources[i]
		if s.Name != name {
			continue
		}
		s.Clock.Offset += by
		s.Clock.Wall = s.Clock.Wall.Add(by)
		for j := range s.Records {
			s.Records[j].Time = s.Records[j].Time.Add(by)
		}
	}
}

// story is the text without what is said of the clocks.
func story(t *testing.T, ev Evidence, q Question) string {
	t.Helper()
	s, err := Tell(ev, q)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.Text(&b, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(b.String(), "How sure this is")
	_, after, _ = strings.Cut(after, "Time line")
	return before + strings.ReplaceAll(after, " ~", "  ")
}

// A clock that is off, and known to be, changes nothing in the story.
func TestOffsetsAreCorrected(t *testing.T) {
	for tl := 1; tl <= 6; tl++ {
		want := story(t, precise(t, "lab"), Question{Last: tl})
		for _, by := range []time.Duration{37 * time.Second, -3 * time.Hour} {
			ev := precise(t, "lab")
			shift(&ev, "n2", by)
			if got := story(t, ev, Question{Last: tl}); got != want {
				t.Errorf("--last %d with n2's clock off by %v:\n%s\nwant\n%s", tl, by, got, want)
			}
		}
	}
}

// A clock that could not be compared is bounded by what must have come first, and
// the order is not claimed to be proven where it is not.
func TestUnknownClockIsBoundByCause(t *testing.T) {
	ev := precise(t, "lab")
	shift(&ev, "n2", 41*time.Minute)
	for i := range ev.Sources {
		s := &ev.Sources[i]
		if s.Name == "n2" {
			s.Clock = Clock{}
			for j := range s.Records { // no longer the same host
				if s.Records[j].Turn != nil {
					s.Records[j].Turn.Observation.Now += boot.Instant(time.Minute)
				}
			}
		}
	}
	s, err := Tell(ev, Question{Timeline: 4})
	if err != nil {
		t.Fatal(err)
	}
	if s.Outage == nil || s.Outage.Least < 28*time.Second || s.Outage.Most > 31*time.Second {
		t.Errorf("outage %+v", s.Outage)
	}
	for _, n := range s.Sources {
		if n.Name == "n2" && (!n.ByCause || abs(n.Offset-41*time.Minute) > n.Error+time.Second || n.Error > 2*time.Second) {
			t.Errorf("n2's clock: %+v", n)
		}
	}
	doubtful := 0
	for _, e := range s.Events {
		if e.Unproven {
			doubtful++
		}
	}
	if doubtful == 0 {
		t.Error("every order is claimed to be proven")
	}
}

// A clock that is further off than was measured is found out by cause.
func TestContradictionIsTold(t *testing.T) {
	ev := evidence(t, "lab")
	for i := range ev.Sources {
		s := &ev.Sources[i]
		s.Clock.Error = time.Millisecond
		s.Clock.Boot = boot.Instant(1+i) * boot.Instant(100*time.Hour) // hosts of their own
		for j := range s.Records {
			if s.Records[j].Turn != nil {
				s.Records[j].Turn.Observation.Now = 0
			}
		}
		if s.Name == "n1" {
			s.Clock.Offset += 5 * time.Second
		}
	}
	s, err := Tell(ev, Question{Timeline: 4})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.Text(&b, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "contradict each other") {
		t.Errorf("the contradiction is not told:\n%s", b.String())
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 26, 4, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"30m": now.Add(-30 * time.Minute), "03:59": now.Add(-time.Minute), "04:01:30": now.Add(90*time.Second - 23*time.Hour - 60*time.Minute),
		"2026-11-26T03:00:00Z": now.Add(-time.Hour), "2026-11-26T05:00:00+02:00": now.Add(-time.Hour), "2026-11-26 03:00:00": now.Add(-time.Hour),
		"2026-11-25": now.Add(-28 * time.Hour),
	} {
		got, err := ParseTime(text, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "-5m", "25:00", "0001-01-01", "5"} {
		if got, err := ParseTime(text, now); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
