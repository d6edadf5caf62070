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
// ends. Inspect and MoveLeaderAway ask the running store as clients. Recover and
// Found are a person's acts. Belonging tells a client which answers count. The
// package holds no policy of the cluster and neither reads nor writes keys.
//
// # How the processes find each other
//
// For a data directory D (`<state_dir>/store`), the state directory holds:
//
//	D.lock  locked (flock) by the serving process; a second one is refused
//	D.run   State as JSON: pid with start time, keeper, and how far it has come
//	D.json  Marker: the number of the store that this node is part of; survives the loss of D
//	D.log   the server's warnings; put away at a start when over 4 MB
//
// The run file is the only channel from the store to its supervisor: a pipe
// would not survive the supervisor, and an adopting one would have none. The
// process has a session of its own and no parent-death signal. Whoever kept it
// (Keeper) ends it; all others leave it alone.
//
// # One store
//
// A store is known by its number (Identity), etcd's cluster id. It follows from
// a token drawn at random when the store is founded, and is recorded in the log
// of every member and beside every data directory, before the first vote. etcd
// puts it into every answer and every message between members and refuses those
// of another number, so two stores never exchange raft messages, whoever is in
// their lists of members. The highest byte is the generation: one more with each
// decision of a person.
//
// Before its server starts, a member listens on its peer port as a stand-in,
// says which store it belongs to, and asks all partners the same. Afterwards it
// goes on asking, every second. Whoever hears of a later generation, from a
// server or a stand-in, with or without a majority, ends its server, or does not
// start it, and says what to do: move the directory aside. Of two stores of one
// generation (two decisions about one store, or foundings of different times)
// the one that starts later refuses; two that meet while a majority of each
// works end both, since nothing tells which one is meant.
//
// Guaranteed: a member that can reach one that knows of a later store, at its
// start or at any time after, neither votes nor serves clients for more than a
// moment (a second, the question, and the server's orderly end of at most 2.5 s).
// Not guaranteed: a majority of old directories that reaches nobody who knows of
// the recovery works as before it. That is what the person's word rules out.
//
// # Founding
//
// A member that has forgotten its votes must never vote again, so a store is
// founded by all members or by a person (see decide). Each step is on disk before
// anybody hears of it:
//
//	offer   all members answer, none has a directory, a marker or a PostgreSQL
//	        data directory: the one of the smallest address writes a token
//	pledge  the others write the same one
//	agree   the first has heard that all have it, writes that, and starts; the
//	        others do when they hear of it from anybody
//
// The record lies inside the data directory and is removed once the log is
// written. So without a log, a member with the record has never voted, and may
// start at any time; one without it has lost its directory, whatever it
// remembers, and comes back as a learner through a live majority. No store is
// founded while one member is silent, and none by members that lost their disks
// while another one is away. A kill between any two steps is repeated or picked
// up at the next start. One case needs a person: the first member loses its disk
// between offer and agreement, and the others hold a record that it does not
// know; they say so.
//
// A live majority removes the entry of a member without directory and adds it as
// a learner, which has no vote until it has caught up. A kill between these steps
// repeats them.
//
// Found writes the record for this member alone; Recover writes a new store of
// this member with the data of its directory, all that its log holds, in a new
// directory beside the old one, which is then moved aside inside D
// (member.former-…). Before that move nothing has happened, after it the next
// start completes it. Its revisions continue far above the old ones, so that no
// revision names two writes. The others join.
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
