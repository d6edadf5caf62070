// Package sim runs the program's decisions (ha.Decide) in a made-up world, in
// one goroutine with virtual time, and looks from outside whether what must
// always hold does. A world is made by its seed alone: settings, clocks, faults,
// delays. Run returns what was violated and, when asked, the story; a seed that
// fails is run again with the story written down, and Shrink leaves out the
// faults that it does not need.
//
// What is modelled: hosts with power, boot clocks of unlike rate, wall clocks that
// jump, freezing, disks that are slow, full or stuck, the kernel-timed fence; agents (turns, actions one by one, tasks beside them, the lease keeper
// on its own schedule, peers' questions) that are killed, stopped, starved,
// also between two actions; guards; PostgreSQL servers with branches of WAL,
// their own choice of timeline numbers, streaming, replay, crash recovery,
// promotion, clean stops, pg_rewind that believes numbers, base backups, slots and
// WAL that is removed, synchronous_standby_names, processes that are stopped; a linearizable store with sessions, watches, lost
// answers and outages after which its timers start anew; a network cut per
// direction; clients through an entrypoint and beside it; requests of people.
//
// What is not: the codec of the keys and the calls of a real store (the store
// here holds a cluster.View, with the semantics of package dcs: so that a world
// takes milliseconds), a restored store,
// failsafe mode, quorum commit, standby clusters, failover slots.
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
