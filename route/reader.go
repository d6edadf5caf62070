package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// candidate is a member that may serve, or why it may not.
type candidate struct {
	member   string
	choice   Choice // of the leader: with its permission
	sessions int
	load     float64 // with one more, against its share
	home     bool    // of the port's zone
	what     string  // it is
	why      string  // not; empty: it may serve
}

// pickReader takes the least loaded eligible member, one of the port's zone if there
// is any, then the leader.
func pickReader(q Query) Choice {
	lead := pickLeader(q)
	all := q.candidates(lead)
	fit := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool { return c.why != "" })
	if free := slices.DeleteFunc(slices.Clone(fit), func(c candidate) bool { return q.full(c.member) }); len(free) > 0 {
		best := slices.MinFunc(free, candidate.compare)
		best.choice.Why = fmt.Sprintf("%s is %s with %d sessions", best.member, best.what, best.sessions)
		return best.choice
	}
	if len(fit) > 0 {
		return q.limited(slices.MinFunc(fit, candidate.compare).choice)
	}
	reason := "no " + q.readers() + " is eligible"
	if why := reasons(all); why != "" {
		reason += ": " + why
	}
	if q.Policy.NoFallback {
		return refuse("%s", reason)
	}
	lead.Why = reason + "; " + lead.Why
	return q.limited(lead)
}

// readers names those that an access is for.
func (q Query) readers() string {
	switch q.Policy.Access {
	case Any:
		return "member"
	case Sync:
		return "synchronous standby"
	}
	return "replica"
}

func reasons(all []candidate) string {
	var out []string
	for _, c := range all {
		out = append(out, c.member+" "+c.why)
	}
	return strings.Join(out, ", ")
}

// compare orders by preference; equal candidates are split by name.
func (c candidate) compare(d candidate) int {
	if c.home != d.home {
		return map[bool]int{true: -1, false: 1}[c.home]
	}
	return cmp.Or(cmp.Compare(c.load, d.load), cmp.Compare(c.member, d.member))
}

// candidates are all members of the view, and a leader whose key is gone.
func (q Query) candidates(lead Choice) []candidate {
	var out []candidate
	listed := false
	for _, m := range q.View.Members {
		listed = listed || m.Name == lead.Backend.Member
		out = append(out, q.candidate(m, lead))
	}
	if name := lead.Backend.Member; q.Policy.Access == Any && lead.OK && !listed {
		out = append(out, q.candidate(q.member(name), lead))
	}
	return out
}

func (q Query) candidate(m cluster.Member, lead Choice) candidate {
	w, _ := q.word(m.Name)
	c := candidate{member: m.Name, sessions: q.load(m.Name).Sessions, home: q.Policy.Zone != "" && zone(w, m) == q.Policy.Zone}
	c.load = float64(c.sessions+1) / q.share(m)
	switch {
	case !q.Policy.serves(m.Name):
		c.why = "is not the member of this port"
	case q.Policy.Access == Any && lead.OK && m.Name == lead.Backend.Member:
		c.choice, c.what, c.why = lead, "the leader", q.spared(m, w)
	case q.Policy.Access == Any && m.Name == q.View.Leader.Name:
		c.why = "cannot be used: " + lead.Why
	default:
		b, _ := q.backend(m.Name)
		c.choice, c.what, c.why = Choice{OK: true, Backend: b}, "an eligible "+q.replicas(), q.replica(m)
	}
	return c
}

func (q Query) replicas() string {
	if q.Policy.Access == Sync {
		return q.readers()
	}
	return "replica"
}

// pickLeader is the fallback for reading: the primary, or the leader of a
// standby cluster, which is read-only by itself and needs no permission.
func pickLeader(q Query) Choice {
	w, _ := q.word(q.View.Leader.Name)
	if w.Role == cluster.RoleStandbyLeader && w.State == cluster.StateRunning && q.fresh(w) {
		if b, ok := q.backend(w.Member); ok {
			return Choice{OK: true, Backend: b, Why: b.Member + " leads the standby cluster"}
		}
	}
	return pickPrimary(q)
}

// replica says why a member may not serve reads as a replica; empty if it may.
func (q Query) replica(m cluster.Member) string {
	_, published := q.backend(m.Name)
	w, _ := q.word(m.Name)
	switch {
	case m.Name == q.View.Leader.Name:
		return "is the leader"
	case !published:
		return "has published no usable address"
	case w.Asked.IsZero():
		return "has not answered"
	case !q.fresh(w):
		return fmt.Sprintf("answered last %s ago", q.age(w))
	case w.Name != "" && w.Name != m.Name:
		return "is answered for by " + w.Name
	case w.Role != cluster.RoleReplica:
		return "says it is " + orUnknown(string(w.Role))
	case w.State != cluster.StateRunning:
		return "is " + orUnknown(string(w.State))
	case w.ReplicationState != "streaming":
		return "is not streaming"
	case q.Policy.Access == Sync && !q.synchronous(m.Name, w):
		return "is no synchronous standby"
	}
	if why := q.spared(m, w); why != "" {
		return why
	}
	return q.lags(w)
}

// spared says why a member that could serve is not to: by its tag, which means
// nothing where clients ask for that very member, or because it was just tried.
func (q Query) spared(m cluster.Member, w Word) string {
	switch {
	case q.Policy.Member == "" && (w.NoLoadBalance || m.Tags.NoLoadBalance):
		return "is tagged noloadbalance"
	case q.load(m.Name).Down:
		return "did not accept a connection just now"
	}
	return ""
}

// synchronous: the store's key decides. While it cannot be read, the member's own
// word does. With quorum commit no one member is certain to have a commit.
func (q Query) synchronous(name string, w Word) bool {
	if q.Blind {
		return w.Synchronous
	}
	s := q.View.Sync
	return s.Quorum == 0 && q.View.Leader.Held() && strings.EqualFold(s.Leader, q.View.Leader.Name) && s.HasStandby(name)
}

func (q Query) lags(w Word) string {
	if lag := Furthest(q.View, q.Words).Sub(w.Replayed); q.Policy.MaxLag > 0 && lag > q.Policy.MaxLag {
		return fmt.Sprintf("lags %d bytes, limit %d", lag, q.Policy.MaxLag)
	}
	if lag := q.History.Lag(w, q.Now); q.Policy.MaxLagTime > 0 && lag > q.Policy.MaxLagTime {
		return fmt.Sprintf("lags %s, limit %s", lag.Round(time.Millisecond), q.Policy.MaxLagTime)
	}
	return ""
}
