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
// Pick chooses is one of those.
func Judge(q Query) (chosen Choice, out map[string]Verdict) {
	chosen, out = Pick(q), make(map[string]Verdict, len(q.View.Members))
	for _, m := range q.View.Members {
		switch {
		case q.Policy.Access == ReadOnly && m.Name != chosen.Backend.Member:
			_, why := q.replica(m)
			out[m.Name] = Verdict{In: why == "", Why: describe(m, why)}
		case chosen.OK && m.Name == chosen.Backend.Member:
			_, why := q.replica(m)
			out[m.Name] = Verdict{In: true, Spare: q.Policy.Access == ReadOnly && why != "", Why: chosen.Why}
		case m.Name == q.View.Leader.Name:
			out[m.Name] = Verdict{Why: chosen.Why}
		default:
			out[m.Name] = Verdict{Why: m.Name + " does not lead"}
		}
	}
	return chosen, out
}

func describe(m cluster.Member, why string) string {
	if why == "" {
		return m.Name + " is an eligible replica"
	}
	return m.Name + " " + why
}
