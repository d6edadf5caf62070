package explain

import (
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// pair is a cause and its effect in two journals: the first certainly came before
// the second, whatever the clocks say.
type pair struct{ cause, effect *entry }

// pairs finds what is certain: a member is seen to hold the leader key under a
// session only after it decided to take it, and its word of a clean stop is seen
// only after it decided to leave it.
func pairs(sources []*source) []pair {
	taken := map[string]*entry{} // by session, the first decision
	left := map[string]*entry{}  // by what the word says
	for _, s := range sources {
		for _, e := range s.entries {
			if a, ok := e.action(ha.TakeLeader); ok && a.Session != "" && taken[a.Session] == nil {
				taken[a.Session] = e
			}
			if a, ok := e.action(ha.ReleaseLeader); ok && a.Handover.Present() && left[handoverKey(a.Handover.Leader, uint64(a.Handover.LSN))] == nil {
				left[handoverKey(a.Handover.Leader, uint64(a.Handover.LSN))] = e
			}
		}
	}
	var out []pair
	for _, s := range sources {
		seen := map[*entry]bool{}
		add := func(cause, effect *entry) {
			if cause != nil && cause.src != s && !seen[cause] {
				seen[cause] = true
				out = append(out, pair{cause, effect})
			}
		}
		for _, e := range s.entries {
			if e.turn() == nil {
				continue
			}
			v := e.turn().Observation.Store.View
			add(taken[v.Leader.Session], e)
			add(left[handoverKey(v.Handover.Leader, uint64(v.Handover.LSN))], e)
		}
	}
	return out
}

func handoverKey(leader string, lsn uint64) string {
	if leader == "" || lsn == 0 {
		return ""
	}
	return leader + "@" + time.Duration(lsn).String()
}

// boundByCause moves the records of sources whose clocks could not be compared to
// where cause allows them to be.
func boundByCause(sources []*source) {
	all := pairs(sources)
	for _, s := range sources {
		if s.dial.clock.Known || len(s.entries) == 0 {
			continue
		}
		var least, most time.Duration // how far its times must be moved
		var low, high bool
		for _, p := range all {
			d := p.effect.at.Sub(p.cause.at)
			switch {
			case p.cause.src == s && p.effect.src.dial.clock.Known:
				if d += p.effect.doubt; !high || d < most {
					most, high = d, true
				}
			case p.effect.src == s && p.cause.src.dial.clock.Known:
				if d = -d - p.cause.doubt; !low || d > least {
					least, low = d, true
				}
			}
		}
		s.move(least, most, low, high)
	}
}

// move shifts a source by what its bounds demand: into the middle where there are
// two, as little as possible where there is one.
func (s *source) move(least, most time.Duration, low, high bool) {
	by := time.Duration(0)
	switch {
	case low && high && least <= most:
		by = least + (most-least)/2
		s.byCause = true
		s.dial.clock.Known, s.dial.clock.Error = true, (most-least)/2
	case low && by < least:
		by = least
	case high && by > most:
		by = most
	}
	s.dial.clock.Offset = -by
	for _, e := range s.entries {
		e.at = e.at.Add(by)
		e.doubt += s.dial.clock.Error
	}
}
