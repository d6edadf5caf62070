// Package lease keeps this member's session in the store and, while it leads,
// the leader lease, apart from the agent's loop: a turn that is stuck on a slow
// query or disk never costs the lease.
//
// A Keeper opens a session, renews it, and computes from each confirmation the
// deadlines until when this member may write (fence.Term). While it leads it
// hands every new deadline to the guard, and sends no renewal before the guard
// acknowledged the previous one: whatever dies, at most one renewal lies
// between a death and its consequence.
//
// How data passes:
//
//	agent ── Take, Release, Extend, Observed, PutOwned, SetGuard ─► Keeper ─► dcs.Session
//	agent ◄─ State, Changed, Context ────────────────────── Keeper ─► Guard
//
// Terms. Held: the leader key was taken under the current session and nothing
// has been heard since that says otherwise. Live: held, and the soft deadline
// is ahead; only then may the server write. At the soft deadline the Keeper
// cancels Context and signals Changed, and the agent stops the server. At the
// hard deadline the lease is lost.
//
// Invariants:
//
//   - The leader key is created, never replaced, and is ours by session only,
//     never by the name in it.
//   - A lost lease is never released: while a writing server might be left, only
//     the store's own expiry may give the key to another. The session of a lost
//     lease is abandoned, neither renewed nor ended, until somebody has said that the
//     server certainly does not write (Stopped, Release): then it is ended as soon as
//     the store answers, which may be long after.
//   - A lease that is lost before its deadline is the guard's word at once, since
//     another may lead already: no death of this process from then on leaves the
//     server writing until the deadline that the guard knew.
//   - What is unknown is read again before anything is concluded. A key that
//     turns up under our session although nobody was told that it is ours is
//     deleted.
//   - While every member that could lead has promised not to (Extend), the lease
//     is held without the store, and without a session: it is adrift, and Take
//     creates the key again before anybody else may.
//   - A lease ends at the deadline that its guard acknowledged last, whatever was
//     confirmed since: the guard has killed the server then, and may have had the
//     session ended. So an agent that was stopped, and continued after that, never
//     believes an answer that it had not read yet.
//   - A session whose handle the guard has is not used any more once the guard's
//     deadline has come without a disarm, held or not: a helper may be ending it, and
//     would end a later lease with it. A deadline counts from when it is sent to the
//     guard if it is an earlier one, from the acknowledgement if it is a later one.
//   - Adopt makes a lease mine that a former agent of this member held: by the
//     session's handle, which its guard alone had, and only if the leader key is
//     under that session.
//   - Confirmations may arrive late and out of order; the newest sent counts.
//
// What it may not do: decide whether to lead, stop or promote a server, or
// start a guard. Begin with Keeper.
package lease
