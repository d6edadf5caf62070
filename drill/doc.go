// Package drill runs a failover exercise on a live cluster and gives a verdict
// against an objective: how long no write was accepted, and what was lost.
//
// A drill is a plan of steps with a way back for each, a writing client that
// remembers what was acknowledged, and a report with the story of what happened.
// It begins only when the cluster is healthy, and leaves it as it found it, also
// when it is interrupted between any two steps: what was stopped is started, what
// was paused goes on, what was cut off is connected again.
//
// What it may not do: touch anything before it was confirmed, or leave its table
// or a fault behind.
package drill
