// Package postmaster finds, starts, watches and signals the postmaster of one
// data directory.
//
// A process is believed to be the postmaster only by evidence beyond its
// number: start time, executable and working directory, because numbers are
// reused. The package never removes postmaster.pid and never kills what it
// cannot identify.
//
// Begin with Find and Process.
package postmaster
