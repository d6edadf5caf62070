// Package dcstest holds every store to the contract of package dcs: one suite,
// run over the store in memory and over real servers, and the means to start
// such servers (StartEtcd, StartZooKeeper) and to damage the connection to them
// (Relay). Other packages' tests use the servers, too.
//
// A missing server binary fails a test, it never skips it.
//
// Begin with Run.
package dcstest
