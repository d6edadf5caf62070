package sim

import (
	"fmt"
	"os"
	"testing"

	"github.com/matriarch-ha/matriarch/ha"
)

func TestZZ(t *testing.T) {
	if os.Getenv("ZZ") == "" {
		t.Skip()
	}
	n := 150
	ids := ha.RuleIDs()
	try := func(m Mutant) {
		hits := map[string]int{}
		first := map[string]uint64{}
		Many(1, n, Options{Mutant: m, StopAtFirst: true}, func(r Result) bool {
			for _, v := range r.Violations {
				hits[v.Invariant]++
				if first[v.Invariant] == 0 || r.Seed < first[v.Invariant] {
					first[v.Invariant] = r.Seed
				}
			}
			return hits["I1"] > 5 || hits["I7"] > 10 || hits["I6"] > 10
		})
		fmt.Println(m, hits, first)
	}
	if os.Getenv("ZZ") == "new" {
		for _, m := range []Mutant{Unfenced, NoBudget, FrozenClock, MineByName, EndSession, Unlocked, NumbersOnly, NoVote, KeyFirst, NamesFirst, ReleaseClaim, ReleaseUp, DropRequests, ForgetRequest, EntryForever, EntryFromReply} {
			try(m)
		}
		return
	}
	for i := 0; i+2 < len(ids); i++ {
		try(Moved(ids[i], ids[i+1]))
	}
	for i := 0; i+1 < len(ids); i++ {
		try(Moved(ids[i], ids[len(ids)-2]))
	}
}
