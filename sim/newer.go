package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/ha"
)

// More faults and requests, drawn by newer.
const (
	// AgentStruck: killed or stopped right before, in the middle of, or right after
	// the next action of one kind.
	AgentStruck FaultKind = "agent-struck-at-action"
	// Orphan: the agent stops or dies, and its guard with it.
	Orphan      FaultKind = "agent-and-guard"
	ServerPause FaultKind = "server-pause"
	DiskFull    FaultKind = "disk-full"
	DiskStuck   FaultKind = "disk-stuck"
	WallJump    FaultKind = "wall-clock-jump"
	SlowStop    FaultKind = "slow-shutdown"
	FailStart   FaultKind = "failed-start"
	FailPromote FaultKind = "failed-promote"
	FailRewind  FaultKind = "failed-rewind"
	FailClone   FaultKind = "failed-base-backup"
	AllOff      FaultKind = "all-hosts-off"
	Flap        FaultKind = "flap"
	ForeignDisk FaultKind = "foreign-disk"   // mounted in the place of the member's
	MemberGone  FaultKind = "member-removed" // for good
	AskConfig   FaultKind = "ask-config"
	AskTags     FaultKind = "ask-tags"
	AskWorst    FaultKind = "ask-at-the-worst-moment"
	// Wide among the kinds of a focus makes the world a wide one; it is no fault.
	Wide FaultKind = "wide"
)

// newerKinds lists them as kinds does.
var newerKinds = []struct {
	kind   FaultKind
	weight int
	lasts  time.Duration
}{
	{AgentStruck, 8, 30 * time.Second}, {Orphan, 2, 40 * time.Second}, {ServerPause, 2, 30 * time.Second},
	{DiskFull, 2, 30 * time.Second}, {DiskStuck, 2, 40 * time.Second}, {WallJump, 1, 0}, {SlowStop, 1, 60 * time.Second},
	{FailStart, 2, 0}, {FailPromote, 2, 0}, {FailRewind, 2, 0}, {FailClone, 2, 0},
	{AllOff, 1, 20 * time.Second}, {Flap, 2, 40 * time.Second}, {ForeignDisk, 1, 20 * time.Second}, {MemberGone, 1, 0},
	{AskConfig, 2, 0}, {AskTags, 1, 0}, {AskWorst, 3, 30 * time.Second},
}

// newer draws from a source of its own; half of the worlds have none of these.
func newer(seed uint64, cfg worldConfig, opt Options) []Fault {
	r, focus := rand.New(rand.NewPCG(seed, 7)), opt.Focus
	if opt.Plain || focus == nil && r.IntN(2) == 0 {
		return nil
	}
	var swarm []int
	for i, k := range newerKinds {
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
	from := 12 * time.Second
	if r.IntN(5) == 0 {
		from = 0
	}
	var out []Fault
	for range 1 + r.IntN(6) {
		k := newerKinds[swarm[r.IntN(len(swarm))]]
		f := Fault{At: from + time.Duration(r.Int64N(int64(cfg.safety-from))), Kind: k.kind, A: r.IntN(cfg.members), B: r.IntN(cfg.members), N: 1 + r.IntN(5)}
		if r.IntN(2) == 0 {
			f.A = -1
		}
		if k.lasts > 0 {
			f.Lasts = 100*time.Millisecond + time.Duration(r.Int64N(int64(k.lasts)))
		}
		if k.kind == AgentStruck {
			f.Action = drawKind(r.IntN(drawnKinds), f.N)
			if f.A == -1 {
				f.A = r.IntN(cfg.members)
			}
			f.At = time.Duration(r.Int64N(int64(f.At) + 1)) // it waits for its action
			if founding(f.Action) {
				f.At = 0
			}
		}
		out = append(out, f)
	}
	return out
}

// founding: an action that is done when a cluster begins, if ever.
func founding(k ha.ActionKind) bool {
	switch k {
	case ha.ClaimInitialize, ha.ReleaseInitialize, ha.WriteInitialize, ha.WriteConfig, ha.AcceptBootstrap, ha.DiscardBootstrap, ha.Bootstrap:
		return true
	}
	return false
}

// rare: an action that one member may wait for in vain.
func rare(k ha.ActionKind) bool {
	switch k {
	case ha.CancelTask, ha.RemoveLeader, ha.AcceptRewind, ha.DropScheduled, ha.Reply, ha.Exit, ha.Rewind:
		return true
	}
	return founding(k)
}

// strikeNewer makes one of them happen.
func (w *world) strikeNewer(f Fault, m *member, heal func(func())) {
	a := m.agent
	switch f.Kind {
	case AgentStruck:
		m.aims = append(m.aims, aim{f.Action, f.N, f.Lasts})
		for _, o := range w.members {
			if o != m && rare(f.Action) {
				o.aims = append(o.aims, aim{f.Action, f.N, f.Lasts})
			}
		}
	case Orphan:
		w.orphan(f, m, heal)
	case ServerPause:
		m.server.pause(f.N > 2)
		heal(m.server.goOn)
	case DiskFull:
		m.host.full = true
		heal(func() { m.host.full = false })
	case DiskStuck:
		m.host.stick(f.N > 3)
		heal(m.host.unstick)
	case WallJump:
		by := time.Duration(1+w.more.IntN(3600)) * time.Second
		if f.N%2 == 0 {
			by = -by
		}
		m.skew += by
		a.in(a.epoch, a.wake)
	case SlowStop:
		m.slowStop = f.Lasts
		heal(func() { m.slowStop = 0 })
	case FailStart:
		m.fails.starts += f.N
	case FailPromote:
		m.fails.promotes += (f.N + 1) / 2
	case FailRewind:
		m.fails.rewinds += f.N
	case FailClone:
		m.fails.clones += f.N
	case AllOff:
		w.allOff(f)
	case Flap:
		w.flap(f, m)
	case ForeignDisk:
		w.foreignDisk(m, heal)
	case MemberGone:
		w.remove(m)
	case AskConfig:
		w.reconfigure(f)
	case AskTags:
		if i, v := m.index, w.store.view.Sync; i > 1 {
			old := m.tags
			lead := w.member(w.store.view.Leader.Name)
			if m.tags = wideTags(w.more, i); v.Active() && v.Holds(m.name) || lead == nil || lead == m || !lead.server.writable() {
				// A person does not forbid the only one to lead that may.
				m.tags.NoFailover, m.tags.FailoverPriority = old.NoFailover, old.FailoverPriority
			}
			a.in(a.epoch, a.wake)
		}
	case AskWorst:
		w.worst(f, m, heal)
	}
}

// Seen counts what the newer faults and the wide worlds are there for.
type Seen struct {
	Orphans      int // neither guard nor agent of a host could act
	Closed       int // the kernel's fence kept an answer back
	ServerPauses int
	Doomed       int // killed while the disk did not answer
	Panics       int // no room for WAL
	Refused      int // a start, a promotion, a rewind, a base backup that failed
	ForeignDisks int
	Removed      int // members for good
	Adopted      int // worlds with data older than the store
	WALRemoved   int // a standby wanted WAL that is gone
	Cancelled    int // commits whose wait for a standby a client cancelled
	Reconfigured int
	Recloned     int // by a person, since nothing else helps
}

func (s *Seen) add(o *Seen) {
	s.Orphans += o.Orphans
	s.Closed += o.Closed
	s.ServerPauses += o.ServerPauses
	s.Doomed += o.Doomed
	s.Panics += o.Panics
	s.Refused += o.Refused
	s.ForeignDisks += o.ForeignDisks
	s.Removed += o.Removed
	s.Adopted += o.Adopted
	s.WALRemoved += o.WALRemoved
	s.Cancelled += o.Cancelled
	s.Reconfigured += o.Reconfigured
	s.Recloned += o.Recloned
}
