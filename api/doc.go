// Package api serves a member's REST interface: the paths, codes and texts of
// the compatible interface on port 8008, so that existing load balancers, boards
// and scripts keep working, and a few of our own (/lease, /vote, /journal).
//
// It decides nothing and owns no state of the cluster: everything it says comes
// from its Source, and everything asked of it becomes a call to the Source or a
// refusal. Health checks are answered from the Source's snapshot in memory,
// never by a query or a call to the store, because a load balancer asks often
// and a hung server must not hang the answer.
//
// Invariants: a request that was refused starts nothing; every method but the
// reading ones passes the one access check; every wait has a deadline, and
// connections, bodies and changes under way are bounded, so that no flood takes
// the agent's turn away; whoever asks the server or the store shares the
// question with all who ask at the same time; a request to move the leadership
// is answered by its outcome (done, refused with the reason, or still running),
// never by silence.
//
// Three shapes stay apart: Status and cluster.View are what the Source knows,
// the ...Doc types are what goes over the wire (client and cli read them too).
// Begin with source.go, then dispatch in server.go. docs/rest-api.md has every
// path and what differs from the compatible interface.
package api
