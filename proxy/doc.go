// Package proxy is the entrypoint: one port that always leads to the primary,
// one that is balanced over the replicas, and others as they are configured.
//
// How data passes. The caller feeds views of the cluster; a table keeps the
// newest view and each member's last word (asked by this package over REST) and
// derives one permission, the gate, per backend. A client's first packet is
// read, a gate is taken (or the client is held until there is one), the packet
// is sent on, and from then bytes are copied both ways, passing the gate before
// every write: by two goroutines (copying, pipe) until the server is ready for the
// first query, and by an event loop (loop, link) from then on, which costs an idle
// session no goroutine and a message no wake-up of one. A session that ends comes
// back from its loop to a goroutine for the last words.
//
// What must hold:
//
//   - No byte goes to the leader, and none from it to a client, after the
//     instant its own word reaches to, counted on boot time from before it was
//     asked. The check stands in front of every write, so that a stopped process
//     that runs again does not forward what it had read before.
//   - A gate that was shut stays shut: its sessions end, with 57P01 where the
//     stream stands between two messages; new ones need a new gate.
//   - Nothing is answered to a client that is held, so that it can still be
//     passed on untouched; a hold is bounded in number and in time.
//
// It never decides who leads and never reads the store. Bytes of an encrypted session
// pass unseen, unless Options.TLS has TLS end here: then the same engine works over
// secured, which puts the gate under crypto/tls. Logins are passed on, so TLS on both
// legs is not offered: SCRAM's channel binding would rightly fail.
//
// What clients felt of a lost primary is journalled (outages), and members that are
// asked are told where that can be read.
//
// Begin with Proxy, then gate, table and session; then copying and loop.
package proxy
