// Package netfence closes a TCP port of this host at a deadline, by the kernel's
// timer: no process has to run for it. It is for servers whose host is stopped
// as a whole (a container that is paused, SIGSTOP to everything) past the end of
// their lease: when it goes on, no user process can promise to run before a
// backend does, but a packet filter need not run at all.
//
// An nftables table holds one rule: what the port sends is dropped, unless the
// port is in a set; and the set's only element times out at the deadline. Every
// Raise puts a new element in the place of the old one, in one transaction.
//
// What is dropped stays in the send queue of its socket, and the kernel would
// send it again when the rule is gone, even after the process is dead: an
// acknowledgement could reach a client when another server leads. So Lift, which
// takes the table away, first destroys every socket of the port that may hold
// unsent data, unless the deadline had not been reached. Where the kernel cannot
// do that (INET_DIAG_DESTROY) no fence is raised at all. Segments without data
// that say that a connection is over (RST) pass the rule, so that clients hear
// of it.
//
// Why the rule drops and does not reject with a reset: the reset would end our
// own socket and leave the client waiting for an answer that never comes.
//
// Invariants:
//
//   - Raise returns true only when the element stands, or when none does and the
//     port is open although no kernel watches it (Trouble says why). When neither
//     can be had it returns false: the old element will run out and the port fall
//     silent, so the lease must not be extended on that footing.
//   - Lift never leaves the port open while a socket with unsent data of a lapsed
//     fence is left.
//   - A table outlives its process: it is the one thing that still holds when the
//     guard is killed. The next one finds it by its name (Barred).
//
// What it does not cover: Unix sockets, and time that the kernel does not count
// for the element's timer (suspend; a virtual machine that is paused). The rule
// knows the port only: all servers of one network namespace need ports of their
// own.
//
// Everything must be called on one locked thread: a capability that was permitted
// only is made effective for this thread alone.
package netfence
