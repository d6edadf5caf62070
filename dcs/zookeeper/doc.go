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
// # Sessions that change hands
//
// Id and password are all that another process needs (Session.Handle,
// Store.Resume): it presents them in its connect request, asks for the same
// length, because a connect request sets that anew, and believes it has the
// session once a transaction was acknowledged.
//
// When a process dies, its connections end and its sessions live on: a server
// only forgets a connection. When it closes its store, or the library closes its
// client, the request to close the session is held back by the wire.
//
// A session has one connection. When a second process presents it, the servers
// move it: the same server ends the old connection, another one answers what
// still comes on it with "session moved" and ends it then. The first process does
// nothing about that by itself, for a connection is made only by a call; its next
// call presents the session again and so takes it back. Two that both renew take
// turns, once per call, and both are confirmed: the argument below is about one
// connection, and what is asked for on a connection that has lost the session is
// refused. The keys belong to the session, wherever it is. A stopped process that
// runs again after the session was ended is refused by the first call, which then
// is final.
//
// A wrong password is answered like an ended session, so the handle also binds id
// and password together: what was damaged is refused before it is sent. A session
// that came back with a restored ensemble is not told from the original.
//
// # What a renewal proves
//
// Neither reads, writes nor syncs through a follower touch the session at the
// ensemble's leader, which alone decides its end. The follower remembers whom it
// heard, and tells in its answers to the leader's pings, every half tick. A
// follower that dies right after it confirmed a request takes that memory along.
// So a confirmed request proves not itself but the newest request on the same
// connection that is at least one tick older: between the two the follower
// answered a ping, and since the later one went through the leader and back,
// after that answer, the follower was heard. Connecting needs no such detour: the
// follower asks the leader, so a connect request has touched the session by the
// time it is answered.
//
// A touch is worth something only while the leader that was touched is the
// leader, which it does not know itself: one that was deposed keeps sessions,
// accepts connections and answers syncs until its syncLimit has passed. So what
// proves is a transaction, which needs a quorum: a check of the cluster's own
// node, which changes nothing (see prove). Let the session be touched at time t
// at L1, the leader of epoch E, and let a transaction that was proposed in E
// after that touch be acknowledged by a quorum; on one connection order and epoch
// are certain, because a server ends its clients' connections before it follows
// or leads another epoch. Then nobody ends the session before t + timeout:
//
//   - not L1, which counts from t. Had it begun to end the session before, it
//     would have ignored the touch, but refused the transaction as well;
//   - not a later leader L2: it starts the timers of all sessions anew, with the
//     whole timeout, after a quorum has joined it. One server of that quorum
//     acknowledged the transaction, and did so before it joined, since afterwards
//     it accepts nothing of E any more. So L2's timers start after t.
//
// For a session's first connection the transaction is its creation, proposed
// after the request was sent, which is when the leader's count begins; the answer
// comes when a quorum has acknowledged it. (Where local sessions are switched on
// in the servers, that is the case from the first ephemeral node on, and nothing
// depends on the session before.) After a reconnect the connect request counts
// from its sending, but only once a transaction on the new connection was
// acknowledged: the touch may have been at a deposed leader.
//
// Renew therefore remembers when it sent what; when the newest proof is old it
// waits one tick and asks again, context permitting. Sent already accounts for
// all this, and the leader rounds ends up to whole ticks, never down: Slack is 0.
// What is left unproven: a leader that stands still itself for more than half a
// tick between the two, and then loses the follower. And observers that follow a
// follower (observerMasterPort) report in two steps: Config.TickTime must be
// twice the tick there.
//
// A server's word that a session has ended is taken as it is. From a deposed
// leader it may come early: then the keys stay until the true end, although
// nobody renews them.
//
// # What a reading proves
//
// A reading after a sync has the same weakness: a deposed leader knows only its
// own past. Load, and the beginning of a Watch, read after a transaction on the
// same connection, so they see every write that was confirmed before. A Watch
// that began earlier on a server that is cut off stays silent until its
// connection ends: without a quorum nothing changes there. A conditional write
// needs no more than a sync before it looks, for it asks the quorum itself: at
// worst it reports a conflict with a state that is past.
//
// # Which ensemble it is
//
// An ensemble has no identity that can be read. The cluster's own node serves: the
// transaction that created it, and the time, which a backup keeps and another
// ensemble does not have. Where there is no such node yet there is no identity.
// That an ensemble went back shows in keys whose last transaction is an earlier one
// than was known (dcs.Mark). The newest transaction alone does not show it: its
// upper half counts elections, so that the first write after a restore is often
// ahead of all that was known. Since readings begin with a proof, a follower that
// lags never looks like that.
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
