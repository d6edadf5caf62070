package explain

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/journal"
)

// Clock is what is known of a source's clock. The wall clock may be set at any
// time; the boot clock never jumps while its host runs, so that records which
// hold both are placed by the boot clock.
type Clock struct {
	// Known: it was compared with the clock of whoever gathered.
	Known bool `json:"known,omitempty"`
	// Offset is how far the source's wall clock was ahead, give or take Error.
	Offset time.Duration `json:"offset_ns"`
	Error  time.Duration `json:"error_ns"`
	// Wall and Boot are the source's two clocks at one moment of the comparison;
	// Boot is zero where it was not told.
	Wall time.Time    `json:"wall,omitzero"`
	Boot boot.Instant `json:"boot,omitempty"`
	// Probes is how many answers were compared.
	Probes int `json:"probes,omitempty"`
}

// Probe is one answer of a source: its clocks, and the asker's before and after.
type Probe struct {
	Sent, Received time.Time
	Wall           time.Time
	Boot           boot.Instant
	// Coarse is how far the source's reading was rounded down: a second where
	// only the Date of an answer is known.
	Coarse time.Duration
}

// Measure makes the best of several probes: the one that leaves least doubt.
// The source read its clock at some moment between sending and receiving, so
// half of that is the error.
func Measure(probes []Probe) Clock {
	var best Clock
	for _, p := range probes {
		trip := p.Received.Sub(p.Sent)
		if trip < 0 || p.Wall.IsZero() {
			continue // the asker's own clock was set meanwhile
		}
		c := Clock{Known: true, Wall: p.Wall, Boot: p.Boot, Error: trip/2 + p.Coarse/2}
		c.Offset = p.Wall.Add(p.Coarse / 2).Sub(p.Sent.Add(trip / 2))
		if !best.Known || c.Error < best.Error {
			best = c
		}
	}
	best.Probes = len(probes)
	return best
}

const (
	// driftDivisor: two clocks may go apart by this part of the time between a
	// record and the comparison (100 ppm: what crystals and their steering do).
	driftDivisor = 10000
	// stepped: a wall clock that moved so much against the boot clock was set.
	stepped = 100 * time.Millisecond
	// sameHost: whose clocks were started and set at the same moment share a host.
	sameHost = time.Millisecond
)

// Step is a wall clock that was set between two records.
type Step struct {
	By    time.Duration `json:"by_ns"`
	After uint64        `json:"after_record"`
}

// dial places the records of one source on the clock of whoever gathered.
type dial struct {
	clock Clock
	// last is the difference of wall and boot clock at the newest reading.
	last  time.Duration
	boots bool // last is known
	// since is the first record after the host was started anew, zero if that is not
	// on record; older ones are placed by the wall clock.
	since uint64
	steps []Step
}

// gap is the wall clock less the boot clock.
func gap(wall time.Time, at boot.Instant) time.Duration {
	return time.Duration(wall.UnixNano()) - time.Duration(at)
}

// newDial looks for steps and reboots in the records, which are in their order.
func newDial(c Clock, records []journal.Record) dial {
	d := dial{clock: c}
	var before boot.Instant
	var difference time.Duration
	for _, r := range records {
		now := instantOf(r)
		if now.IsZero() {
			continue
		}
		g := gap(r.Time, now)
		switch moved := g - difference; {
		case before.IsZero():
		case abs(moved) > stepped && (now < before || freshAgent(r)):
			// The clock began anew with the host, or may have.
			d.since, d.steps, before = r.Seq, nil, 0
		case abs(moved) > stepped:
			d.steps = append(d.steps, Step{By: moved, After: r.Seq - 1})
		}
		before, difference = max(before, now), g
	}
	d.last, d.boots = difference, !before.IsZero()
	if c.Boot.IsZero() || !d.boots {
		return d
	}
	switch moved := gap(c.Wall, c.Boot) - difference; {
	case c.Boot < before:
		d.since = ^uint64(0) // it was started anew since the newest record
	case abs(moved) > stepped:
		d.steps = append(d.steps, Step{By: moved, After: newest(records)})
		d.last = gap(c.Wall, c.Boot)
	}
	return d
}

func newest(records []journal.Record) uint64 {
	if len(records) == 0 {
		return 0
	}
	return records[len(records)-1].Seq
}

func abs(d time.Duration) time.Duration {
	if d < 0 && d != -d {
		return -d
	}
	return d
}

// place gives a record's time on the clock of whoever gathered, and how far off
// that may be.
func (d dial) place(r journal.Record, gathered time.Time) (at time.Time, doubt time.Duration) {
	wall := d.correct(r)
	if now := instantOf(r); !now.IsZero() && d.boots && r.Seq >= d.since {
		wall = time.Unix(0, int64(now)+int64(d.last))
	}
	at = wall.Add(-d.clock.Offset).UTC()
	if age := gathered.Sub(at); age > 0 {
		doubt += age / driftDivisor
	}
	return at, doubt + d.clock.Error
}

// correct undoes the steps that came after a record without a boot clock.
func (d dial) correct(r journal.Record) time.Time {
	wall := r.Time
	if r.Seq < d.since {
		return wall
	}
	for _, s := range d.steps {
		if s.After >= r.Seq {
			wall = wall.Add(s.By)
		}
	}
	return wall
}

// hosts groups sources whose clocks are one: they need no comparison with each
// other, and the best comparison of one holds for all, also for a journal that
// was read from a disk.
func hosts(sources []Source) []int {
	group := make([]int, len(sources))
	started := make([]time.Duration, len(sources)) // when the boot clock was zero
	for i, s := range sources {
		group[i] = i
		if s.Clock.Boot.IsZero() {
			started[i] = usualGap(s.Records)
		} else {
			started[i] = gap(s.Clock.Wall, s.Clock.Boot)
		}
		if started[i] == 0 {
			continue
		}
		at := slices.IndexFunc(started[:i], func(o time.Duration) bool { return o != 0 && abs(o-started[i]) < sameHost })
		if at >= 0 {
			group[i] = group[at]
		}
	}
	return group
}

// usualGap is the difference of the two clocks in the newest records, in the
// middle of several: the clocks of one record are read one after the other.
func usualGap(records []journal.Record) time.Duration {
	var all []time.Duration
	for _, r := range slices.Backward(records) {
		if now := instantOf(r); !now.IsZero() {
			all = append(all, gap(r.Time, now))
		}
		if len(all) == 9 {
			break
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}
