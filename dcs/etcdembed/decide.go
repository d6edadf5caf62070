package etcdembed

import (
	"fmt"
	"strings"
)

// answer is what one partner said on its peer port.
type answer struct {
	from Member
	kind answerKind
	err  error
}

type answerKind int

const (
	silent     answerKind = iota // no answer: unknown, not absent
	fresh                        // runs, has no data, and would found a store
	bereft                       // runs, has no data, but knows that a store existed
	unfounded                    // its server runs, and no member has ever been elected into it
	founded                      // its server runs on a store that once worked
	mismatched                   // it was given another scope or other members
)

// standing is this member's place in a live majority's list of members.
type standing int

const (
	unknown      standing = iota // no majority answered
	absent                       // not in the list
	neverStarted                 // a founding voter that never said its client address
	started                      // anything else: it may have voted
)

// facts is all that the decision below may depend on.
type facts struct {
	hasLog   bool // the directory holds a write-ahead log
	knows    bool // a token is recorded, or there is a PostgreSQL data directory
	partners []answer
	place    standing
	quorum   int
}

type step int

const (
	lookAgain step = iota
	refuse         // and look again
	resume         // start on the existing log
	found          // start as a founding member
	join           // remove the old entry, come back as a learner
)

type plan struct {
	step step
	why  string
}

// decide says how a member starts. The danger is a member that has forgotten
// what it promised: as a voter with an empty log it could, with one other
// member that lags, form a majority that never saw what was confirmed. So a
// member without a log votes at once only where it certainly never voted:
//
//   - a live majority lists it as one that never started, or
//   - it has no trace of an earlier store, and so many partners say the same of
//     themselves (or run a store that never worked yet) that together they are
//     a majority: no store can have worked without one of them knowing.
//
// Everything else goes through a live majority (join) or waits for one.
func decide(f facts) plan {
	if f.hasLog {
		return plan{resume, "the directory holds this member's data"}
	}
	up := 1
	for _, a := range f.partners {
		switch a.kind {
		case mismatched:
			return plan{refuse, fmt.Sprintf("%s was given another scope or other members: the settings of scope and embedded.partners must agree on all nodes", a.from.Name)}
		case fresh, unfounded:
			up++
		}
	}
	switch {
	case f.place == neverStarted && !f.knows:
		return plan{found, "the store is founded and this member has never been part of it yet"}
	case f.place != unknown:
		return plan{join, "this member's directory is gone, and the others have a majority"}
	case f.knows:
		return plan{refuse, "this member's directory of the store is gone, and no majority of the others answers" + f.unavailable() +
			". It will not start as a new store: that could give up what the old one confirmed. Start the other members; if their directories are lost for good, a person must decide: matriarch store recover"}
	case f.has(founded):
		return plan{lookAgain, "the store exists, but " + f.count(founded) + " members with its data are up" + f.unavailable()}
	case f.has(bereft):
		return plan{refuse, "a partner knows that a store existed here and has lost its directory" + f.unavailable() + ": start the member that still has one, or decide: matriarch store recover"}
	case up >= f.quorum:
		return plan{found, "a majority of the members is new"}
	}
	return plan{lookAgain, fmt.Sprintf("waiting for a majority: %d of %d members are up%s", up, len(f.partners)+1, f.unavailable())}
}

func (f facts) has(k answerKind) bool {
	for _, a := range f.partners {
		if a.kind == k {
			return true
		}
	}
	return false
}

func (f facts) count(k answerKind) string {
	n := 0
	for _, a := range f.partners {
		if a.kind == k {
			n++
		}
	}
	return fmt.Sprintf("%d of %d", n, len(f.partners)+1)
}

// unavailable names the partners that did not answer, and why.
func (f facts) unavailable() string { return missing(f.partners) }

func missing(partners []answer) string {
	var list []string
	for _, a := range partners {
		if a.kind == silent {
			list = append(list, fmt.Sprintf("%s (%s: %v)", a.from.Name, a.from.Peer, a.err))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return "; missing " + strings.Join(list, ", ")
}
