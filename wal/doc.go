// Package wal holds the vocabulary of PostgreSQL's write-ahead log: positions
// (LSN), timelines, and the histories that say how timelines descend from each
// other.
//
// It is pure: values in, values out. It never reads a file or asks a server.
// Everything above compares positions through History, never by bare LSN,
// because an LSN has a meaning only on a timeline: two servers at 0/5000000 on
// timelines 2 and 3 may hold different rows.
//
// Begin with Position and History.Place.
package wal
