// Package sim runs the program's decisions (ha.Decide) in a made-up world, in
// one goroutine with virtual time, and looks from outside whether what must
// always hold does. A world is made by its seed alone: settings, clocks, faults,
// delays. Run returns what was violated and, when asked, the story; a seed that
// fails is made plainer (Smallest) and told in a few lines (Result.Story).
//
// What is modelled: hosts with power, boot clocks of unlike rate, wall clocks that
// jump, freezing, disks that are slow, full or stuck, the kernel-timed
// fence; agents (turns, actions one by one, tasks beside them, the lease keeper on its own schedule, peers' questions) that are killed, stopped, starved,
// also between two actions; guards, and a new agent that takes one over with the
// server and the session of the agent before; PostgreSQL servers with branches of
// WAL, their own choice of timeline numbers, streaming, replay, crash recovery,
// promotion, clean stops, pg_rewind that believes numbers, base backups,
// slots and WAL that is removed, synchronous_standby_names, processes that are
// stopped; a linearizable store with sessions, watches, lost
// answers and outages after which its timers start anew; a network cut per
// direction; an entrypoint that is cut off and stopped; clients that write and
// read a register through it, and clients beside it; requests of people.
//
// The store holds keys and texts: what is written is encoded and what is read is
// decoded by package layout (codec.go). There are two kinds of it (model.go): one
// like etcd, and one like ZooKeeper, which grants less than was asked for and ends
// a session up to a tick before its newest confirmation says. In a third of the worlds
// it is an embedded one, whose voters are on the members' hosts and, where these are
// an even number, on a witness's (voters.go). It is compacted,
// goes back to a backup, and loses sessions by a person's hand; watches deliver
// twice and out of order; messages get lost (storefaults.go). A member's promotions
// fail until the faults cease, an agent is told to stop around its promotion,
// failsafe_mode is switched off while its leader is without the store (moments.go).
//
// What runs unchanged, beside ha.Decide: package layout; of package ha/fence the
// deadlines, what a lease keeper concludes from the clock and from a view, and
// what a guard has to do when.
//
// What is not modelled: the calls of a real store, a backup of the store from before
// the founding of the cluster, a second restore within two ttl, any restore in
// failsafe mode, quorum commit, standby clusters, failover slots.
//
// What a fault excuses, and no more than that:
//
//   - Agent and guard of one host that fail together (agent-and-guard; orphan.go says
//     exactly when): until one of them runs again and has had the time of a kill, its
//     server may acknowledge what came past the entrypoint and waited for no standby,
//     and when a person has made a member lead that the sync key does not name, also
//     what waited for one. Nothing where the kernel's fence stands.
//   - A session that a person ends (session-kill): until the lease's former end its
//     member may acknowledge what waited for no standby, and lose it.
//   - A store that went back (store-restore): whoever held the lease is its holder
//     until that lease would have ended, and nobody else may be promoted within a
//     ttl (L6). Commits are protected again when the sync key is the same as before,
//     or has been written anew. A number whose claim is gone may be claimed again. A
//     member that knew nothing newer than the backup cannot tell, if the store's
//     identity stayed the same; nor one that had no data when it saw a store first. When nobody is eligible by the keys that came back,
//     a person has to decide, and the world ends there.
//
// How data passes:
//
//	faults ─► world: host, net, store, server, guard ─► agent.observe ─► ha.Decide
//	              ▲                                                         │
//	              └──────────────── execute, tasks, keeper ◄────────────────┘
//	world ─► checker: I1 to I8, votes (V1), handovers (V3), half rewinds (D1)
//
// The checker looks at servers, branches, the store and acknowledged commits,
// never at what a member believes, with one exception, which the design makes:
// a paused cluster fences nothing, and for a member the pause ends when the word
// of it has come. Mutants are known-bad variants; the tests demand that each is
// caught, or the checker proves nothing.
//
// Begin with sim.go (Run), then agent.go and check.go.
package sim
