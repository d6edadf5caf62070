// Package app puts the parts together: it reads a configuration, makes the
// store, the local server, the lease keeper, the agent, the REST server and the
// entrypoint, starts them in order, and stops them in the reverse order.
//
// It decides nothing about the cluster. What starts is registered on one stack
// (lifecycle.go), which also undoes a start that failed half-way; every step of
// the shutdown is named and bounded, and one that fails stops no other.
//
// The order of a shutdown: the agent settles the server and gives the lease up,
// the entrypoint drains, the REST port closes, the store's connections close,
// and last the embedded store's process ends, if this agent keeps it.
//
// Begin with RunAgent.
package app
