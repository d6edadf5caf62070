package drill

import (
	"slices"
	"time"
)

// Gap is a time in which no write was acknowledged.
type Gap struct {
	From, To time.Duration // in the ledger's time
	// Open: none was acknowledged until the writing ended, at To.
	Open bool
}

// Length is how long it lasted, or had lasted when the writing ended.
func (g Gap) Length() time.Duration { return g.To - g.From }

// Outage is the longest time without an acknowledged write that ended after the
// fault. It begins at the last acknowledgement before, so it counts from a
// client's view and includes the usual pause between two writes (see Usual): it
// is never too short. end is when the writing ended.
func Outage(acks []Ack, fault, end time.Duration) Gap {
	var longest Gap
	for _, g := range gaps(acks, end) {
		if g.To > fault && g.Length() > longest.Length() {
			longest = g
		}
	}
	return longest
}

// Usual is the longest time without an acknowledged write before the fault: how
// finely this drill could measure.
func Usual(acks []Ack, fault time.Duration) time.Duration {
	var before []Ack
	for _, a := range acks {
		if a.At <= fault {
			before = append(before, a)
		}
	}
	var longest time.Duration
	for i, g := range gaps(before, fault) {
		if i > 0 && !g.Open { // the first is the way to the first write
			longest = max(longest, g.Length())
		}
	}
	return longest
}

// gaps are all times between two acknowledged writes, from the begin to the end.
func gaps(acks []Ack, end time.Duration) []Gap {
	at := make([]time.Duration, 0, len(acks))
	for _, a := range acks {
		at = append(at, a.At)
	}
	slices.Sort(at)
	var out []Gap
	var from time.Duration
	for _, t := range at {
		out = append(out, Gap{From: from, To: t})
		from = t
	}
	if end > from {
		out = append(out, Gap{From: from, To: end, Open: true})
	}
	return out
}
