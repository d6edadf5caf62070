package proxy

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/route"
)

// Stats are the entrypoint's numbers at one moment.
type Stats struct {
	Leader     string         `json:"leader,omitempty"`   // holder of the leader key
	Primary    string         `json:"primary,omitempty"`  // the member that is served as primary now
	LeaseLeft  float64        `json:"lease_remaining_ms"` // of Primary; 0 when there is none
	WhyNone    string         `json:"why_no_primary,omitempty"`
	ViewAge    float64        `json:"view_age_ms"` // since the last change was seen; -1: no view yet
	Accepted   int64          `json:"accepted"`    // clients ever
	Held       int64          `json:"held"`        // clients that wait now
	Refused    int64          `json:"refused"`     // clients turned away ever
	Terminated int64          `json:"terminated"`  // sessions ended because their backend was lost
	Backends   []BackendStats `json:"backends"`    // sorted by member
}

// BackendStats are the numbers of one member.
type BackendStats struct {
	Member   string  `json:"member"`
	Address  string  `json:"address,omitempty"`
	Role     string  `json:"role,omitempty"`
	State    string  `json:"state,omitempty"`
	WordAge  float64 `json:"word_age_ms"` // since its API was asked; -1: never answered
	Failure  string  `json:"failure,omitempty"`
	Sessions int64   `json:"sessions"`
	Served   int64   `json:"served"` // sessions ever
}

// Stats returns the numbers.
func (p *Proxy) Stats() Stats {
	s := p.table.stats()
	s.Accepted, s.Held = p.accepted.Load(), p.held.Load()
	s.Refused, s.Terminated = p.refusals.Load(), p.broken.Load()
	return s
}

func millisOf(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (t *table) stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	s := Stats{Leader: t.view.Leader.Name, ViewAge: -1, Backends: []BackendStats{}}
	if !t.viewAt.IsZero() {
		s.ViewAge = millisOf(now.Sub(t.viewAt))
	}
	if t.leader != nil && t.leader.open() {
		s.Primary = t.leader.backend.Member
		s.LeaseLeft = millisOf(boot.Instant(t.leader.deadline.Load()).Sub(now))
	} else if t.viewAt.IsZero() {
		s.WhyNone = noView
	} else {
		s.WhyNone = route.Pick(t.query(route.Policy{Access: route.ReadWrite})).Why
	}
	for _, m := range t.view.Members {
		w := t.words[m.Name]
		b := BackendStats{Member: m.Name, Role: string(w.Role), State: string(w.State), WordAge: -1, Failure: t.failures[m.Name]}
		if where, ok := route.BackendOf(t.view, m.Name); ok {
			b.Address = where.Addr
		}
		if !w.Asked.IsZero() {
			b.WordAge = millisOf(now.Sub(w.Asked))
		}
		for _, g := range []*gate{t.leader, t.replicas[m.Name]} {
			if g != nil && g.backend.Member == m.Name {
				b.Sessions += g.sessions.Load()
			}
		}
		if n := t.served[m.Name]; n != nil {
			b.Served = n.Load()
		}
		s.Backends = append(s.Backends, b)
	}
	return s
}
