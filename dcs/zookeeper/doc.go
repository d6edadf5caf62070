// Package zookeeper keeps a cluster in ZooKeeper, with the nodes exactly where
// Patroni keeps them: /namespace/scope/key, the leased keys ephemeral.
//
// # Connections
//
// The library reconnects, queues and pings by itself, and all three are
// decisions about a lease. So it is given one TCP connection and never a second:
// when that ends, the library's client is thrown away, and the next call makes a
// new one, at the next server if need be. A request that was given up can
// therefore never be sent later. The connection handed to the library (wire)
// reads what passes: the negotiated timeout, session id and password, which the
// library does not tell, and it puts a known id and password into the connect
// request, which is how a session moves to a new connection. It lets no request
// to close a session pass unless End asked for it: no exit ends a session.
//
// A Store has one connection for reads, watches and permanent keys, whose own
// ZooKeeper session holds nothing, and each Session has one more: ephemeral
// nodes belong to the session of the connection that made them. On a session's
// connection the library's pings are dropped, so only calls keep it: a stopped
// loop loses its session.
//
// # What a renewal proves
//
// Neither reads, writes nor syncs through a follower touch the session at the
// ensemble's leader, which alone decides its end. The follower remembers whom it
// heard, and tells in its answers to the leader's pings, every half tick. A
// follower that dies right after it confirmed a request takes that memory along.
// So a confirmed request proves not itself but the newest request on the same
// connection that is at least one tick older: between the two the follower
// answered a ping, and since the later one went through the leader and back (it
// is a sync), after that answer, the follower was heard. Connecting needs no such
// detour: the follower asks the leader, so the connect request proves itself.
//
// Renew therefore remembers when it sent what; when the newest proof is old it
// waits one tick and asks again, context permitting. Sent already accounts for
// all this, and the leader rounds ends up to whole ticks, never down: Slack is 0.
// What is left unproven: a leader that stands still itself for more than half a
// tick between the two, and then loses the follower.
//
// # Versions
//
// A re-created node counts from version 0 again. A cluster.Version here names
// the transaction that created the node, too, and a conditional write first
// checks that it is still that node. What is not atomic: if, between this check
// and the write, the node is removed, made again and changed exactly as often,
// the write replaces it; that is noticed and reported as unknown outcome.
// Permanent keys are removed only by people, by a bootstrap that failed, and
// where a leader key was left behind by hand. Removing a permanent key never
// takes a leased one that was made in its place meanwhile.
package zookeeper
