// Package journal keeps the record of what a member saw, decided and did: one
// Record per turn whose decision changed, and one per action that ended.
//
// A record of a turn holds the whole input of the decision beside its output,
// so that Replay can decide again and must come to the same. Records are kept
// in memory (a ring of the newest), written as JSON lines into a directory that
// only the owner can read, and sent to subscribers.
//
// It never blocks who appends: the ring is filled at once, the disk is written
// by Run, beside. When the disk is slower than the turns, lines are dropped and
// counted; the gap is visible in the sequence numbers. It never interprets a
// record and never decides anything.
//
// No secret may enter: an observation has none, and the text of the dynamic
// configuration, which a person can fill with anything, is left out.
//
// How data passes: Append → ring and subscribers → Run → file. Reading back:
// Open reads the newest records; Since serves the ring, and the files for what
// is older. Begin with Record.
package journal
