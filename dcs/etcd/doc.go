// Package etcd keeps a cluster in etcd v3, over its native gRPC protocol, with
// the keys exactly where Patroni keeps them: /namespace/scope/key.
//
// It speaks through the generated stubs of etcd's API and not through the
// client library: that library repeats calls and spreads them over all servers
// by itself, and both are decisions that this package must make. (Its balancer
// sends every third call to a server that hangs; a call may be repeated only
// where repeating is harmless.)
//
// # How calls find a server
//
// Reads and renewals may be repeated, so they are hedged: the server that
// answered last is asked first, and when it has not answered within hedgeDelay
// the next one is asked as well; the first answer counts. A write is sent once.
// It goes only to a server that answered within aliveFor, on the connection of
// now; where none did, a hedged read finds one first. Only a write that certainly never left
// this host is tried elsewhere.
//
// # What a renewal proves
//
// Sent is read before the keep-alive goes out. A keep-alive alone proves
// nothing on servers before 3.4.34 and 3.5.16: a former leader that hung and was
// replaced may still answer it. So each is followed by a linearizable read on
// the same server, and both must carry the same raft term: then the leader that
// answered was still the leader afterwards. The keep-alive's own header must not
// be older than what was known when it was sent, nor newer than the read's. Newer servers make that check by
// themselves; here it is made always, because the leader that answers may be
// older than the server that was asked, and a read costs one round trip.
// "Lease not found" is believed only when said again after such a read, because
// a new leader may not have caught up with the grant.
//
// # Which store answers
//
// A session belongs to the store in which it was opened. An endpoint may come to
// serve another one: a new store, the same one restored from a backup, or a copy
// beside the original, which knows the lease and would confirm it. The cluster id
// does not tell them apart (a restored store has the same), so every answer that
// a quorum stands behind is held against what was known when its question was
// sent: another cluster id, a lower raft term or a lower revision is another
// store (see identity). Then the answer counts for nothing, a write's outcome is
// unknown, Snapshot.StoreID changes, and all sessions opened before have ended,
// for good, whatever answers later: the former store may still keep the lease for
// its length, but nobody renews it. The holder is told at once rather than left
// to its deadline, because others may have seen the new store earlier and count
// the time until they may lead from then.
//
// What cannot be told apart: a copy whose term and revision have both caught up
// with what was seen, because it was restarted and written to as often as the
// original since the backup.
//
// A handle carries what was known of the store when it was taken: cluster id,
// term and revision. Resume holds a linearizable read against it before it asks
// for the lease, with the same limits as above; and it never takes a handle's
// word for what this process knows. Two processes with one lease do not notice
// each other: a keep-alive of either counts for both, and after a revocation both
// are told that the lease is not found.
//
// A lease is never renewed in the background, and never revoked except by End.
package etcd
