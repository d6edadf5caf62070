// Package cluster is the vocabulary that all parts share: members, their roles
// and states, the view of the cluster as read from the store, the requests that
// people make, and the settings that hold for everybody.
//
// It is pure and holds plain values only: no maps, no channels, no pointers
// that two owners share, lists sorted by name, so that a View can be compared,
// copied, journalled and replayed. What a value looks like in the store is
// dcs/layout's business; what it looks like on the wire is api's.
//
// Begin with View.
package cluster
