// Package dcs is the contract between Matriarch and a coordination store: an
// existing consensus system (etcd, ZooKeeper, the embedded etcd, …) that holds
// the cluster's keys and decides who holds the leader lease.
//
// The contract is in terms of keys below one prefix, sessions (a lease with a
// granted length), and compare-and-set. It does not know what a key means:
// dcs/layout translates between keys and cluster.View, once, for every store.
//
// What a store must promise, and dcs/dcstest checks on real servers:
//
//   - A Snapshot is one consistent state; revisions of one store only grow.
//     Where a store is another one, or goes back, the StoreID changes, or the
//     revision is lower, or that of a key is (Mark).
//   - Put and Delete with a condition happen atomically or not at all. There is
//     no degraded, unconditional form.
//   - A session's keys vanish when the session ends, and never because another
//     process of the same name came or went.
//   - A session belongs to the store and not to the process that opened it. It
//     ends by Session.End or by its time, never because a process was killed,
//     closed its store, panicked or exited. Whoever has the Handle goes on with
//     it, or ends it. While two processes hold one session, what is confirmed to
//     either holds, and the end is the end for both.
//   - A confirmation's Sent is an instant from which the store cannot have
//     counted earlier than Session.Slack allows: see Confirmation.
//   - Errors fall in the classes below. What is unknown stays unknown: a store
//     never retries a write whose outcome it does not know.
//   - No call outlives its context.
//
// Implementations hold no policy: they do not decide who leads, how long to
// wait, or whether to try again.
package dcs
