package drill

import (
	"fmt"
	"strings"
	"time"
)

// Picture is the cluster at one moment: what a member says of all, and what each
// says of itself.
type Picture struct {
	Scope    string
	SystemID string // empty: nobody knows it
	Paused   bool
	// Scheduled is when a switchover is to take place, empty for none.
	Scheduled string
	Members   []Member

	// TTL is how long a lease lasts at most; MaxLag is how far behind a member
	// may be to take over, in bytes.
	TTL         time.Duration
	MaxLag      uint64
	Synchronous bool
}

// Member is one of them.
type Member struct {
	Name    string
	Base    string // root of its REST interface
	Host    string // where its server listens
	Port    int
	Leads   bool // it holds the leader key
	Standby bool // as leader of a standby cluster
	// Lag is how far its received position is behind, in bytes.
	Lag      uint64
	LagKnown bool

	// By its own word, if it Answers; else Silent says why not.
	Answers   bool
	Silent    string
	State     string
	Primary   bool
	Streaming bool
	Timeline  int64
	Started   string // when its server was started; changes with every start
	Agent     string // when its agent was started; empty where it does not say
	// Eligible is false when it says that it would not take over, for WhyNot.
	Eligible bool
	WhyNot   string
}

// Leader is the member that leads; ok is false for none.
func (p Picture) Leader() (m Member, ok bool) {
	for _, m := range p.Members {
		if m.Leads {
			return m, true
		}
	}
	return Member{}, false
}

// Member finds one by name.
func (p Picture) Member(name string) (Member, bool) {
	for _, m := range p.Members {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// Ailments are the reasons why the cluster is not healthy; none means that it
// is: one leader that runs, at least one other member, and all others stream
// from it and are close behind.
func (p Picture) Ailments() []string {
	var out []string
	add := func(format string, values ...any) { out = append(out, fmt.Sprintf(format, values...)) }
	if p.Paused {
		add("the cluster is paused: nobody would take over (resume it)")
	}
	if p.Scheduled != "" {
		add("a switchover is scheduled at %s (flush it, or wait for it)", p.Scheduled)
	}
	if len(p.Members) < 2 {
		add("there are fewer than two members: nobody could take over")
	}
	if l, ok := p.Leader(); !ok {
		add("no member leads")
	} else if l.Standby {
		add("%s leads a standby cluster, which takes no writes", l.Name)
	}
	for _, m := range p.Members {
		if why := m.ailment(p.MaxLag); why != "" {
			add("%s %s", m.Name, why)
		}
	}
	return out
}

// ailment says what is wrong with one member, empty for nothing.
func (m Member) ailment(maxLag uint64) string {
	switch {
	case !m.Answers:
		return "does not answer (" + m.Silent + ")"
	case m.State != "running":
		return "is not running (" + m.State + ")"
	case m.Leads && !m.Primary:
		return "leads, but is not a primary yet"
	case m.Leads:
		return ""
	case m.Primary:
		return "is a primary, but does not lead"
	case !m.Streaming:
		return "runs, but does not stream from the leader"
	case !m.LagKnown:
		return "does not say how far it is behind"
	case m.Lag > maxLag:
		return fmt.Sprintf("is %d bytes behind, more than maximum_lag_on_failover (%d)", m.Lag, maxLag)
	}
	return ""
}

// Candidates are the members that could take over from the leader; why says for
// each other one why it could not.
func (p Picture) Candidates() (names []string, why []string) {
	for _, m := range p.Members {
		switch {
		case m.Leads:
		case m.Eligible:
			names = append(names, m.Name)
		case m.WhyNot != "":
			why = append(why, m.Name+": "+m.WhyNot)
		default:
			why = append(why, m.Name+" would not take over")
		}
	}
	return names, why
}

// Unfit are all reasons why no drill may begin.
func (p Picture) Unfit(candidate string) []string {
	out := p.Ailments()
	names, why := p.Candidates()
	if len(names) == 0 && len(p.Members) > 1 {
		out = append(out, "no member could take over ("+strings.Join(why, "; ")+")")
	}
	if candidate == "" {
		return out
	}
	switch m, ok := p.Member(candidate); {
	case !ok:
		out = append(out, "there is no member "+candidate)
	case m.Leads:
		out = append(out, candidate+" leads already")
	case !m.Eligible:
		out = append(out, candidate+" would not take over: "+m.WhyNot)
	}
	return out
}

// Differences say in what the cluster now is not as it was before: who is not
// back, and what else is wrong. Another leader is no difference: that is what a
// drill is for.
func (p Picture) Differences(before Picture) []string {
	out := p.Ailments()
	for _, m := range before.Members {
		if _, ok := p.Member(m.Name); !ok {
			out = append(out, m.Name+" is gone from the cluster")
		}
	}
	return out
}

// Disturbed reports whether the fault has shown: somebody else leads than
// before, or a new timeline began, or the leader's server was started anew.
func (p Picture) Disturbed(before Picture) bool {
	was, _ := before.Leader()
	now, ok := p.Leader()
	if !ok || !now.Answers || !now.Primary {
		return false
	}
	return now.Name != was.Name || now.Timeline > was.Timeline || now.Started != "" && now.Started != was.Started
}

// AgentReplaced reports whether the leader is the one of before, under an agent that
// was started since.
func (p Picture) AgentReplaced(before Picture) bool {
	was, _ := before.Leader()
	now, ok := p.Leader()
	return ok && now.Answers && now.Primary && now.Name == was.Name && now.Agent != "" && now.Agent != was.Agent
}

// effect says who leads after the fault.
func (p Picture) effect(before Picture) string {
	l, _ := p.Leader()
	text := fmt.Sprintf("%s leads on timeline %d", l.Name, l.Timeline)
	if !p.Disturbed(before) {
		text += " as before; its agent was started again and took the running server over"
	}
	return text
}
