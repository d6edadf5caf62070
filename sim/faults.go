package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// FaultKind names what goes wrong, or what a person asks for.
type FaultKind string

// The faults and requests.
const (
	AgentKill    FaultKind = "agent-kill"
	AgentPause   FaultKind = "agent-pause"
	AgentStarve  FaultKind = "agent-starve"
	AgentMidKill FaultKind = "agent-kill-mid-turn"
	AgentMidStop FaultKind = "agent-pause-mid-turn"
	AgentStop    FaultKind = "agent-stop"
	GuardKill    FaultKind = "guard-kill"
	GuardPause   FaultKind = "guard-pause"
	ServerCrash  FaultKind = "server-crash"
	HostOff      FaultKind = "host-off"
	HostFreeze   FaultKind = "host-freeze"
	StoreOutage  FaultKind = "store-outage"
	StoreLeader  FaultKind = "store-leader-restart"
	CutPair      FaultKind = "cut-pair"
	CutOneWay    FaultKind = "cut-one-way"
	CutStore     FaultKind = "cut-store"
	Isolate      FaultKind = "isolate"
	LoseReplies  FaultKind = "lose-replies"
	SlowNet      FaultKind = "slow-net"
	SlowDisk     FaultKind = "slow-disk"
	Stutter      FaultKind = "stutter" // stopped while a renewal is under way, cut off after it

	AskSwitchover FaultKind = "ask-switchover"
	AskFailover   FaultKind = "ask-failover"
	AskPause      FaultKind = "ask-pause"
	AskSync       FaultKind = "ask-sync"
	// WriteLeader: when the leader key goes next, a person writes it by hand: it
	// belongs to no session and never expires.
	WriteLeader FaultKind = "write-leader"
	AskRestart  FaultKind = "ask-restart"
	AskReinit   FaultKind = "ask-reinit"
)

// kinds lists all, with their weight and how long they last at most (0: an
// instant).
var kinds = []struct {
	kind   FaultKind
	weight int
	lasts  time.Duration
}{
	{AgentKill, 3, 0}, {AgentPause, 3, 40 * time.Second}, {AgentStarve, 1, 20 * time.Second}, {AgentMidKill, 3, 0},
	{AgentMidStop, 3, 40 * time.Second}, {AgentStop, 2, 0}, {GuardKill, 1, 0}, {GuardPause, 1, 20 * time.Second},
	{ServerCrash, 4, 0}, {HostOff, 3, 40 * time.Second}, {HostFreeze, 2, 40 * time.Second}, {StoreOutage, 2, 40 * time.Second},
	{StoreLeader, 2, 3 * time.Second}, {CutPair, 3, 40 * time.Second}, {CutOneWay, 3, 40 * time.Second}, {CutStore, 3, 40 * time.Second},
	{Isolate, 3, 40 * time.Second}, {Stutter, 2, 8 * time.Second}, {LoseReplies, 3, 10 * time.Second}, {SlowNet, 2, 20 * time.Second}, {SlowDisk, 2, 20 * time.Second},
	{AskSwitchover, 4, 0}, {AskFailover, 1, 0}, {AskPause, 1, 30 * time.Second}, {AskSync, 1, 0},
	{AskRestart, 4, 0}, {AskReinit, 2, 0},
}

// Fault is one drawn event of the schedule.
type Fault struct {
	At    time.Duration
	Kind  FaultKind
	A, B  int // members, or −1: whoever leads then
	Lasts time.Duration
	N     int
	// Action is the kind of action at which an agent-struck-at-action strikes.
	Action ha.ActionKind
}

func (f Fault) String() string {
	who := func(i int) string {
		if i < 0 {
			return "the leader"
		}
		return names[i]
	}
	s := fmt.Sprintf("%s %s %s", f.At.Round(time.Millisecond), f.Kind, who(f.A))
	if f.Kind == CutPair || f.Kind == CutOneWay || f.Kind == AskSwitchover || f.Kind == AskFailover {
		s += " → " + who(f.B)
	}
	if f.Action != "" {
		s += " at " + string(f.Action)
	}
	if f.Lasts > 0 {
		s += fmt.Sprintf(" for %s", f.Lasts.Round(time.Millisecond))
	}
	return s
}

// Faults draws a seed's schedule, the same whatever happens in the world. A
// focus draws only from the kinds it names.
func Faults(seed uint64, opt Options) []Fault {
	cfg, focus := configOf(seed, opt), opt.Focus
	r := rand.New(rand.NewPCG(seed, 3))
	var swarm []int
	for i, k := range kinds {
		if focus != nil && !slices.Contains(focus, k.kind) || focus == nil && r.IntN(3) > 0 {
			continue
		}
		for range k.weight {
			swarm = append(swarm, i)
		}
	}
	var out []Fault
	from := 15 * time.Second
	if len(swarm) > 0 && r.IntN(5) == 0 {
		from = 0 // the founding of the cluster is disturbed too
	}
	n := 0
	if len(swarm) > 0 {
		n = 2 + r.IntN(9)
	}
	for range n {
		k := kinds[swarm[r.IntN(len(swarm))]]
		f := Fault{At: from + time.Duration(r.Int64N(int64(cfg.safety-from))), Kind: k.kind, N: 1 + r.IntN(5)}
		f.A, f.B = r.IntN(cfg.members), r.IntN(cfg.members)
		if r.IntN(2) == 0 {
			f.A = -1
		}
		if k.lasts > 0 {
			f.Lasts = 100*time.Millisecond + time.Duration(r.Int64N(int64(k.lasts)))
		}
		out = append(out, f)
	}
	out = append(out, handwritten(seed, cfg, focus)...)
	out = append(out, newer(seed, cfg, opt)...)
	out = append(out, entryFaults(seed, cfg, focus)...)
	out = append(out, entryStutters(seed, cfg, opt)...)
	out = append(out, moments(seed, cfg, opt)...)
	slices.SortStableFunc(out, func(a, b Fault) int { return int(a.At - b.At) })
	return out
}

// handwritten draws from a source of its own: the schedules of all seeds without
// such a fault stay what they are.
func handwritten(seed uint64, cfg worldConfig, focus []FaultKind) []Fault {
	r := rand.New(rand.NewPCG(seed, 4))
	if focus != nil && !slices.Contains(focus, WriteLeader) || focus == nil && r.IntN(8) > 0 {
		return nil
	}
	return []Fault{{At: time.Duration(r.Int64N(int64(cfg.safety))), Kind: WriteLeader, A: r.IntN(cfg.members)}}
}

// parseDrop reads a list of fault numbers such as "1,4,5".
func parseDrop(s string) ([]int, error) {
	var out []int
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		var n int
		if _, err := fmt.Sscanf(f, "%d", &n); err != nil {
			return nil, fmt.Errorf("list of faults to drop: %q is no number", f)
		}
		out = append(out, n)
	}
	return out, nil
}
