package sim

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/ha"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "the seed that TestSeed runs")
	dropFlag   = flag.String("drop", "", "faults of that seed to leave out, as 1,4,5")
	lastsFlag  = flag.String("lasts", "", "faults of that seed to shorten, as 3:1.5s,4:200ms")
	memberFlag = flag.Int("members", 0, "leave only so many of its members")
	mutantFlag = flag.String("mutant", "", "known-bad variant that TestSeed and TestExplore run")
	focusFlag  = flag.String("focus", "", "kinds of faults to draw from, as host-off,cut-store")
	firstFlag  = flag.Uint64("first", 1, "first seed of TestExplore")
	plainFlag  = flag.Bool("plain", false, "leave out what came to the simulator later")
	manyFlag   = flag.Int("worlds", 0, "how many worlds TestExplore runs")
)

func parseFocus(s string) []FaultKind {
	var out []FaultKind
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' }) {
		out = append(out, FaultKind(f))
	}
	return out
}

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
	lasts, err := parseLasts(*lastsFlag)
	if err != nil {
		t.Fatal(err)
	}
	if m := Mutant(*mutantFlag); m != "" && !slices.Contains(Mutants(), m) && !strings.HasPrefix(string(m), "rule ") {
		t.Fatalf("no such variant: %s; there are %v", m, Mutants())
	}
	r := Run(*seedFlag, Options{Trace: true, Drop: drop, Lasts: lasts, Members: *memberFlag, Mutant: Mutant(*mutantFlag), Focus: parseFocus(*focusFlag), Plain: *plainFlag})
	fmt.Println(r.Trace)
	if len(r.Violations) > 0 {
		t.Errorf("seed %d\n%s", r.Seed, r.Report())
	}
}

// TestExplore is for people who look for trouble.
func TestExplore(t *testing.T) {
	if *manyFlag == 0 {
		t.Log("no -worlds given")
		return
	}
	s := Many(*firstFlag, *manyFlag, Options{Mutant: Mutant(*mutantFlag), Focus: parseFocus(*focusFlag), Plain: *plainFlag}, nil)
	for _, r := range s.Failures {
		fmt.Println(r.Seed, r.Violations)
	}
	fmt.Printf("%s\n%+v\n", s, s.Total)
}

// TestTenThousandSeeds is the ordinary run: no world breaks an invariant, and
// the worlds exercise what they are there for.
func TestTenThousandSeeds(t *testing.T) {
	n := worlds
	if testing.Short() {
		n = 300
	}
	s := Many(1, n, Options{}, nil)
	t.Log(s)
	for i, r := range s.Failures {
		if i == 3 {
			t.Errorf("and %d more", s.Failed-i)
			break
		}
		t.Errorf("seed %d\n%s", r.Seed, r.Report())
	}
	for what, n := range map[string]int{"failover": s.WithFailover, "fence": s.WithFence, "rewind": s.WithRewind,
		"lost reply": s.WithLostReply, "switchover": s.WithSwitchover, "fault between two actions": s.WithMidTurn,
		"restart on request": s.WithRestart, "reinitialization": s.WithReinit} {
		if n == 0 {
			t.Errorf("no world had a %s", what)
		}
	}
	for _, k := range s.Total.Acted.None() {
		if why, known := unacted[k]; !known {
			t.Errorf("the action %s was never carried out", k)
		} else {
			t.Logf("the action %s was never carried out: %s", k, why)
		}
	}
	for _, k := range s.Total.Interrupted.None() {
		if why, known := uninterrupted[k]; !known {
			t.Errorf("the action %s was never interrupted", k)
		} else {
			t.Logf("the action %s was never interrupted: %s", k, why)
		}
	}
	for what, n := range map[string]int{"store that went back": s.Total.Restores, "member that saw it": s.Total.NewStores,
		"overtaken word of a watch": s.Total.Overtaken, "compaction": s.Total.Compactions, "take-over of a running server": s.Total.TakeOvers,
		"server stopped by a guard without an agent": s.Total.GuardStops, "session ended by a helper": s.Total.Released,
		"election among the voters of an embedded store": s.Total.Elections - s.Total.Embedded} {
		if n == 0 {
			t.Errorf("no world had a %s", what)
		}
	}
	for _, rule := range s.Total.Silent() {
		if why, known := silent[rule]; !known {
			t.Errorf("the rule %s never fired", rule)
		} else {
			t.Logf("the rule %s never fired: %s", rule, why)
		}
	}
	writeCoverage(t, s)
}

// silent are the rules that no world can make fire, and why.
var silent = map[string]string{}

// unacted are the actions that no world can bring about, and why; uninterrupted
// those that nothing can come between.
var (
	unacted       = map[ha.ActionKind]string{}
	uninterrupted = map[ha.ActionKind]string{}
)

// TestSameSeedSameWorld: a seed has one course, or nothing could be repeated.
func TestSameSeedSameWorld(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		a, b := Run(seed, Options{Trace: true}), Run(seed, Options{Trace: true})
		if a.Trace != b.Trace {
			t.Fatalf("seed %d had two courses", seed)
		}
		if c := Run(seed, Options{}); c.Stats != a.Stats {
			t.Fatalf("seed %d takes another course when it is traced: %+v and %+v", seed, a.Stats, c.Stats)
		}
	}
}

// TestRegressions runs the seeds that once broke an invariant.
func TestRegressions(t *testing.T) {
	f, err := os.Open("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		what, why, _ := strings.Cut(line, "#")
		fields := strings.Fields(what)
		seed, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			t.Fatalf("testdata/seeds.txt: %q: %v", line, err)
		}
		var focus []FaultKind
		if len(fields) > 1 {
			focus = parseFocus(fields[1])
		}
		// As it was when it was found, and as it is now.
		for _, plain := range []bool{true, false} {
			if r := Run(seed, Options{Focus: focus, Plain: plain}); len(r.Violations) > 0 {
				t.Errorf("seed %d again (%s)\n%s", seed, strings.TrimSpace(why), r.Report())
			}
		}
	}
}

// TestShrink: what is left of a failing world still fails, is plainer than it
// was, and is told shortly, with a command that repeats it.
func TestShrink(t *testing.T) {
	opt := Options{Mutant: NoGuard}
	var found Result
	Many(1, 1000, opt, func(r Result) bool {
		if len(r.Violations) > 0 {
			found = r
		}
		return len(r.Violations) > 0
	})
	if len(found.Violations) == 0 {
		t.Fatal("nothing to shrink")
	}
	small := Smallest(found)
	if r := Run(small.Seed, small.Options); len(r.Violations) == 0 {
		t.Errorf("the smallest world does not fail: %s", small.Command())
	}
	if len(small.needed()) == 0 || len(small.needed()) > 3 {
		t.Errorf("it needs the faults %v of %d", small.needed(), len(small.Faults))
	}
	report := found.Report()
	for _, want := range []string{"go test ./sim", "VIOLATION", "FAULT", "[crashed-primary]"} {
		if !strings.Contains(report, want) {
			t.Errorf("the report does not tell %q", want)
		}
	}
	if n := strings.Count(report, "\n"); n > storyLines+20 {
		t.Errorf("the report has %d lines", n)
	}
	t.Log(report)
}

// TestForever ends when it is told to, or has run all, says what it ran, and
// keeps the seeds that failed.
func TestForever(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var out, failures strings.Builder
	stopped := Forever(ctx, Watch{First: 1, Jobs: 2, Live: true, Failures: &failures,
		Out: writer(func(p []byte) {
			if out.Write(p); strings.Contains(out.String(), "worlds/s") {
				cancel()
			}
		})})
	for _, want := range []string{"\r\x1b[K", "simulated years", "worlds with a failover"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it said %q, without %q", out.String(), want)
		}
	}
	if stopped.Failed > 0 || failures.Len() > 0 {
		t.Errorf("failures: %s", &failures)
	}
	out.Reset()
	if all := Forever(context.Background(), Watch{First: 1, Worlds: 7, Out: &out}); all.Worlds != 7 || strings.ContainsAny(out.String(), "\r\x1b") {
		t.Errorf("%d worlds, said %q", all.Worlds, out.String())
	}
	Watch{Out: &out, Failures: &failures}.failed(Result{Seed: 3, Violations: []Violation{{Invariant: "I1", What: "two write"}}})
	if !strings.HasPrefix(failures.String(), "3 # I1 violated") {
		t.Errorf("kept %q", &failures)
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
