package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Step is one fault of a schedule.
type Step struct {
	At    time.Duration // since the round began
	For   time.Duration // until it is undone
	Fault string
	// Target is the member that leads when the fault strikes ("leader"), one that
	// does not ("replica"), or the one of that number ("0", "1", …).
	Target string
	// Draw is for what the fault itself chooses.
	Draw uint64
}

func (s Step) String() string {
	return fmt.Sprintf("%5.1f s %-18s %-8s for %.1f s", s.At.Seconds(), s.Fault, s.Target, s.For.Seconds())
}

// Round is a time of faults, after which everything is undone.
type Round struct {
	Length time.Duration
	Steps  []Step
}

// Schedule is everything that is drawn from a seed.
type Schedule struct {
	Seed        uint64
	Synchronous bool
	Tmpfs       []bool // whose data are on a file system that can be filled
	Timing      [3]int // ttl, loop_wait, retry_timeout in seconds
	Rounds      []Round
}

const (
	members = 3
	ttl     = 10 * time.Second
	// healing is what a round's end is reckoned to take.
	healing = 5 * time.Second
)

// Draw draws a schedule of about that length. Faults come from a shuffled deck,
// so that each strikes once before any strikes twice.
func Draw(seed uint64, length time.Duration) Schedule {
	r := rand.New(rand.NewPCG(seed, 0x6d617472))
	s := Schedule{Seed: seed, Synchronous: r.IntN(2) == 0, Tmpfs: make([]bool, members), Timing: [3]int{int(ttl.Seconds()), 1, 3}}
	for i, p := range r.Perm(members) {
		s.Tmpfs[p] = i == 0 || i < members-1 && r.IntN(2) == 0
	}
	var deck []string
	for spent := time.Duration(0); spent < length; {
		round := Round{Length: between(r, 14*time.Second, 26*time.Second)}
		for range 3 + r.IntN(5) {
			if len(deck) == 0 {
				deck = names()
				r.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
			}
			round.Steps = append(round.Steps, drawStep(r, round.Length, deck[0]))
			deck = deck[1:]
		}
		slices.SortFunc(round.Steps, func(a, b Step) int { return int(a.At - b.At) })
		s.Rounds = append(s.Rounds, round)
		spent += round.Length + healing
	}
	return s
}

func drawStep(r *rand.Rand, round time.Duration, fault string) Step {
	s := Step{Fault: fault, Draw: r.Uint64(), At: between(r, 0, round*5/10)}
	s.For = between(r, 300*time.Millisecond, 5*time.Second)
	if r.IntN(3) > 0 { // long enough for another to lead
		s.For = between(r, ttl, ttl*16/10)
	}
	s.For = min(s.For, round-s.At)
	switch n := r.IntN(10); {
	case n < 7:
		s.Target = "leader"
	case n < 9:
		s.Target = "replica"
	default:
		s.Target = fmt.Sprint(r.IntN(members))
	}
	return s
}

func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(max(to-from, 1))))
}

func (s Schedule) String() string {
	var b strings.Builder
	mode := "asynchronous"
	if s.Synchronous {
		mode = "synchronous"
	}
	fmt.Fprintf(&b, "seed %d, %s, data on a small tmpfs: %v\n", s.Seed, mode, s.Tmpfs)
	for i, r := range s.Rounds {
		fmt.Fprintf(&b, "round %d, %.1f s\n", i+1, r.Length.Seconds())
		for _, step := range r.Steps {
			fmt.Fprintf(&b, "  %s\n", step)
		}
	}
	return b.String()
}
