package sim

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/ha"
)

var update = flag.Bool("update", false, "write the tables of docs/simulation.md anew")

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

	NoFence:       {[]FaultKind{Wide, HostFreeze, Orphan}, []string{"I1"}},
	CloneDestroys: {[]FaultKind{CutStore, Isolate, HostOff, CutPair}, []string{"I8"}},

	IgnoreStore:  {[]FaultKind{StoreRestore, CutStore, Isolate}, []string{"L6", "I1"}},
	ForgetStore:  {[]FaultKind{StoreRestore, AgentKill, HostOff}, []string{"L6", "I1"}},
	TrustFirst:   {[]FaultKind{StoreRestore, CutStore, Isolate}, []string{"L6", "I1"}},
	AskedLength:  {[]FaultKind{Stores, AgentPause, AgentMidStop, Isolate}, []string{"I1"}},
	NoSlack:      {[]FaultKind{Stores, AgentPause, AgentMidStop, Isolate}, []string{"I1"}},
	AdoptBlind:   {[]FaultKind{TakeOver, AgentKill, CutStore, Isolate}, []string{"I1"}},
	ReleaseEarly: {[]FaultKind{TakeOver, AgentKill, SlowDisk}, []string{"I1"}},
	GuardReceipt: {[]FaultKind{Stutter, AgentPause, SlowNet}, []string{"I1"}},
	NoVoid:       {[]FaultKind{SessionKill, AgentStarve}, []string{"I1"}},

	Unfenced:      {[]FaultKind{AgentPause, AgentStarve, SlowDisk}, []string{"I1"}},
	NoBudget:      {[]FaultKind{AgentPause, AgentMidStop}, []string{"I1"}},
	FrozenClock:   {[]FaultKind{HostFreeze, CutStore, Isolate}, []string{"I1"}},
	MineByName:    {[]FaultKind{AgentKill, AgentMidKill, CutStore, Isolate}, []string{"I1"}},
	EndSession:    {[]FaultKind{AgentKill}, []string{"I1"}},
	Unlocked:      {[]FaultKind{HostOff, AgentStop}, []string{"I1", "I5"}},
	KeyFirst:      {[]FaultKind{CutPair, HostOff, SlowNet, SlowDisk}, []string{"I2", "register"}},
	ReleaseUp:     {[]FaultKind{AskSwitchover, AgentStop}, []string{"I1"}},
	DropRequests:  {[]FaultKind{AskRestart}, []string{"I7"}},
	ForgetRequest: {[]FaultKind{AskSwitchover}, []string{"I7"}},
	OldProof:      {[]FaultKind{AgentStop, AskSwitchover, CutPair, Isolate, HostOff}, []string{"I2"}},
	EntryForever:  {[]FaultKind{HostFreeze}, []string{"I1", "register"}},
	EntryReply:    {[]FaultKind{HostFreeze, EntryStutter}, []string{"I1", "register"}},

	LSNAlone:     {[]FaultKind{CutPair, HostOff, Isolate}, []string{"I3", "V3"}},
	DescentByLSN: {[]FaultKind{CutPair, HostOff, Isolate}, []string{"I3", "V3"}},
	RecordByLSN:  {[]FaultKind{CutStore, CutPair, StopPromoted, LoseReplies}, []string{"V3"}},

	PutBackBlind:   {[]FaultKind{CutStore, Isolate, HostFreeze, AskSync}, []string{"I2", "register"}},
	NamesFirst:     {[]FaultKind{CutPair, CutStore, LoseReplies, AgentMidKill, AgentMidStop}, []string{"I2", "register"}},
	KeepStalled:    {[]FaultKind{Wide, DiskStuck}, []string{"G8"}},
	PostmasterOnly: {[]FaultKind{CutStore, Isolate, AgentPause}, []string{"I1"}},
}

// rulesOf says which rule each variant breaks, and how, for docs/simulation.md.
var rulesOf = map[Mutant][2]string{
	NoGuard:       {"L2, G2", "no guard kills when the agent cannot"},
	Unfenced:      {"I1", "neither the agent nor the guard stops a primary whose lease is over"},
	FromReply:     {"L2, L3", "the lease is counted from the answer"},
	NoBudget:      {"L2", "no time is left for the kill"},
	FrozenClock:   {"L4", "a clock that stands still while the host is frozen"},
	BlindTake:     {"L5", "the leader key is replaced, not created"},
	ReleaseByName: {"L5", "the release deletes whatever bears the name"},
	MineByName:    {"L5", "a key with the member's name is its own, whoever's session it has"},
	EndSession:    {"L7", "the session of a killed agent is closed while its server runs"},
	StartBlind:    {"G7", "a primary is started because it was one"},
	VoterStreams:  {"V1", "who votes goes on streaming"},
	NoClaim:       {"V2, I5", "PostgreSQL picks the timeline's number alone"},
	Unlocked:      {"I1", "the best member promotes and takes no lease"},
	NoHandover:    {"V3", "the last record of a clean stop is not asked for"},
	ReleaseUp:     {"V3", "the lease is given up while the server still writes"},
	IgnoreSync:    {"I2", "anybody may lead in synchronous mode"},
	KeyFirst:      {"I2", "the sync key names a standby before the primary waits for it"},
	NoLagLimit:    {"I3", "maximum_lag_on_failover is not looked at"},
	FollowAlways:  {"D3, I4", "divergence is not looked for: LSNs count, not timelines"},
	IgnoreRewind:  {"D1", "a half rewound directory is started"},
	CloneDestroys: {"D2, I8", "the replaced directory is deleted"},
	DropRequests:  {"I7", "a restart is said to be done, and is not"},
	ForgetRequest: {"I7", "a switchover is cleared without a word"},

	OldProof:       {"V3, I2", "the record of an earlier leadership lifts the synchronous rule too"},
	PutBackBlind:   {"I2", "who still replays its log says that it was not promoted, and puts the sync key back"},
	NamesFirst:     {"I2", "a primary stops waiting for a standby that the sync key still names"},
	KeepStalled:    {"G8", "a primary that cannot commit keeps the lease"},
	PostmasterOnly: {"G1", "a kill leaves the backends"},

	LSNAlone:     {"V2, I3", "an election compares LSNs, and no timelines"},
	DescentByLSN: {"V2, I3", "who may lead: by LSN alone, though its timeline has left the cluster's"},
	RecordByLSN:  {"V3", "who has the last record of a clean stop: by LSN alone"},

	EntryForever: {"E1", "the sessions of the entrypoint outlive what the leader said of its lease"},
	EntryReply:   {"E1", "the entrypoint counts what the leader said of its lease from the answer"},

	"ignore-new-store":   {"L6", "a store that went back is as good as before"},
	"keep-sessions":      {"L5, L6", "a session goes on in a store that went back"},
	"forget-store":       {"L6", "an agent that starts does not know which store it had"},
	"trust-first-store":  {"L6", "with no note of a store before, the first one seen is taken for it"},
	"asked-not-granted":  {"L1", "the lease's length is the one that was asked for"},
	"no-slack":           {"L3", "the store's own coarseness is not allowed for"},
	"adopt-blind":        {"G6", "the session of the agent before counts without proof"},
	"release-early":      {"G5", "the helper ends the session before the server is gone"},
	"guard-from-receipt": {"L2", "the guard counts from when it was told"},
	"guard-not-told":     {"I1", "the guard goes by the deadline of a lease that was lost before it"},
	"failsafe-majority":  {"V6", "a majority's word keeps a leader that has no store"},
	"failsafe-forgets":   {"V6", "a promise to leave the lease alone is not kept"},
	"no-kernel-fence":    {"G3", "the kernel is never told of the deadline"},
}

// swaps are tables with one rule in another's place, and what comes of it.
var swaps = []struct {
	id, to ha.RuleID
	focus  []FaultKind
	expect []string
	about  string
}{
	{ha.Lead, ha.SwitchoverAway, []FaultKind{AskSwitchover}, []string{"I7", "I6"}, "duties come before a switchover"},
	{ha.ReleaseOnStop, ha.HandOver, []FaultKind{AgentStop}, []string{"I6", "I7"}, "the stop of an agent cuts its own handover short"},
	{ha.Diverged, ha.Idle, []FaultKind{Isolate, CutStore}, []string{"I4", "I6"}, "divergence is looked for last"},
	{ha.CrashedReplica, ha.Diverged, nil, []string{"I6", "I4"}, "what is down is started before it is known whether it diverged"},
	{ha.NoData, ha.CloneData, nil, []string{"I6"}, "who has no data waits before it copies"},
	{ha.WaitForBootstrap, ha.BootstrapCluster, nil, []string{"I6"}, "everybody waits for somebody else to found the cluster"},
	{ha.Idle, ha.LeaseLost, nil, []string{"I6"}, "nothing is ever done"},
}

// hunted is what a hunt came to.
type hunted struct {
	rule, about string
	by          Violation
	seed        uint64
}

// hunt runs worlds until one breaks what is expected.
func hunt(m Mutant, focus []FaultKind, expect []string, bound int) (hunted, Summary) {
	var h hunted
	s := Many(1, bound, Options{Mutant: m, Focus: focus}, func(r Result) bool {
		for _, v := range r.Violations {
			if slices.Contains(expect, v.Invariant) && (h.seed == 0 || r.Seed < h.seed) {
				h.by, h.seed = v, r.Seed
			}
		}
		return h.seed != 0
	})
	return h, s
}

// TestMutants: each known-bad variant is caught within a bounded number of
// worlds, by the invariant that it breaks; or the simulator proves nothing.
func TestMutants(t *testing.T) {
	const bound = 4000
	found := map[Mutant]hunted{}
	try := func(m Mutant, focus []FaultKind, expect []string, rule, about string) {
		t.Run(string(m), func(t *testing.T) {
			h, s := hunt(m, focus, expect, bound)
			if h.seed == 0 {
				t.Errorf("not caught in %d worlds; what else was violated: %d worlds", s.Worlds, s.Failed)
			}
			if h.rule, h.about = rule, about; about == "" {
				t.Error("rulesOf does not say what it breaks")
			}
			found[m] = h
			t.Logf("caught in the world number %d: %v", h.seed, h.by)
		})
	}
	for _, m := range Mutants() {
		h, ok := hunts[m]
		if !ok {
			t.Errorf("nobody hunts %s", m)
			continue
		}
		try(m, h.focus, h.expect, rulesOf[m][0], rulesOf[m][1])
	}
	for _, s := range swaps {
		try(Moved(s.id, s.to), s.focus, s.expect, "order", s.about)
	}
	if *update && !t.Failed() {
		rewrite(t, "mutants", mutantTable(found))
	}
	t.Logf("\n%s", mutantTable(found))
}

func mutantTable(found map[Mutant]hunted) string {
	var rows []string
	for m, h := range found {
		rows = append(rows, fmt.Sprintf("| %s | `%s` | %s | %s | %d |\n", h.rule, m, h.about, h.by.Invariant, h.seed))
	}
	slices.SortFunc(rows, func(a, b string) int { return cmp.Compare(a, b) })
	return "| rule | variant | what is wrong with it | broken | worlds until caught |\n|---|---|---|---|---|\n" + strings.Join(rows, "")
}

// rewrite puts a text between two marks of docs/simulation.md.
func rewrite(t *testing.T, mark, text string) {
	const page = "../docs/simulation.md"
	old, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	between := regexp.MustCompile("(?s)(<!-- " + mark + " -->\n).*(<!-- end of " + mark + " -->)")
	if !between.Match(old) {
		t.Fatalf("%s has no marks for %s", page, mark)
	}
	out := between.ReplaceAllString(string(old), "${1}"+strings.ReplaceAll(text, "$", "$$")+"${2}")
	if err := os.WriteFile(page, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
}
