package route

import "github.com/matriarch-ha/matriarch/cluster"

// Verdict is whether a port uses a member now, and why.
type Verdict struct {
	In bool
	// Spare: only because nobody else may be used.
	Spare bool
	Why   string
}

// Judge is Pick, and says of every member of the view whether the port uses it: what
// Pick chooses is one of those. A member that has all the sessions that it may have is
// used.
func Judge(q Query) (chosen Choice, out map[string]Verdict) {
	q.Policy.MaxConnections = 0
	chosen, out = Pick(q), make(map[string]Verdict, len(q.View.Members))
	lead, reads := pickLeader(q), q.Policy.reads()
	for _, m := range q.View.Members {
		is := chosen.OK && m.Name == chosen.Backend.Member
		switch {
		case reads:
			c := q.candidate(m, lead)
			v := Verdict{In: is || c.why == "", Spare: is && c.why != "", Why: q.describe(c)}
			if is {
				v.Why = chosen.Why
			}
			out[m.Name] = v
		case is:
			out[m.Name] = Verdict{In: true, Why: chosen.Why}
		case m.Name == q.View.Leader.Name:
			out[m.Name] = Verdict{Why: chosen.Why}
		default:
			out[m.Name] = Verdict{Why: m.Name + " does not lead"}
		}
	}
	return chosen, out
}

// describe says of a candidate that was not chosen what it is.
func (q Query) describe(c candidate) string {
	switch {
	case c.why != "":
		return c.member + " " + c.why
	case q.Policy.Zone != "" && !c.home:
		return c.member + " is " + c.what + " of another zone"
	}
	return c.member + " is " + c.what
}

// member returns a member of the view; one that is not in it has a name only.
func (q Query) member(name string) cluster.Member {
	m, _ := q.View.Member(name)
	m.Name = name
	return m
}
