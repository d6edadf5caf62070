// Package lab makes hosts on this machine to test with: each a network
// namespace with its own address, joined by a switch, so that a host can be cut
// off, lose its link, or lose its power without any of its connections being
// told. PostgreSQL, the stores and matriarch run on them as real processes.
//
// Nothing in it asserts: it starts, breaks and observes. Waiting is always for
// a fact, with a reason that is printed when the fact does not come.
package lab
