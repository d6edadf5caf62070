package explain

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/journal"
)

// lanes draw each source through the time of the events.
func (t *teller) lanes(s *Story) []Lane {
	if len(s.Events) == 0 {
		return nil
	}
	from, to := s.Events[0].At, s.Events[len(s.Events)-1].At
	if o := s.Outage; o != nil && o.FromEarliest.Before(from) {
		from = o.FromEarliest
	}
	to = to.Add(to.Sub(from) / 20)
	var out []Lane
	for _, kind := range []SourceKind{KindMember, KindEntrypoint} {
		for _, src := range t.sources {
			if src.Kind == kind {
				out = append(out, Lane{Name: src.Name, Kind: kind, Bands: t.bands(src, from, to)})
			}
		}
	}
	return out
}

// bands are the roles of one source in a span of time.
func (t *teller) bands(s *source, from, to time.Time) []Band {
	var out []Band
	now := Band{From: from, Role: "unknown"}
	for _, p := range t.roles(s) {
		at := p.at
		if at.Before(from) {
			at = from
		}
		if p.role == "" || p.role == now.Role || at.After(to) || p.ifPrimary && now.Role != "primary" {
			continue
		}
		if now.To = at; now.To.After(now.From) {
			out = append(out, now)
		}
		now = Band{From: at, Role: p.role}
	}
	now.To = to
	return append(out, now)
}

// roleFrom is a role that a source has from a moment on; ifPrimary: only if it
// was the primary until then.
type roleFrom struct {
	at        time.Time
	role      string
	ifPrimary bool
}

// roles are what a source was, by its records and by those of others: a primary
// whose lease another holds is none any more, whether or not it has said so.
func (t *teller) roles(s *source) []roleFrom {
	var out []roleFrom
	if s.Name == t.c.From && len(s.entries) == 0 {
		out = append(out, roleFrom{role: "primary"})
	}
	for _, e := range s.entries {
		out = append(out, roleFrom{at: e.at, role: roleAfter(e)})
	}
	for _, c := range t.changes {
		if c.From == s.Name && c.To != s.Name {
			out = append(out, roleFrom{at: c.beginning(), role: "unknown", ifPrimary: true})
		}
	}
	if l := t.loss; s.Name == t.c.From && l.release == nil && l.ended.earliest.Before(l.ended.latest) {
		out = append(out, roleFrom{at: l.ended.earliest, role: "unknown", ifPrimary: true})
	}
	slices.SortStableFunc(out, func(a, b roleFrom) int { return a.at.Compare(b.at) })
	return out
}

// roleAfter is what a source was from the record on; empty: as before.
func roleAfter(e *entry) string {
	if ev := e.rec.Event; ev != nil {
		if ev.Error != "" {
			return ""
		}
		return map[string]string{
			string(ha.Promote): "primary", string(ha.StartPrimary): "primary", string(ha.StartReplica): "replica",
			string(ha.Stop): "down", string(ha.Fence): "down", journal.ServerExited: "down", journal.ServerFenced: "down",
			journal.PrimaryLost: "waits", journal.PrimaryFound: "forwards", journal.EntrypointStarted: "waits",
		}[ev.Name]
	}
	if e.turn() == nil {
		return ""
	}
	switch s := e.turn().Observation.Server; {
	case s.Process == ha.ProcessRunning && s.Role == ha.ServerPrimary:
		return "primary"
	case s.Process == ha.ProcessRunning && s.Role == ha.ServerStandby:
		return "replica"
	case s.Process == ha.ProcessUnknown:
		return ""
	}
	return "down"
}
