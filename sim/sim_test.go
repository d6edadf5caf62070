package sim

import (
	"flag"
	"fmt"
	"strings"
	"testing"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "the seed that TestSeed runs")
	dropFlag   = flag.String("drop", "", "faults of that seed to leave out, as 1,4,5")
	mutantFlag = flag.String("mutant", "", "known-bad variant that TestSeed runs")
)

// TestSeed repeats one world and prints its story.
func TestSeed(t *testing.T) {
	if *seedFlag == 0 {
		t.Log("no -seed given")
		return
	}
	drop, err := parseDrop(*dropFlag)
	if err != nil {
		t.Fatal(err)
	}
	r := Run(*seedFlag, Options{Trace: true, Drop: drop, Mutant: Mutant(*mutantFlag), Focus: focus()})
	fmt.Println(r.Trace)
	if len(r.Violations) > 0 {
		t.Error(r.Report())
	}
}

var manyFlag = flag.Int("worlds", 0, "how many worlds TestExplore runs, with -first and -mutant")
var firstFlag = flag.Uint64("first", 1, "first seed of TestExplore")

// TestExplore is for people who look for trouble.
func TestExplore(t *testing.T) {
	if *manyFlag == 0 {
		t.Log("no -worlds given")
		return
	}
	s := Many(*firstFlag, *manyFlag, Options{Mutant: Mutant(*mutantFlag), Focus: focus()}, nil)
	for _, r := range s.Failures {
		fmt.Println(r.Seed, r.Violations)
	}
	fmt.Printf("%d worlds, %d failed, %.0f/s, %.0f steps and %.0f turns per world; worlds with failover %d fence %d rewind %d lost reply %d switchover %d mid-turn %d\n%+v\nsilent %v\n",
		s.Worlds, s.Failed, s.PerSecond(), float64(s.Total.Steps)/float64(s.Worlds), float64(s.Total.Turns)/float64(s.Worlds), s.WithFailover, s.WithFence, s.WithRewind, s.WithLostReply, s.WithSwitchover, s.WithMidTurn, s.Total, s.Total.Silent())
}

var focusFlag = flag.String("focus", "", "kinds of faults to draw from, separated by commas")

func focus() []FaultKind {
	var out []FaultKind
	for _, f := range strings.FieldsFunc(*focusFlag, func(r rune) bool { return r == ',' }) {
		out = append(out, FaultKind(f))
	}
	return out
}
