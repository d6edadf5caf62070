package explain

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// The measures of the drawn time line, in its own units.
const (
	chartWidth  = 1040.0
	chartLeft   = 164.0 // names stand left of it
	chartRight  = 24.0
	chartTop    = 34.0 // above: what the outage's band says
	barHeight   = 14.0
	markSize    = 9.0  // radius of a numbered mark
	markRow     = 22.0 // from one row of marks to the next
	markGap     = 20.0 // marks nearer than this take another row
	laneGap     = 16.0
	labelWidth  = 92.0 // of a time on the axis
	letterWidth = 6.6  // of the band's label, generously
)

// chart is the drawing of a story's time line, in places and sizes.
type chart struct {
	Width, Height  float64
	AxisY          float64
	Lanes          []chartLane
	Ticks          []chartTick
	Breaks         []chartTick
	Band, Doubt    *chartBand
	BandLabel      string
	BandX          float64
	Top, Bottom    float64
	Left, RightEnd float64
}

type chartLane struct {
	Name, Title string
	Y, TextY    float64
	Bars        []chartBar
	Marks       []chartMark
	Separator   float64
}

type chartBar struct {
	X, Y, W, H float64
	Role       string
	Title      string
}

type chartMark struct {
	X, Y, StemY float64
	Number      int
	Kind        EventKind
	Unproven    bool
	Title       string
}

type chartTick struct {
	X    float64
	Text string
}

type chartBand struct{ X, W float64 }

// scale maps times to places. What happens within milliseconds and what takes a
// minute shall both be seen, so that spans are shortened by their logarithm; the
// axis says how long each is.
type scale struct {
	at []time.Time
	x  []float64
}

func newScale(points []time.Time) scale {
	slices.SortFunc(points, time.Time.Compare)
	points = slices.CompactFunc(points, time.Time.Equal)
	s := scale{at: points, x: make([]float64, len(points))}
	room := chartWidth - chartLeft - chartRight
	weights, sum := make([]float64, len(points)), 0.0
	for i := 1; i < len(points); i++ {
		weights[i] = math.Pow(math.Log10(1+float64(points[i].Sub(points[i-1]))/float64(time.Millisecond)), 1.7)
		sum += weights[i]
	}
	least := 0.0
	if n := len(points) - 1; n > 0 {
		least = math.Min(markGap+2, 0.6*room/float64(n))
	}
	spread := room - least*float64(max(0, len(points)-1))
	for i := range points {
		s.x[i] = chartLeft
		if i > 0 {
			s.x[i] = s.x[i-1] + least
			if sum > 0 {
				s.x[i] += spread * weights[i] / sum
			}
		}
	}
	return s
}

// place is where a time stands; between two known points in proportion.
func (s scale) place(t time.Time) float64 {
	if len(s.at) == 0 {
		return chartLeft
	}
	i, ok := slices.BinarySearchFunc(s.at, t, time.Time.Compare)
	switch {
	case ok:
		return s.x[i]
	case i == 0:
		return s.x[0]
	case i == len(s.at):
		return s.x[i-1]
	}
	part := float64(t.Sub(s.at[i-1])) / float64(s.at[i].Sub(s.at[i-1]))
	return s.x[i-1] + part*(s.x[i]-s.x[i-1])
}

// drawing lays the time line out; nil where there is nothing to draw.
func (s Story) drawing(zone *time.Location) *chart {
	if len(s.Events) == 0 || len(s.Lanes) == 0 {
		return nil
	}
	var points []time.Time
	for _, e := range s.Events {
		points = append(points, e.At)
	}
	if o := s.Outage; o != nil {
		points = append(points, o.FromEarliest, o.From, o.To)
	}
	for _, l := range s.Lanes {
		for _, b := range l.Bands {
			points = append(points, b.To)
		}
	}
	c := &chart{Width: chartWidth, Top: chartTop - 8, Left: chartLeft, RightEnd: chartWidth - chartRight}
	sc := newScale(points)
	y := chartTop
	for _, l := range s.Lanes {
		y = c.lane(l, s.Events, sc, y, zone)
	}
	c.AxisY = y + 4
	c.Bottom = c.AxisY
	c.Height = c.AxisY + 44
	c.axis(sc, zone)
	c.outage(s.Outage, sc)
	return c
}

// lane draws one source from y on, and returns where the next begins.
func (c *chart) lane(l Lane, events []Event, sc scale, y float64, zone *time.Location) float64 {
	out := chartLane{Name: shortened(short(l.Name), 16), Title: l.Name}
	var rows []float64 // where the last mark of each row stands
	for _, e := range events {
		if e.Source != l.Name {
			continue
		}
		x := sc.place(e.At)
		row := slices.IndexFunc(rows, func(last float64) bool { return x-last >= markGap })
		if row < 0 {
			row = len(rows)
			rows = append(rows, 0)
		}
		rows[row] = x
		out.Marks = append(out.Marks, chartMark{X: x, Y: float64(row), Number: e.Number, Kind: e.Kind, Unproven: e.Unproven,
			Title: e.At.In(zone).Format("15:04:05.000") + " " + e.Text})
	}
	height := float64(max(1, len(rows))) * markRow
	bar := y + height
	for i := range out.Marks {
		m := &out.Marks[i]
		m.Y, m.StemY = bar-markRow*(m.Y+0.5)-1, bar
	}
	for _, b := range l.Bands {
		from, to := sc.place(b.From), sc.place(b.To)
		if to-from < 0.5 {
			continue
		}
		out.Bars = append(out.Bars, chartBar{X: from, Y: bar, W: to - from, H: barHeight, Role: b.Role,
			Title: fmt.Sprintf("%s: %s for %s", l.Name, b.Role, approximately(b.To.Sub(b.From)))})
	}
	out.Y, out.TextY = bar, bar+barHeight-3
	out.Separator = bar + barHeight + laneGap/2
	c.Lanes = append(c.Lanes, out)
	return bar + barHeight + laneGap
}

// axis writes times where there is room, and the length of long spans.
func (c *chart) axis(sc scale, zone *time.Location) {
	last := math.Inf(-1)
	for i, at := range sc.at {
		x := sc.x[i]
		if i > 0 {
			if d := at.Sub(sc.at[i-1]); d >= time.Second && x-sc.x[i-1] >= 58 {
				c.Breaks = append(c.Breaks, chartTick{X: (x + sc.x[i-1]) / 2, Text: approximately(d)})
			}
		}
		x = math.Min(math.Max(x, chartLeft+20), chartWidth-chartRight-20)
		if x-last < labelWidth {
			continue
		}
		last = x
		c.Ticks = append(c.Ticks, chartTick{X: x, Text: at.In(zone).Format("15:04:05.000")})
	}
}

// outage draws the band in which nobody accepted writes, and its label within the
// drawing.
func (c *chart) outage(o *Outage, sc scale) {
	if o == nil {
		return
	}
	early, from, to := sc.place(o.FromEarliest), sc.place(o.From), sc.place(o.To)
	c.Band = &chartBand{X: from, W: math.Max(1.5, to-from)}
	if from-early > 1 {
		c.Doubt = &chartBand{X: early, W: from - early}
	}
	c.BandLabel = "no writes: " + approximately(o.Most)
	if o.Most-o.Least > 5*time.Millisecond {
		c.BandLabel = fmt.Sprintf("no writes: %s to %s", approximately(o.Least), approximately(o.Most))
	}
	half := float64(len(c.BandLabel)) * letterWidth / 2
	c.BandX = math.Min(math.Max((early+to)/2, chartLeft+half), chartWidth-half-4)
}

// shortened cuts a name so that it fits.
func shortened(name string, most int) string {
	runes := []rune(harmless(name))
	if len(runes) <= most {
		return string(runes)
	}
	return string(runes[:most-1]) + "…"
}

// BandHeight is the height of the outage's band.
func (c *chart) BandHeight() float64 { return c.Bottom - c.Top }

// TickY and BreakY are the lines of text below the axis.
func (c *chart) TickY() float64 { return c.AxisY + 17 }

// BreakY is the line of the spans' lengths.
func (c *chart) BreakY() float64 { return c.AxisY + 35 }

// Entrypoints: a lane is an entrypoint's.
func (c *chart) Entrypoints() bool {
	for _, l := range c.Lanes {
		for _, b := range l.Bars {
			if b.Role == "forwards" || b.Role == "waits" {
				return true
			}
		}
	}
	return false
}

// TextY is the base line of a mark's number.
func (m chartMark) TextY() float64 { return m.Y + 3.6 }
