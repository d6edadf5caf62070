package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
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
	if f.Lasts > 0 {
		s += fmt.Sprintf(" for %s", f.Lasts.Round(time.Millisecond))
	}
	return s
}

// Faults draws a seed's schedule, the same whatever happens in the world. A
// focus draws only from the kinds it names.
func Faults(seed uint64, focus []FaultKind) []Fault {
	cfg := drawConfig(rand.New(rand.NewPCG(seed, 1)))
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
	if len(swarm) == 0 {
		return nil
	}
	var out []Fault
	from := 15 * time.Second
	if r.IntN(5) == 0 {
		from = 0 // the founding of the cluster is disturbed too
	}
	for range 2 + r.IntN(9) {
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
	out = append(out, entryFaults(seed, cfg, focus)...)
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

// schedule plans the faults that are not dropped.
func (w *world) schedule(faults []Fault) {
	for i, f := range faults {
		if slices.Contains(w.opt.Drop, i) {
			continue
		}
		w.after(f.At, func() { w.strike(i, f) })
	}
}

// leader is whoever holds the lease now, or any member.
func (w *world) leader() *member {
	if m := w.member(w.store.view.Leader.Name); m != nil {
		return m
	}
	return w.members[0]
}

func (w *world) target(i int) *member {
	if i < 0 {
		return w.leader()
	}
	return w.members[i]
}

// twice: agent and guard of one host must not both fail within one lease: no
// user process is left then, and the kernel's fence is not modelled.
func (w *world) twice(m *member, f Fault) bool {
	switch f.Kind {
	case AgentKill, AgentPause, AgentStarve, AgentMidKill, AgentMidStop, Stutter:
		return w.now < m.guardFault || w.now < m.pauseGrace
	case GuardKill, GuardPause:
		if m.agent.paused || w.now < m.agentFault || !m.agent.alive || m.agent.cut > 0 {
			return true
		}
		m.guardFault = w.now + f.Lasts + w.cfg.settings.TTL
	}
	return false
}

// strike makes one fault happen.
func (w *world) strike(i int, f Fault) {
	m := w.target(f.A)
	if w.twice(m, f) {
		return
	}
	w.stats.Faults++
	w.tracef("FAULT %d: %s (%s)", i, f, m.name)
	heal := func(fn func()) {
		w.after(f.Lasts, func() {
			if w.ceased == 0 {
				w.tracef("fault %d ends", i)
				fn()
			}
		})
	}
	a := m.agent
	switch f.Kind {
	case AgentKill:
		m.agentFault = w.now + w.cfg.settings.TTL
		a.kill()
	case AgentPause:
		m.agentFault = w.now + f.Lasts + w.cfg.settings.TTL
		a.pause()
		heal(a.resume)
	case AgentStarve:
		a.starved = 3 * time.Second
		heal(func() { a.starved = 0 })
	case AgentMidKill:
		m.agentFault = w.now + 3*w.cfg.settings.TTL
		a.cut, a.cutPause = f.N, 0
	case AgentMidStop:
		m.agentFault = w.now + f.Lasts + 3*w.cfg.settings.TTL
		a.cut, a.cutPause = f.N, f.Lasts
	case AgentStop:
		if a.alive {
			a.stopping = true
			a.in(a.epoch, a.wake)
		}
	case Stutter:
		m.agentFault = w.now + f.Lasts + 3*w.cfg.settings.TTL
		m.stutters = append(m.stutters, func() { w.stutter(m, f.Lasts) })
	case GuardKill:
		m.guard.die()
		a.guardDied()
	case GuardPause:
		m.guard.pause()
		heal(m.guard.resume)
	case ServerCrash:
		m.server.die()
	case HostOff:
		m.host.powerOff()
		heal(m.host.powerOn)
	case HostFreeze:
		w.freeze(m, heal)
	case StoreOutage, StoreLeader:
		w.store.fail()
		heal(w.store.recover)
	case LoseReplies:
		m.loseReplies++
		heal(func() { m.loseReplies-- })
	case SlowDisk:
		m.host.slowDisk = 8 * time.Second / time.Duration(f.N)
		heal(func() { m.host.slowDisk = 0 })
	case AskSwitchover, AskFailover, AskPause, AskSync:
		w.request(f, heal)
	case WriteLeader:
		w.store.handwritten = m.name
	case AskRestart, AskReinit:
		a.asked(f)
	default:
		if w.strikeStore(f, m, heal) || w.strikeEntry(f, m, heal) {
			return
		}
		w.strikeNet(f, m, heal)
	}
}

// stutter stops the agent right after it sent a renewal, lets it go on, and
// cuts it off from the store.
func (w *world) stutter(m *member, d time.Duration) {
	w.tracef("%s: agent is stopped for %s with a renewal under way", m.name, d)
	a, epoch := m.agent, m.agent.epoch
	a.pause()
	w.after(d, func() {
		if a.epoch == epoch {
			a.resume()
		}
		if w.ceased > 0 {
			return
		}
		w.net.cut(m.index, w.store.node, 1)
		w.after(w.cfg.settings.TTL*3/2, func() {
			if w.ceased == 0 {
				w.net.cut(m.index, w.store.node, -1)
			}
		})
	})
}

// stutter lets the faults strike that wait for a renewal to be under way.
func (a *agent) stutter() {
	m := a.m
	if len(m.stutters) == 0 || !a.keeper.held {
		return
	}
	fn := m.stutters[0]
	m.stutters = m.stutters[1:]
	m.w.after(0, fn)
}

func (w *world) freeze(m *member, heal func(func())) {
	if !m.host.up {
		return
	}
	m.host.freeze()
	heal(func() {
		// Until the guard has run after the thaw, asynchronous commits of direct
		// clients may still be acknowledged: documented.
		m.grace = w.now + w.cfg.kill + 100*time.Millisecond
		m.host.thaw()
		w.after(w.cfg.kill+150*time.Millisecond, w.check.leaderChanged)
	})
}

func (w *world) strikeNet(f Fault, m *member, heal func(func())) {
	type pair struct{ from, to int }
	var pairs []pair
	store, clients := w.store.node, w.clients.node
	switch f.Kind {
	case CutPair:
		pairs = []pair{{m.index, f.B}, {f.B, m.index}}
	case CutOneWay:
		pairs = []pair{{m.index, f.B}}
		if f.N == 1 {
			pairs = []pair{{m.index, store}}
		} else if f.N == 2 {
			pairs = []pair{{store, m.index}}
		}
	case CutStore:
		pairs = []pair{{m.index, store}, {store, m.index}}
	case Isolate:
		for i := range w.net.size {
			if i != m.index && !(i == clients && f.N > 2) {
				pairs = append(pairs, pair{m.index, i}, pair{i, m.index})
			}
		}
	case SlowNet:
		for i := range w.net.size {
			w.net.link(m.index, i).extra = time.Duration(f.N) * time.Second
			w.net.link(i, m.index).extra = time.Duration(f.N) * time.Second
		}
		heal(func() {
			for i := range w.net.size {
				w.net.link(m.index, i).extra, w.net.link(i, m.index).extra = 0, 0
			}
		})
		return
	}
	for _, p := range pairs {
		w.net.cut(p.from, p.to, 1)
	}
	heal(func() {
		for _, p := range pairs {
			w.net.cut(p.from, p.to, -1)
		}
	})
}

// fail and recover are an outage: nothing is answered and nothing expires; the
// leader that comes back starts all timers anew.
func (s *store) fail() { s.down = true }

func (s *store) recover() {
	if s.down {
		s.down = false
		s.restartTimers()
	}
}

// cease ends all faults; people have no further wishes.
func (w *world) cease() {
	w.ceased = w.now
	w.tracef("all faults cease")
	w.net.heal()
	w.entry.goOn()
	for _, m := range w.members {
		m.stutters = nil
		m.loss, m.noise = 0, 0
		m.loseReplies, m.host.slowDisk, m.agent.starved, m.agent.cut = 0, 0, 0, 0
		if m.host.frozen {
			m.grace = w.now + w.cfg.kill + 100*time.Millisecond
		}
		m.host.thaw()
		m.host.powerOn()
		m.guard.resume()
		m.agent.resume()
	}
	w.store.recover()
	w.ceaseStore()
	w.store.pause(false)
	w.store.handwritten = ""
	if l := &w.store.view.Leader; l.Held() && l.Session == "" {
		w.tracef("a person removes the leader key that was written by hand")
		*l = cluster.Leader{}
		w.store.changed()
	}
	if i := &w.store.view.Initialize; i.Present && i.SystemID == "" && i.Owner == "" {
		// The member that was founding the cluster is gone, and nobody saw its
		// claim: a person decides.
		w.tracef("a person removes the abandoned claim on the bootstrap")
		*i = cluster.Initialize{}
		w.store.changed()
	}
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
