// Package syncrep plans the steps by which the sync key and PostgreSQL's
// synchronous_standby_names move together, for synchronous_mode: on with one
// standby.
//
// The invariant, at every instant and after a crash between any two steps: a
// standby listed in the sync key is one that the primary has waited for at
// every commit since the standby was last known to have everything. So a name
// leaves the key before it leaves PostgreSQL's setting, and enters the key only
// after PostgreSQL waits for it and it has caught up with all that was
// acknowledged before.
//
// It is pure: one call, one step. The caller performs it and asks again.
package syncrep

import (
	"fmt"
	"slices"
	"strings"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// Standby is a streaming standby that may be chosen.
type Standby struct {
	Name       string
	Priority   int // sync_priority; 0 never
	NoFailover bool
	SyncState  string // as the primary reports it: sync, quorum, potential, async
	Flush      wal.LSN
}

// State is what the planner looks at.
type State struct {
	Me   string
	Mode cluster.SyncMode
	Sync cluster.SyncState
	// InForce are the names PostgreSQL waits for now.
	InForce []string
	// Streaming lists the standbys connected and streaming, sorted by name.
	Streaming []Standby
	// Mark is a flushed position of the primary read when InForce had been in
	// force for a while: what was acknowledged without waiting lies before it.
	// Zero: not taken yet.
	Mark wal.LSN
	// Open: the key has the version still that it had before a write whose outcome is
	// not known, of this agent or of one before it. That write may arrive yet.
	Open bool
}

// StepKind says which side a step changes.
type StepKind string

// The kinds of steps.
const (
	None     StepKind = ""
	WriteKey StepKind = "write-key" // the sync key becomes Sync, compare-and-set
	SetNames StepKind = "set-names" // synchronous_standby_names becomes Names
)

// Step is the next thing to do.
type Step struct {
	Kind  StepKind
	Sync  cluster.SyncState
	Names []string
	Why   string
}

// Next returns the next step, or a step of kind None when all is well.
func Next(s State) Step {
	if s.Mode != cluster.SyncOn {
		return off(s)
	}
	if !strings.EqualFold(s.Sync.Leader, s.Me) {
		return key(s, nil, "the sync key names another leader")
	}
	if s.Sync.Before != nil {
		return key(s, s.Sync.Standbys, "the promotion came about")
	}
	picked := pick(s)
	if keep := intersect(s.Sync.Standbys, picked, s.InForce); len(keep) < len(s.Sync.Standbys) {
		return key(s, keep, fmt.Sprintf("%s leaves the synchronous set", strings.Join(s.Sync.Standbys, ",")))
	}
	if s.Open {
		// It may add a name that is about to leave PostgreSQL's setting, or take one away
		// that is relied on. The next write takes its place: only one finds the version.
		return key(s, s.Sync.Standbys, "an earlier write of the key may arrive yet")
	}
	if !sameNames(s.InForce, picked) {
		return Step{Kind: SetNames, Names: picked, Why: "the chosen synchronous standby changed"}
	}
	if confirmed := confirm(s, picked); !sameNames(confirmed, s.Sync.Standbys) && len(confirmed) > 0 {
		return key(s, confirmed, fmt.Sprintf("%s has caught up", strings.Join(confirmed, ",")))
	}
	return Step{}
}

// off takes the key away before PostgreSQL stops waiting.
func off(s State) Step {
	switch {
	case s.Sync.Active():
		return Step{Kind: WriteKey, Sync: cluster.SyncState{Version: s.Sync.Version}, Why: "synchronous mode is off"}
	case len(s.InForce) > 0:
		return Step{Kind: SetNames, Why: "synchronous mode is off"}
	}
	return Step{}
}

func key(s State, standbys []string, why string) Step {
	return Step{Kind: WriteKey, Why: why,
		Sync: cluster.SyncState{Leader: s.Me, Standbys: standbys, Version: s.Sync.Version}}
}

// pick chooses the standby: priority, then the state PostgreSQL already gives
// it (so that the choice is stable), then how far it is.
func pick(s State) []string {
	cands := slices.DeleteFunc(slices.Clone(s.Streaming), func(c Standby) bool { return c.Priority <= 0 })
	slices.SortStableFunc(cands, func(a, b Standby) int {
		return cmpTrue(!a.NoFailover, !b.NoFailover,
			a.Priority-b.Priority,
			cmpBool(s.Sync.HasStandby(a.Name), s.Sync.HasStandby(b.Name)),
			rank(a.SyncState)-rank(b.SyncState),
			cmpLSN(a.Flush, b.Flush),
			-strings.Compare(a.Name, b.Name))
	})
	if len(cands) == 0 {
		return nil
	}
	return []string{cands[0].Name}
}

// confirm lists the picked standbys that have everything acknowledged so far.
func confirm(s State, picked []string) []string {
	var out []string
	for _, c := range s.Streaming {
		if slices.Contains(picked, c.Name) &&
			(s.Sync.HasStandby(c.Name) || (c.SyncState == "sync" && s.Mark != 0 && c.Flush >= s.Mark)) {
			out = append(out, c.Name)
		}
	}
	return out
}

func rank(state string) int {
	return slices.Index([]string{"async", "potential", "quorum", "sync"}, state)
}

// cmpTrue orders descending: the first non-zero of the comparisons decides.
func cmpTrue(a, b bool, rest ...int) int {
	for _, c := range append([]int{cmpBool(a, b)}, rest...) {
		if c != 0 {
			return -c
		}
	}
	return 0
}

func cmpBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func cmpLSN(a, b wal.LSN) int {
	switch {
	case a == b:
		return 0
	case a > b:
		return 1
	}
	return -1
}

// intersect keeps the names that all lists have, without regard to case.
func intersect(names []string, lists ...[]string) []string {
	var out []string
	for _, n := range names {
		all := true
		for _, l := range lists {
			all = all && slices.ContainsFunc(l, func(o string) bool { return strings.EqualFold(n, o) })
		}
		if all {
			out = append(out, n)
		}
	}
	return out
}

func sameNames(a, b []string) bool {
	return len(a) == len(b) && len(intersect(a, b)) == len(a)
}
