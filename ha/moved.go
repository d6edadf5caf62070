package ha

import "slices"

// WithRuleMoved is Decide with a table in which one rule stands right before or,
// when it stood before that already, right after another. It is for the simulator
// alone, which shows with it that the order of the table matters: nothing that
// runs a cluster may call it.
func WithRuleMoved(id, to RuleID) func(Observation, Memory) Decision {
	from := slices.IndexFunc(rules, func(r rule) bool { return r.id == id })
	at := slices.IndexFunc(rules, func(r rule) bool { return r.id == to })
	if from < 0 || at < 0 {
		panic("no such rule: " + string(id) + " or " + string(to))
	}
	table := slices.Delete(slices.Clone(rules), from, from+1)
	table = slices.Insert(table, at, rules[from])
	return func(o Observation, m Memory) Decision { return decide(table, o, m) }
}
