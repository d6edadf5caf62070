// Package route answers one question: which member may this connection go to?
// A view of the cluster, what each member's REST API last said of itself (its
// word), how many sessions each serves and a policy go in; a backend or a
// refusal in words comes out.
//
// It is pure: it reads no clock, asks nobody, keeps nothing. The proxy, the
// health endpoints and the simulator share it, so that they cannot disagree.
//
// Invariant: a connection that may write goes only to the holder of the leader
// key, and only until the instant that the holder's own word reaches to. The
// leader key alone proves nothing (its reader may be late); the word alone
// serves sessions that exist already, never against another holder of the key.
// Where the store names nobody, or is lost to the entrypoint, the word alone
// serves new ones too, if it was given since.
//
// Begin with Pick, Review and Authority.
package route
