// Package postgres owns the local PostgreSQL server of one member: its data
// directory, configuration files, process, replication upstream, slots and
// positions in the log.
//
// It does what it is told and reports what it sees; it never decides. Observe
// returns one value with all facts; the other methods are the actions. Every
// action is idempotent: after a crash in its middle, doing it again is right.
//
// What it never does:
//
//   - remove a data directory that may hold the only copy: removals are renames
//     (.replaced, .failed), and lost log is saved first (.lost-wal); only what is
//     known to be elsewhere too goes, when it has not been missed (.removing);
//   - start a server for writing because of a file's absence: standby.signal
//     stays in place while the server is down, and only StartPrimary takes it away;
//   - start a directory whose rewind was interrupted;
//   - write a password into postgresql.conf, an argument list or a log.
//
// How data passes: configuration comes in by SetConfig, is rendered by conf and
// written by ApplyConfig and every start; facts come from probe (one SQL
// statement over one kept connection), control (pg_controldata) and walfile
// (the log itself); processes are run by runas and watched by postmaster;
// replica reads the output of the copying programs.
//
// Begin with Server and Facts.
package postgres
