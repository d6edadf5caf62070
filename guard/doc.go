// Package guard stops a PostgreSQL server whose leader lease can no longer be
// proven, also when the agent that should do so is dead, stopped or starved.
//
// The guard is a small child process of the agent: the same binary, started
// with a hidden subcommand that calls Main. Over a socket pair the agent hands
// it the deadlines of each confirmed renewal (Client.Arm) and continues only
// after the guard has acknowledged them. When the hard deadline passes without
// a newer one, the guard kills every process of the server.
//
// How data passes:
//
//	agent ── arm {nonce, soft, hard} ─► guard ── the same ─► fencer ─► nftables
//	      ── disarm {nonce} ──────────►                      (a thread)
//	      ◄─ ready, ack {nonce} ───────       ◄─ state ─────
//	      ◄─ fenced {proof} ───────────
//	      ◄─ state of the kernel fence ─
//
// Deadlines are on CLOCK_BOOTTIME; disarm says that the server is not a writer.
//
// When the agent's end of the socket closes, nobody can extend the lease any
// more. A disarmed guard then ends. An armed one lets the server work for as
// long as the lease certainly lives, asks for a fast shutdown at the soft
// deadline and kills what is left at the hard one.
//
// What counts as the server: every process whose executable is postgres and
// whose working directory is the data directory, and postgres children of such
// a process. PostgreSQL changes into its data directory at the start, and all
// that it forks inherit that, so the rule also finds backends that outlived
// their postmaster, needs no postmaster.pid, and is never misled by a stale
// one. A shell that stands in the data directory is left alone.
//
// What counts as dead: a process that is gone, a zombie, exiting, or has
// SIGKILL pending. The kernel lets none of these run another instruction of
// the program, even if a broken disk keeps them in uninterruptible sleep.
//
// The kernel-timed fence (package netfence). When a host stands still as a whole
// and goes on after the deadline, a backend may run before the guard does. Where
// CAP_NET_ADMIN is held the guard therefore keeps the deadline with the kernel
// too: past it, what the server's port sends is dropped without any process. It
// stands while the guard is armed; a replica has none. From a fence to the next:
//
//   - Arm is acknowledged when the kernel has the deadline. When it can be given
//     none, the fence is taken away and that is said; see Fence.Raise for why.
//   - After a kill, or a Disarm, it is lifted: after the proof, after
//     standby.signal stands, and after the sockets are destroyed that would still
//     send what was held back.
//   - A guard that is killed while armed leaves it. The deadline comes, the port
//     falls silent, and stays so: nobody is left who knows whether the server still
//     writes. The next guard finds it (KernelState.Barred) and goes on with it when
//     it is armed; a Disarm, which the agent sends before it starts a standby and
//     when it finds one running, lifts it.
//   - An orphaned guard lifts it when the server is gone, then ends.
//   - Two guards of one server at a time (an orphan beside a new agent's): each may
//     lift what the other raised; the next Arm raises it again.
//   - A reboot, or the end of a container's network, takes it along.
//
// The fencer has a thread of its own, since a transaction of somebody else can
// hold one up for seconds, and the kill waits for nothing.
//
// Invariants:
//
//   - An armed guard acts on the clock and its last acknowledged deadline alone;
//     nothing but a newer word of the agent prevents the kill.
//   - A word that was sent in time but read late is still obeyed: after each wake
//     the socket is read first, the clock second.
//   - The path to the kill needs no disk, no memory that may have been paged out
//     (where locking is permitted), and no answer from anybody.
//   - standby.signal is placed after every fence, so that whoever starts the
//     server next gets a read-only one. The disk is touched after the proof, or
//     beside the thread that watches the deadline.
//
// Measured (BenchmarkFence; PostgreSQL 15, 20 idle and one busy backend, two
// processors, real-time priority granted) from the hard deadline to the proof:
// median 7 ms, most 9 ms, on an idle host as beside 16 busy processes. The budget of one
// second that fence.DefaultBudget subtracts leaves room for hosts with thousands
// of processes and for guards without real-time priority. A guard costs about
// 1.5 MB of private memory beside the pages that it shares with the agent, 0.2 MB
// of that for the kernel-timed fence (BenchmarkArm).
//
// What it may not do: read the configuration, talk to the store, or decide
// anything. A server in its own cgroup could be killed with one write to
// cgroup.kill; killer.kill is the place for it.
package guard
