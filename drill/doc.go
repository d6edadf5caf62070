// Package drill runs a failover exercise on a live cluster and gives a verdict
// against an objective: how long no write was accepted, and what was lost.
//
// A drill is a plan of steps with a way back for each, a writing client that
// remembers what was acknowledged, and a report with the story of what happened.
// It begins only when the cluster is healthy, and leaves it as it found it, also
// when it is interrupted between any two steps: what was stopped is started, what
// was paused goes on, what was cut off is connected again.
//
// How it goes (run.go, back.go):
//
//	Unfit? → Claim → [confirmed] → table → writing → fault → effect
//	       → way back → whole again → rows compared → table dropped → Report
//
// The way back of everything is an Undo, plain values, and is with a second
// process (watch.go, second.go) before the thing is done: a drill that is killed
// is put back by that one. Every Undo may be gone twice, and for what was never
// done. What is done to members' processes is a Reach's matter: `matriarch up`
// has one (up/reach.go), containers have one (drill/docker), and hosts that a
// command such as ssh leads to (drill/remote, and drill/hand at its other end).
//
// What was promised to a client is kept apart from what the database says: the
// Ledger knows for every write whether it was acknowledged, failed, or has an
// unknown outcome, and Outage, Compare and Judge are pure functions of it.
//
// What it may not do: touch anything before it was confirmed, or leave its table
// or a fault behind.
package drill
