package sim

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "the seed that TestSeed runs")
	dropFlag   = flag.String("drop", "", "faults of that seed to leave out, as 1,4,5")
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
	r := Run(*seedFlag, Options{Trace: true, Drop: drop, Mutant: Mutant(*mutantFlag), Focus: parseFocus(*focusFlag), Plain: *plainFlag})
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
	for _, rule := range s.Total.Silent() {
		if why, known := silent[rule]; !known {
			t.Errorf("the rule %s never fired", rule)
		} else {
			t.Logf("the rule %s never fired: %s", rule, why)
		}
	}
}

// silent are the rules that no world can make fire, and why.
var silent = map[string]string{
	"adopt-data":      "every world founds its cluster in its own store; data older than the store are not modelled",
	"foreign-data":    "no directory of another cluster is ever mounted",
	"stalled-primary": "no disk hangs for as long as primary_stall_timeout",
}

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

// TestShrink: what is left of a failing schedule still fails, and is no more
// than it was.
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
	opt.Drop = Shrink(found.Seed, opt)
	r := Run(found.Seed, opt)
	if len(r.Violations) == 0 || len(opt.Drop) > len(r.Faults) {
		t.Errorf("seed %d: dropping %v of %d faults leaves %v", found.Seed, opt.Drop, len(r.Faults), r.Violations)
	}
	if !strings.Contains(found.Report(), "go test ./sim") {
		t.Error("the report does not say how to repeat it")
	}
}

// TestForever ends when it is told to and says what it ran.
func TestForever(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var out strings.Builder
	w := writer(func(p []byte) { out.Write(p); cancel() })
	if err := ForeverFrom(ctx, w, 1); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "worlds") {
		t.Errorf("it said only %q", out.String())
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
