// Package watchdog keeps a watchdog device of the Linux kernel (/dev/watchdog)
// alive while this host may run a primary, and lets it reset the host when it no
// longer can show that: the last resort when neither the agent nor the guard
// runs, or no process at all does.
//
//	guard ── Feed {reset, every, required} ─► Dog ─► open, set timeout, ping
//	      ── Rest ──────────────────────────►     ─► disarm
//	      ◄─ State, and a wake-up ───────────
//
// # Who holds the device
//
// The guard process, for three reasons. It is the longest-lived one: an agent
// that is killed or replaced leaves the server to it, and closing the device
// with the agent would either reset a host whose server is in good hands, or
// leave the device running with nobody who may feed it. It alone knows when the
// server is certainly not a writer, because it is who kills it. And it learns of
// each confirmed renewal, in the word that arms it, before the renewal counts.
// What is left for the device are the cases in which the guard cannot act: it was
// killed together with the agent, it is starved or stopped, or the kernel hangs.
//
// # When it is fed
//
// Only by a confirmed renewal: each gives the instant at which
// the host must be reset unless a newer one comes (fence.Deadlines.Reset: the end
// of the lease, less the safety margin). The device counts whole seconds from the
// ping on, so its timeout is set anew with each ping to what is left until then,
// rounded down. With ttl 30 and a margin of 5 that is 24 s where a timeout of ttl
// less margin would be 25: that one counts from the ping, however late the
// confirmation was. The lease's own deadlines lie before that, so an agent that
// still works steps down, and a guard that still works kills, before the host is
// reset.
//
// A timer feeds nothing: it would prove no more than that a timer runs. But it
// tightens. When its holder is killed, the kernel feeds a device once more, with
// the whole timeout, which would move the reset by all the time that has passed
// since the last renewal: an agent and a guard that are killed together would
// leave a primary to run on after its lease. So the timeout follows, once a
// second, what is left until the reset, which itself stays where it is.
//
// # When it is opened and disarmed
//
// Opening most devices starts them. So it is opened with the first confirmed
// renewal of a lease that was won, before the promotion, and disarmed with the
// proof that the server is not a writer: after a kill, after the end of a server
// that was asked to stop, when the agent says so, and for a pause.
//
// A device is disarmed by WDIOC_SETOPTIONS where the driver has it, and by the
// letter V before it is closed. One that cannot be stopped (nowayout, which is
// recognised by the refusal of WDIOC_SETOPTIONS, and told by the driver where
// that is missing) is kept open and fed by a timer while the server is certainly
// not a writer. When the guard ends then, the host is reset: there is no way out
// of that, and it is said when it is found out.
//
// A guard that is killed leaves a running device. That it did is written beside
// the guard's other files (Options.Mark) before the device is opened; the next
// guard opens it at once, feeds it once, and then does as it is told. A device
// that the kernel stops when it is closed (one without WDIOF_MAGICCLOSE) is no
// help against a killed guard, and that is said, too.
//
// # What was tested
//
// There is no watchdog device where this was written. Dog is tested against a
// fake Device, and the ioctls, writes and closes against a file of a file system
// in user space (FUSE) that behaves like the kernel's watchdog core, also with
// processes that are killed. No real device, and not softdog, was ever used.
package watchdog
