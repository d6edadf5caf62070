// Package agent runs one member: it observes, has ha decide, and acts.
//
// One goroutine (Run) owns the member's memory and takes one turn after
// another. A turn gathers an ha.Observation, calls ha.Decide once, carries out
// the decision's actions in order, and publishes the member's key. It wakes on
// events (the store's watch, the end of the postmaster, a finished task, a
// peer's answer, the lease's soft deadline, a person's request) and at the
// latest when the decision asked for.
//
//	viewer ── the store's view ──┐
//	postgres ── facts ───────────┤
//	lease.Keeper ── lease ───────┼─► observe ─► ha.Decide ─► execute ─► keeper, store,
//	peers ── their word ─────────┤                 │                    postgres, tasks
//	tasks ── progress, result ───┤                 └─► journal, log, answers to people
//	requests ── people's wishes ─┘
//
// What it may not do: decide (no action is carried out that a rule did not
// name, except publishing its own key, applying the configuration, and what
// upkeep.go does for the data directory), keep the
// lease (lease.Keeper does, in its own goroutine), or wait without a bound in a
// turn. Long actions run one at a time beside the loop (task.go).
//
// Begin with Run, then execute.go, which is the list of actions.
package agent
