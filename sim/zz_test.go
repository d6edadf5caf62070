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
	n := 60
	ids := ha.RuleIDs()
	var focus map[Mutant][]FaultKind
	try := func(m Mutant) {
		hits := map[string]int{}
		first := map[string]uint64{}
		Many(1, n, Options{Mutant: m, StopAtFirst: true, Focus: focus[m]}, func(r Result) bool {
			for _, v := range r.Violations {
				hits[v.Invariant]++
				if first[v.Invariant] == 0 || r.Seed < first[v.Invariant] {
					first[v.Invariant] = r.Seed
				}
			}
			return len(hits) > 0 && (hits["I1"] > 3 || hits["I2"] > 3 || hits["I3"] > 3 || hits["I4"] > 3 || hits["I8"] > 1 || hits["register"] > 2) || hits["I7"] > 10 || hits["I6"] > 10
		})
		fmt.Println(m, hits, first)
	}
	if os.Getenv("ZZ") == "new" {
		focus = map[Mutant][]FaultKind{
			MineByName:     {AgentKill, AgentMidKill, CutStore, Isolate, SlowNet, AgentPause},
			NumbersOnly:    {HostOff, Isolate},
			KeyFirst:       {CutPair, HostOff, SlowNet, SlowDisk, AgentKill},
			NamesFirst:     {CutPair, HostOff, SlowNet, AgentKill, AskSync},
			ReleaseClaim:   {SlowDisk, SlowNet, AgentKill},
			EntryForever:   {HostFreeze, EntryCutStore, EntryCutMember},
			EntryFromReply: {HostFreeze, EntryStop, SlowNet, Isolate},
			NoVote:         {CutPair, SlowNet, HostOff, Isolate},
		}
		for _, m := range []Mutant{MineByName, NumbersOnly, NamesFirst, ReleaseClaim, EntryForever, EntryFromReply, NoVote} {
			try(m)
		}
		return
	}
	for i := 0; i+2 < len(ids); i++ {
		try(Moved(ids[i+1], ids[i]))
	}
	for i := 0; i+2 < len(ids); i++ {
		try(Moved(ids[i], ids[len(ids)-2]))
	}
}
