// Package guard stops a PostgreSQL server whose leader lease can no longer be
// proven, also when the agent that should do so is dead, stopped or starved.
//
// The guard is a small child process of the agent: the same binary, started
// with a hidden subcommand that calls Main. Over a socket pair the agent hands
// it the deadlines of each confirmed renewal (Client.Arm) and continues only
// after the guard has acknowledged them. When the hard deadline passes without
// a newer one, the guard kills every process of the server.
//
// How data passes while an agent lives:
//
//	agent ── arm {nonce, soft, hard} ─► guard ── the same ─► fencer ─► nftables
//	      ── disarm {nonce} ──────────►                      (a thread)
//	      ◄─ ready, ack {nonce} ───────       ◄─ state ─────
//	      ◄─ fenced {proof} ───────────
//	      ◄─ state of the kernel fence ─
//
// Deadlines are on CLOCK_BOOTTIME; disarm says that the server is not a writer.
// With each deadline comes the handle of the session that the lease belongs to
// (dcs.Handle, opaque here). It lies in the guard's memory and nowhere else.
//
// States. A guard is disarmed or armed, and it has an agent, or none:
//
//	            arm                        the agent's end closes
//	disarmed ─────────► armed, served ──────────────────────────► armed, alone
//	    ▲ ◄───────────     │  ▲                                      │      │
//	    │    disarm        │  │ arm                  another connects │      │ grace
//	    │                  │  └──────── armed, claimed ◄──────────────┘      ▼ is over
//	    │                  │ hard              │ soft                  stopping: fast
//	    │                  ▼                   └─────────────────────► shutdown, at most
//	    └──────────── fence: kill ◄──── clean stop's time is over ──── clean stop's time
//	                  and proof                                              │
//	                       └──── release: the helper ends the session ◄──────┘ gone
//
// When the agent's end of the socket closes, nobody extends the lease any more. A
// disarmed guard then ends. An armed one lets the server work for a grace, in
// which another agent may take over; never past the soft deadline. Then it asks
// for a fast shutdown, kills what is left when that takes too long, and has the
// session ended, so that another member leads long before the ttl. Where the
// session cannot be ended (no handle, no access to the store), stopping early
// would only lengthen the outage: the server then works up to the soft deadline.
//
// Taking over (Claim). The guard listens on a socket in the state directory, mode
// 0600, and looks at the peer's user: root or its own. It serves one agent at a
// time, a new one only when the former one's end is closed:
//
//	agent ── connects ────────► guard
//	      ◄─ kernel, ready ────        as at a start
//	      ◄─ trust {deadlines, postmaster and its start, handle} ─
//	      ◄─ hello {release} ──
//	      ── access {descriptor} ─►    its own, for later helpers
//	      ── arm … ───────────────►    it has adopted the session: go on as ever
//	   or ── end ─────────────────►    it cannot: kill, release, end
//	   or ◄─ refuse ───────────        it has an agent; or it is stopping: wait for its end
//
// One that has connected and not armed yet has the time that the lease has: at the
// soft deadline the guard stops the server all the same. The handle is a secret,
// and so is what reaches the store; neither is ever on a disk, in an argument, or
// in an environment.
//
// Release. After the proof, and after standby.signal stands, a helper is started:
// the same program (/proc/self/exe, so of the guard's own release), which gets the
// handle by pipe and the access to the store in a sealed memory file that the
// guard was given at its start. It resumes the session and ends it, and so ends
// this session only, whoever leads by then. It is given ten seconds; whatever goes
// wrong, the lease runs out by itself (a helper that has resumed the session and
// dies before it could end it has renewed it once). The same follows a fence at
// the hard deadline while the agent stands still. An agent that goes on then finds
// its lease over by the clock alone: see lease.Keeper.
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
//   - A guard without an agent lifts it when the server is gone, before the
//     session is released.
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
//     nothing but a newer word of its agent prevents the kill, and whoever is its
//     agent, there is always a deadline.
//   - A deadline that has come may be sent: the lease was lost before its deadline
//     (its key deleted, its session ended). The guard has the kernel close the port and
//     kills at once. No handle comes with that word, so no helper ends a session that
//     lives on.
//   - A session is released only after the proof that nothing of the server runs.
//   - A disarm that was sent in time but read late is still obeyed: after each
//     wake the socket is read first, the clock second. A newer deadline is not, once
//     the former one has passed: its agent, which may have been stopped as well,
//     gives the lease up at that deadline too (lease.Keeper), so that nobody writes
//     under a lease of which a helper may be ending the session.
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
// What it may not do: read the configuration, talk to the store (its helper does),
// or decide anything. A server in its own cgroup could be killed with one write to
// cgroup.kill; killer.kill is the place for it.
package guard
