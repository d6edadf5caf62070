// Package memory is a store in memory that keeps the whole contract of package
// dcs: for tests, and for the simulator. It is never a cluster's real store.
//
// It has three layers:
//
//   - Core is the store's state as a value machine: no lock, no goroutine, no
//     clock. Time comes in through Tick. A simulator in one goroutine with
//     virtual time uses it directly.
//   - Server puts a lock and an injected clock around one Core. Sessions end
//     lazily: whenever somebody calls, and while somebody watches.
//   - Store is one member's connection to the Server, and implements dcs.Store.
//     Each has faults of its own: calls that fail, hang, lose their request or
//     lose their reply, and a network that is cut.
//
// Faults of the store itself (a session that ends early, timers that restart, a
// store replaced or restored from a backup) are methods of Core, reached through
// Server.Do.
package memory
