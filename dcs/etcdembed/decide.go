package etcdembed

import (
	"fmt"
	"strings"
)

// answer is what one partner said on its peer port.
type answer struct {
	from  Member
	kind  answerKind
	id    Identity // the store it belongs to; 0 none
	token string   // of a founding that it has recorded and not yet started
	err   error
}

type answerKind int

const (
	silent     answerKind = iota // no answer: unknown, not absent
	fresh                        // has no data and knows of no store
	bereft                       // has no data, but knows that a store existed
	pledged                      // has recorded a founding, and does not know yet that all have
	agreed                       // knows that all have recorded it, and will start
	holding                      // has a log, its server does not run
	running                      // its server runs
	mismatched                   // it was given another scope or other members
)

// votes reports whether the partner may have voted, or will.
func (k answerKind) votes() bool { return k == agreed || k == holding || k == running }

// held is what the data directory holds.
type held int

const (
	nothing     held = iota
	aPledge          // the record of a founding, without a log
	anAgreement      // the same, and all members have it
	aLog
)

// facts is all that the decision below may depend on.
type facts struct {
	name     string
	dir      held
	own      Identity // of what the directory holds
	marker   Identity // recorded beside the directory; 0 none
	hasData  bool     // there is a PostgreSQL data directory
	first    Member   // who offers the founding: the member of the smallest address
	partners []answer
	// live is the store of which a majority answered a linearizable question.
	live Identity
}

type step int

const (
	lookAgain step = iota
	refuse         // and look again
	offer          // record a new founding, which the others may record too
	pledge         // record the founding that was offered
	agree          // record that all have it
	found          // start as a founding member
	resume         // start on the existing log
	join           // remove the old entry, come back as a learner
)

func (s step) String() string {
	return [...]string{"look again", "refuse", "offer", "pledge", "agree", "found", "resume", "join"}[s]
}

type plan struct {
	step step
	why  string
	// token is the founding to record (pledge), id the store to join.
	token string
	id    Identity
}

// decide says how a member starts.
//
// The first danger is a member that has forgotten what it promised: as a voter
// with an empty log it could, with one other member that lags, form a majority
// that never saw what was confirmed. So a store is founded in three steps.
// When all members answer and none has ever heard of a store, the first one
// records a new token inside its directory (offer). The others record the same
// (pledge). When it knows that all have, it records that (agree) and starts, and
// so do they when they hear of it. So no vote of a store is ever given before
// all its members have its record: one that has none has lost its directory,
// and comes back as a learner through a live majority or not at all. One whose
// record is there without a log has not voted yet, and may start any time.
//
// The second danger are two stores, after a person gave the former one up. The
// higher generation wins. A member whose directory is of another one does not
// start its server, so that it neither votes nor answers clients.
func decide(f facts) plan {
	if p, over := f.superseded(); over {
		return p
	}
	switch f.dir {
	case aLog:
		return plan{step: resume, why: "the directory holds this member's data", id: f.own}
	case anAgreement:
		return plan{step: found, why: "all founding members have agreed", id: f.own}
	}
	for _, a := range f.partners {
		if a.kind == mismatched {
			return plan{step: refuse, why: fmt.Sprintf("%s was given another scope or other members: the settings of scope and embedded.partners must agree on all nodes", a.from.Name)}
		}
	}
	if f.dir == aPledge {
		return f.pledgedStep()
	}
	return f.emptyStep()
}

// superseded compares this member's store with all others it hears of.
func (f facts) superseded() (plan, bool) {
	mine, where := f.own, "its directory"
	if f.dir != nothing && f.marker != 0 && f.marker != f.own && !f.own.supersedes(f.marker) {
		return plan{step: refuse, why: fmt.Sprintf("the directory is of store %s, but this node was part of store %s since", f.own, f.marker) + remedy}, true
	}
	if f.dir == nothing {
		mine, where = f.marker, "the record beside its directory"
	}
	if mine == 0 {
		return plan{}, false
	}
	for _, a := range f.partners {
		switch {
		case a.id == 0 || a.id == mine:
		case a.id.supersedes(mine):
			if f.dir == aLog {
				return plan{step: refuse, why: formerStore(mine, a)}, true
			}
			// It has not voted: nothing is lost when it changes over.
			if a.id == f.live {
				return plan{step: join, why: "a majority of a later store answers", id: a.id}, true
			}
			if f.dir != nothing {
				return plan{step: lookAgain, why: fmt.Sprintf("%s knows of store %s, which took the place of %s; waiting for a majority of it%s", a.from.Name, a.id, mine, f.unavailable())}, true
			}
		case a.id.Generation() == mine.Generation() && a.kind.votes():
			return plan{step: refuse, why: fmt.Sprintf("%s is of store %s, and %s names store %s, which was founded apart from it. Decide which one holds: on the nodes of the other, stop the agent and move the store's directory and the record beside it (.json) away",
				a.from.Name, a.id, where, mine)}, true
		}
	}
	return plan{}, false
}

const remedy = ". This member stays out, so that there are not two stores: stop its agent and move the store's directory aside; then it rejoins as a new vote"

func formerStore(mine Identity, a answer) string {
	return fmt.Sprintf("this member's directory is of store %s, which was given up: %s knows of store %s", mine, a.from.Name, a.id) + remedy
}

// pledgedStep: this member has recorded a founding and not voted in it.
func (f facts) pledgedStep() plan {
	all := true
	for _, a := range f.partners {
		if a.id == f.own && a.kind.votes() {
			return plan{step: agree, why: a.from.Name + " knows that all members have agreed"}
		}
		all = all && a.kind == pledged && a.id == f.own
		lost := f.first.Name == a.from.Name && (a.kind == fresh || a.kind == bereft || a.kind == pledged && a.id != f.own)
		if lost || a.kind == bereft {
			return plan{step: refuse, why: fmt.Sprintf("this member has agreed to found store %s, and %s has lost its record of it: if no other member has started it, move the directory away here; otherwise start that one", f.own, a.from.Name)}
		}
	}
	if all && f.first.Name == f.name {
		return plan{step: agree, why: "all members have recorded the founding"}
	}
	return f.awaitAll()
}

// emptyStep: the directory holds nothing.
func (f facts) emptyStep() plan {
	knows := f.marker != 0 || f.hasData
	var offered answer
	same, up := true, 1
	for _, a := range f.partners {
		switch a.kind {
		case fresh:
			up++
		case pledged:
			up++
			same = same && (offered.id == 0 || offered.id == a.id)
			if offered.id == 0 || a.from.Name == f.first.Name {
				offered = a
			}
		}
	}
	switch {
	case f.live != 0 && f.marker != 0 && f.live != f.marker && !f.live.supersedes(f.marker):
		return plan{step: refuse, why: fmt.Sprintf("the others run store %s, but this node was part of store %s, which is not older", f.live, f.marker)}
	case f.live != 0:
		return plan{step: join, why: "this member has no directory, and the others have a majority", id: f.live}
	case knows:
		return plan{step: refuse, why: "this member's directory of the store is gone, and no majority of the others answers" + f.unavailable() +
			". It will not start as a new store: that could give up what the old one confirmed. Start the other members; if the majority is lost for good, a person must decide: matriarch store recover on a member that has its directory, or matriarch store found where none has"}
	case f.some(answerKind.votes) > 0:
		return plan{step: lookAgain, why: fmt.Sprintf("the store exists, but %d of %d members with its data are up%s", f.some(answerKind.votes), len(f.partners)+1, f.unavailable())}
	case f.some(func(k answerKind) bool { return k == bereft }) > 0:
		return plan{step: refuse, why: "a partner knows that a store existed here and has lost its directory" + f.unavailable() +
			": start the members that still have one; if there is none, a person must decide: matriarch store found"}
	case up <= len(f.partners):
		return f.awaitAll()
	case offered.id == 0 && f.first.Name == f.name:
		return plan{step: offer, why: "all members are new"}
	case offered.id != 0 && f.first.Name == f.name || !same:
		return plan{step: refuse, why: fmt.Sprintf("%s has agreed to a founding that this member does not know: has a disk been lost? If no member has started the store, move its directory away on %s", offered.from.Name, offered.from.Name)}
	case offered.from.Name == f.first.Name:
		return plan{step: pledge, why: offered.from.Name + " founds the store", token: offered.token, id: offered.id}
	}
	return f.awaitAll()
}

// awaitAll: founding needs everybody.
func (f facts) awaitAll() plan {
	up := 1 + f.some(func(k answerKind) bool { return k != silent })
	why := fmt.Sprintf("waiting to found the store, for which all members must be there: %d of %d are up%s", up, len(f.partners)+1, f.unavailable())
	if up <= len(f.partners) {
		why += ". Start the missing ones; to found it without them is a person's decision, for when no store ever existed: matriarch store found"
	}
	return plan{step: lookAgain, why: why}
}

func (f facts) some(is func(answerKind) bool) int {
	n := 0
	for _, a := range f.partners {
		if is(a.kind) {
			n++
		}
	}
	return n
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
