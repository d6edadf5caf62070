// Package logging writes the program's log: records of log/slog, as lines for
// people or as JSON, to standard error or to a file that it rotates.
//
// A log call never waits for what it logs to. It renders the record and puts it
// into a bounded queue, which one goroutine writes out; when the queue is full,
// as on a disk that hangs or a terminal that nobody reads, the record is lost
// and counted (Stats), and the log says so when it goes on. Lease and loop
// never depend on a disk.
//
// A file that cannot be written (full disk, no permission) costs no record:
// they go to standard error until it can be, which is said once. A file or
// directory that was moved or removed is made anew.
//
// Everything can be changed while loggers are in use (Reconfigure). Values are
// rendered in the goroutine that logs, so secrets hide themselves before
// anything is kept; texts from outside cannot begin a line of their own.
//
// Begin with Open; style.go is how a record looks, output.go where it goes.
package logging
