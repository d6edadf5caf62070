// Package ha decides. Given an Observation (what this member knows now) and a
// Memory (what it chose to remember), Decide returns a Decision: what the
// situation is, which rule answered and why, the actions to take, the new
// memory, and when to look again at the latest.
//
// It is total and pure: no clock, no randomness, no I/O, no logger, no
// goroutine, so that every turn can be journalled and replayed, and so that the
// simulator runs the same code as production. It never performs an action and
// learns of an action's result only through the next observation.
//
// Invariants it serves are I1 to I8 of the design; the ones it must uphold by
// itself are: nothing but a live lease lets a server write (rules LeaseLost and
// Promote), a vote is a promise (a race begins with stopping the WAL receiver),
// timelines are claimed before they are used, a diverged server is stopped
// before anything else, a data directory is never given up while it may be the
// only copy.
//
// How to read it: rules.go is the table of contents, one line per rule, first
// match wins, and the order is the policy. Each group of rules has a file of
// its own. observation.go, action.go and memory.go are the vocabulary that the
// agent and the simulator implement. Arithmetic lives in ha/fence, the choice
// of the best candidate in ha/election, the steps of synchronous replication in
// ha/syncrep.
package ha
