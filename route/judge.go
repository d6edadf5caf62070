package route

import "github.com/matriarch-ha/matriarch/cluster"

// Verdict is whether a port uses a member now, and why.
type Verdict struct {
	In bool
	// Spare: only because nobody else may be used.
	Spare bool
	Why   string
}

// Judge says of every member of the view whether the port uses it. It goes by the
// same rules as Pick, which chooses one of those that are in.
func Judge(q Query) map[string]Verdict {
	out := make(map[string]Verdict, len(q.View.Members))
	chosen := Pick(q)
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
	return out
}

func describe(m cluster.Member, why string) string {
	if why == "" {
		return m.Name + " is an eligible replica"
	}
	return m.Name + " " + why
}
