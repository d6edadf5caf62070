// Package etcdembed runs one voting member of the coordination store that every
// node brings along: etcd's own server library, in a child process of this
// binary, so that a crash, an upgrade or the memory of the agent never takes a
// vote along.
//
// # Parts
//
// Run is the whole of the hidden command `matriarch store`: it reads a Config
// from standard input and calls Serve, which runs the server in this process.
// A Supervisor, in the agent or in `matriarch up`, adopts the process that
// already serves the data directory or starts one, and starts it again when it
// ends. Inspect and MoveLeaderAway ask the running store as clients. Recover is
// a person's act after the majority was lost. The package holds no policy of
// the cluster and never reads or writes the cluster's keys; only TokenKey is its own.
//
// # How the processes find each other
//
// For a data directory D (`<state_dir>/store`), the state directory holds:
//
//	D.lock  locked (flock) by the serving process; a second one is refused
//	D.run   State as JSON: pid with start time, keeper, and how far it has come
//	D.json  Marker: the token and numbers of the founding; survives the loss of D
//	D.log   the server's warnings; put away at a start when over 4 MB
//
// The run file is the only channel from the store to its supervisor: a pipe
// would not survive the supervisor, and an adopting one would have none. The
// process has a session of its own and no parent-death signal. Whoever kept it
// (Keeper) ends it; all others leave it alone.
//
// # Founding, and coming back without a directory
//
// All members are known from the configuration, and so are their numbers, so a
// new store needs no first member. The rules of decide keep a member that has
// forgotten its votes from voting again:
//
//   - A member with a log just starts.
//   - A member without one first listens on its peer port as a stand-in, says
//     whether it knows of an earlier store (token, PostgreSQL data directory),
//     and asks the others. It founds only together with a majority that knows
//     of none, or when a live majority, read linearizably, says that it is
//     still waiting for this member's first start.
//   - Otherwise a live majority removes its old entry and adds it as a learner,
//     which has no vote until it has caught up.
//   - Without a live majority it refuses, keeps looking, and names Recover.
//
// In etcd a statically founded member has its name in the list from the start;
// its client addresses appear when it has joined a majority for the first time.
// These tell whether it ever started. What remains: a member that loses its
// disk in the milliseconds between its first vote and that publication.
//
// After the founding the first member to come stores a random token under
// TokenKey (create if absent); every member records it in its Marker.
//
// # Time
//
// Heartbeat 100 ms, election timeout 1 s (randomized up to 2 s, with pre-vote).
// The shortest lease granted is 2 s. When etcd's leader changes, all leases
// begin anew and last their whole length plus 1 s, which is why the member
// beside the primary should not lead the store. A write that a follower has
// forwarded to a leader that just died is lost and answered only after 7 s:
// clients bound their requests themselves and treat the outcome as unknown.
//
// # Figures
//
// Three members on one host with two cores, other work beside them, loopback,
// five runs; go test -run '^$' -bench . -benchtime 5x ./dcs/etcdembed:
//
//	start of three processes on empty directories until all are ready   0.6 s (0.3 to 1.3)
//	SIGKILL of the store's leader until a write is confirmed            1.3 s (at worst 1.5)
//	start without the directory until a voter again                     5.2 s
//	memory of one idle member                                           29 MB RSS, 13 MB PSS
//	processor time of one idle member                                   0.7 s per minute
//
// The 5 s of a rejoin are etcd's: it changes members only while all others have
// been connected that long. PSS counts the binary's pages shared by the three
// members (and the test) once; the binary was the test's, which links nothing
// but this package.
package etcdembed
