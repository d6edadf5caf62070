// Package etcdembed runs one voting member of the coordination store that every
// node brings along: etcd's own server library, in a child process of this
// binary, so that a crash, an upgrade or the memory of the agent never takes a
// vote along.
package etcdembed
