package sim

import (
	"fmt"
	"testing"
)

// hunts says for each known-bad variant which faults bring it out. The
// checkers do not know which variant runs.
var hunts = map[Mutant]struct {
	focus  []FaultKind
	expect []string // any of these must be what is violated
}{
	NoGuard:       {[]FaultKind{AgentPause, AgentMidStop}, []string{"I1"}},
	FromReply:     {[]FaultKind{Stutter, SlowNet}, []string{"I1"}},
	BlindTake:     {[]FaultKind{SlowNet, LoseReplies, CutOneWay, AgentKill, ServerCrash}, []string{"I1", "I5"}},
	ReleaseByName: {[]FaultKind{AgentKill, AgentMidStop, SlowNet, AgentPause, StoreLeader}, []string{"I1"}},
	VoterStreams:  {[]FaultKind{HostFreeze, GuardPause, Isolate, SlowNet, CutPair}, []string{"V1", "I2"}},
	NoClaim:       {[]FaultKind{HostOff, Isolate, ServerCrash, CutPair, CutStore}, []string{"I5"}},
	IgnoreSync:    {[]FaultKind{CutPair, Isolate, HostOff, SlowDisk}, []string{"I2"}},
	FollowAlways:  {[]FaultKind{Isolate, CutStore, CutPair}, []string{"I4"}},
	NoHandover:    {[]FaultKind{AgentStop, CutPair, SlowDisk, AskSwitchover, SlowNet}, []string{"V3", "I3"}},
	NoLagLimit:    {[]FaultKind{CutPair, HostOff, SlowNet}, []string{"I3"}},
	StartBlind:    {[]FaultKind{HostOff, AgentKill, ServerCrash}, []string{"I1"}},
	IgnoreRewind:  {[]FaultKind{HostOff, AgentKill, CutStore, ServerCrash, Isolate}, []string{"D1"}},

	FailsafeMajority: {[]FaultKind{CutStore, CutPair, CutOneWay}, []string{"I1"}},
	FailsafeForgets:  {[]FaultKind{CutStore, StoreLeader}, []string{"I1"}},

	CloneDestroys: {[]FaultKind{CutStore, Isolate, HostOff, CutPair}, []string{"I8"}},

	IgnoreStore:  {[]FaultKind{StoreRestore, CutStore, Isolate}, []string{"L6", "I1"}},
	KeepSessions: {[]FaultKind{StoreRestore, CutStore, Isolate}, []string{"L6", "I1"}},
	ForgetStore:  {[]FaultKind{StoreRestore, AgentKill, HostOff}, []string{"L6", "I1"}},
	AskedLength:  {[]FaultKind{Stores, AgentPause, AgentMidStop, Isolate}, []string{"I1"}},
	NoSlack:      {[]FaultKind{Stores, AgentPause, AgentMidStop, Isolate}, []string{"I1"}},
	AdoptBlind:   {[]FaultKind{TakeOver, AgentKill, CutStore, Isolate}, []string{"I1"}},
	ReleaseEarly: {[]FaultKind{TakeOver, AgentKill, SlowDisk}, []string{"I1"}},
	GuardReceipt: {[]FaultKind{Stutter, AgentPause, SlowNet}, []string{"I1"}},
}

// TestMutants: each known-bad variant is caught within a bounded number of
// worlds, by the invariant that it breaks; or the simulator proves nothing.
func TestMutants(t *testing.T) {
	const bound = 4000
	for _, m := range Mutants() {
		t.Run(string(m), func(t *testing.T) {
			hunt, ok := hunts[m]
			if !ok {
				t.Fatal("nobody hunts it")
			}
			caught := func(r Result) bool {
				for _, v := range r.Violations {
					for _, e := range hunt.expect {
						if v.Invariant == e {
							return true
						}
					}
				}
				return false
			}
			var by string
			s := Many(1, bound, Options{Mutant: m, Focus: hunt.focus}, func(r Result) bool {
				if caught(r) {
					by = fmt.Sprintf("seed %d: %v", r.Seed, r.Violations[0])
				}
				return by != ""
			})
			if by == "" {
				t.Errorf("not caught in %d worlds; what else was violated: %d worlds", s.Worlds, s.Failed)
			}
			t.Logf("caught in the world number %d, %s", s.Worlds, by)
		})
	}
}
