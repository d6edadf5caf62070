package proxy

import (
	"slices"
	"strings"
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
	Ports      []PortStats    `json:"ports"`
}

// BackendStats are the numbers of one member.
type BackendStats struct {
	Member   string  `json:"member"`
	Address  string  `json:"address,omitempty"`
	Role     string  `json:"role,omitempty"`
	State    string  `json:"state,omitempty"`
	WordAge  float64 `json:"word_age_ms"` // since its API was asked; -1: never answered
	Failure  string  `json:"failure,omitempty"`
	Failures int64   `json:"failures"` // questions ever that had no answer
	Sessions int64   `json:"sessions"`
	Served   int64   `json:"served"` // sessions ever
}

// PortStats are the numbers of one port.
type PortStats struct {
	Port       string        `json:"port"` // its name: read-write, read-only and those of further ports
	Address    string        `json:"address"`
	Clients    Level         `json:"clients"`
	Accepted   int64         `json:"accepted"`
	Rate       Level         `json:"accepted_per_second"`
	Held       Level         `json:"held"`
	Refused    int64         `json:"refused"`    // got no backend
	Malformed  int64         `json:"malformed"`  // did not speak the protocol
	Terminated int64         `json:"terminated"` // lost their backend
	Hold       Times         `json:"hold_ms"`
	Delay      Times         `json:"added_latency_ms"` // of every sixteenth chunk
	Serving    bool          `json:"serving"`          // it uses some member
	Since      float64       `json:"since_s"`          // the last change of Serving
	Falls      int64         `json:"falls"`            // times that it was lost
	OutFor     float64       `json:"out_s"`            // without any, altogether
	Members    []MemberStats `json:"members"`          // sorted by member
}

// MemberStats are the numbers of one member at one port.
type MemberStats struct {
	Member string `json:"member"`
	// In: the port uses it; Spare: only because nobody else may be used. Why says why
	// it does, or does not.
	In       bool    `json:"in"`
	Spare    bool    `json:"spare,omitempty"`
	Why      string  `json:"why"`
	Since    float64 `json:"since_s"` // the last change of In
	Falls    int64   `json:"falls"`   // times that it was in and came out
	OutFor   float64 `json:"out_s"`   // altogether
	Sessions Level   `json:"sessions"`
	Served   int64   `json:"served"`
	Rate     Level   `json:"served_per_second"`
	Failed   int64   `json:"connect_failures"`
	ToServer int64   `json:"bytes_to_server"`
	ToClient int64   `json:"bytes_to_client"`
	Connect  Times   `json:"connect_ms"`
	Lasted   Times   `json:"session_ms"`
}

// Level is a number now, and the most that it ever was.
type Level struct {
	Now  int64 `json:"now"`
	Most int64 `json:"most"`
}

// Times are durations in milliseconds.
type Times struct {
	Count   uint64  `json:"count"`
	Mean    float64 `json:"mean"`
	Longest float64 `json:"longest"`

	seconds snapshot
}

func timesOf(t timing) Times {
	s := t.snapshot()
	return Times{Count: s.count, Mean: s.mean(), Longest: s.longest * 1000, seconds: s}
}

func (g *gauge) level() Level { return Level{g.now.Load(), g.most.Load()} }

func (r *rate) level(at boot.Instant) Level {
	last, most := r.read(at)
	return Level{last, most}
}

// Stats returns the numbers.
func (p *Proxy) Stats() Stats {
	s := p.table.stats()
	s.Held, s.Ports = p.held.Load(), []PortStats{}
	now := p.o.Clock.Now()
	for _, pt := range p.ports {
		if pt.ln == nil { // not started
			continue
		}
		ps := PortStats{Port: pt.Name, Address: pt.ln.Addr().String(), Clients: pt.clients.level(),
			Accepted: pt.accepted.Load(), Rate: pt.began.level(now), Held: pt.held.level(), Refused: pt.refused.Load(),
			Malformed: pt.malformed.Load(), Terminated: pt.broken.Load(), Hold: timesOf(pt.hold), Delay: timesOf(pt.delay)}
		p.table.fill(&ps, pt.services)
		s.Ports = append(s.Ports, ps)
		s.Accepted += ps.Accepted
		s.Refused += ps.Refused + ps.Malformed
		s.Terminated += ps.Terminated
	}
	return s
}

func millisOf(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (t *table) stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.judge()
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
		b := BackendStats{Member: m.Name, Role: string(w.Role), State: string(w.State), WordAge: -1,
			Failure: t.failures[m.Name], Failures: t.failed[m.Name]}
		if where, ok := route.BackendOf(t.view, m.Name); ok {
			b.Address = where.Addr
		}
		if !w.Asked.IsZero() {
			b.WordAge = millisOf(now.Sub(w.Asked))
		}
		for of, a := range t.accounts {
			if of.member == m.Name {
				b.Sessions += a.sessions.now.Load()
				b.Served += a.served.Load()
			}
		}
		s.Backends = append(s.Backends, b)
	}
	return s
}

// fill tells of a port whether it serves, and the numbers of every member at it, also of
// those whose key is gone.
func (t *table) fill(ps *PortStats, services []*service) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	serving, standings := whole(services)
	ps.Serving, ps.Falls, ps.Members = serving.In, serving.falls, []MemberStats{}
	if !serving.since.IsZero() {
		ps.Since, ps.OutFor = now.Sub(serving.since).Seconds(), serving.outFor(now).Seconds()
	}
	for member, st := range standings {
		ms := MemberStats{Member: member, In: st.In, Spare: st.Spare, Why: st.Why, Falls: st.falls,
			Since: now.Sub(st.since).Seconds(), OutFor: st.outFor(now).Seconds()}
		if a := t.accounts[accountOf{ps.Port, member}]; a != nil {
			ms.Sessions, ms.Served, ms.Rate, ms.Failed = a.sessions.level(), a.served.Load(), a.began.level(now), a.failed.Load()
			ms.ToServer, ms.ToClient = a.toServer.Load(), a.toClient.Load()
			ms.Connect, ms.Lasted = timesOf(a.connects), timesOf(a.lasted)
		}
		ps.Members = append(ps.Members, ms)
	}
	slices.SortFunc(ps.Members, func(a, b MemberStats) int { return strings.Compare(a.Member, b.Member) })
}

// whole is what holds of a port by its services: it uses whom one of them does. The
// caller holds the table's lock.
func whole(services []*service) (serving standing, members map[string]standing) {
	serving, members = services[0].serving, map[string]standing{}
	for _, s := range services {
		if s.serving.In && !serving.In {
			serving = s.serving
		}
		for member, st := range s.standing {
			if known, ok := members[member]; !ok || st.In && !known.In {
				members[member] = st
			}
		}
	}
	return serving, members
}
