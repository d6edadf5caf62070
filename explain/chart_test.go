package explain

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawn makes a story with events at the given distances.
func drawn(gaps []time.Duration, sources int, outage time.Duration) Story {
	at := time.Date(2026, 11, 26, 4, 0, 0, 0, time.UTC)
	s := Story{Title: "t"}
	end := at
	for i, g := range gaps {
		end = end.Add(g)
		s.Events = append(s.Events, Event{Number: i + 1, At: end, Source: fmt.Sprintf("node%d", i%sources), Kind: EventLease, Text: "x"})
	}
	s.Outage = &Outage{FromEarliest: at, From: at, To: at.Add(outage), Least: outage, Most: outage, Ended: true}
	for i := range sources {
		s.Lanes = append(s.Lanes, Lane{Name: fmt.Sprintf("node%d", i), Kind: KindMember, Bands: []Band{
			{From: at, To: at.Add(outage / 2), Role: "replica"}, {From: at.Add(outage / 2), To: end.Add(time.Millisecond), Role: "primary"}}})
	}
	return s
}

// Whatever the times are: nothing is drawn outside, no marks, times or labels
// cover each other, and later is never left of earlier.
func TestNothingOverlaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, maxEvents).Draw(t, "events")
		gaps := make([]time.Duration, n)
		for i := range gaps {
			most := []int64{0, int64(time.Millisecond), int64(time.Second), int64(10 * time.Minute)}[rapid.IntRange(0, 3).Draw(t, "size")]
			gaps[i] = time.Duration(rapid.Int64Range(0, most).Draw(t, "gap"))
		}
		s := drawn(gaps, rapid.IntRange(1, 7).Draw(t, "sources"), time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "outage")))
		c := s.drawing(time.UTC)
		place := map[int]float64{}
		for _, l := range c.Lanes {
			for i, m := range l.Marks {
				place[m.Number] = m.X
				if m.X < chartLeft-0.1 || m.X > chartWidth-chartRight+0.1 {
					t.Fatalf("mark %d at %.1f is outside", m.Number, m.X)
				}
				for _, o := range l.Marks[:i] {
					if math.Hypot(m.X-o.X, m.Y-o.Y) < 2*markSize-0.01 {
						t.Fatalf("marks %d and %d cover each other", m.Number, o.Number)
					}
				}
			}
			for i := 1; i < len(l.Bars); i++ {
				if l.Bars[i].X < l.Bars[i-1].X+l.Bars[i-1].W-0.01 {
					t.Fatal("bars cover each other")
				}
			}
		}
		for i := 1; i < n; i++ {
			if place[i+1] < place[i]-1e-6 {
				t.Fatalf("event %d is left of the one before", i+1)
			}
		}
		for i := 1; i < len(c.Ticks); i++ {
			if c.Ticks[i].X-c.Ticks[i-1].X < 80 {
				t.Fatalf("times %s and %s cover each other", c.Ticks[i-1].Text, c.Ticks[i].Text)
			}
		}
		half := float64(len(c.BandLabel)) * letterWidth / 2
		if c.BandX-half < 0 || c.BandX+half > chartWidth {
			t.Fatal("the band's label is cut off")
		}
		for i := 1; i < len(c.Breaks); i++ {
			if c.Breaks[i].X-c.Breaks[i-1].X < 58 {
				t.Fatalf("the spans %s and %s cover each other", c.Breaks[i-1].Text, c.Breaks[i].Text)
			}
		}
	})
}

// The page of each real change is well-formed, needs nothing from elsewhere, and
// runs nothing.
func TestPages(t *testing.T) {
	for _, c := range cases() {
		s, err := Tell(evidence(t, c.evidence), c.q)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := s.HTML(&b, HTMLOptions{Version: "0.1.0"}); err != nil {
			t.Fatal(err)
		}
		checkPage(t, b.String())
		if !strings.Contains(b.String(), "<svg") || !strings.Contains(b.String(), "no writes: ") {
			t.Errorf("%s: no drawing, or no outage in it", c.name)
		}
	}
	a, err := WhyNot(evidence(t, "lab"), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := a.HTML(&b, HTMLOptions{}); err != nil {
		t.Fatal(err)
	}
	checkPage(t, b.String())
}

func checkPage(t *testing.T, page string) {
	t.Helper()
	for _, bad := range []string{"<script", "src=", "href=", "url(http", "@import", "ZgotmplZ", "NaN", "+Inf"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	_, body, _ := strings.Cut(page, "<body>")
	d := xml.NewDecoder(strings.NewReader("<body>" + strings.TrimSuffix(strings.TrimSpace(body), "</html>")))
	d.AutoClose, d.Entity = xml.HTMLAutoClose, xml.HTMLEntity
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
	}
}
