// Package hand is the part of a drill that runs on a member's host, as
// `matriarch drill-hand VERB`, started from afar (drill/remote) by a command such
// as ssh. It finds the member's agent by the port of its REST interface, signals
// processes, and starts again what it stopped.
//
// What it is asked comes as one line of JSON on standard input, after it greeted,
// and is answered by one on standard output. Nothing but the verb is on the
// command line: an agent's environment, which is needed to start it again, may
// hold passwords. Since nothing is done before that line came, a drill that is
// killed while its connection is made has asked for nothing; and a line that comes
// late is not taken, since the way back may have been gone by then.
//
// A stop and a pause are made by processes of their own, in sessions of their
// own, which go on when the connection breaks. That of a stop waits until the
// agent has ended, and that it is at work is marked meanwhile (by a socket's name,
// which the kernel takes back), so that a way back that comes earlier waits for
// it. That of a pause ends it at its time, whatever becomes of all others.
package hand
