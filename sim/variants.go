package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

// More known-bad variants: one for each rule of the safety arithmetic that the
// world can show, and tables whose order is wrong.
const (
	Unfenced      Mutant = "no-fence"              // neither the agent nor the guard stops a primary whose lease is over
	NoBudget      Mutant = "no-budget"             // a kill takes no time, and clocks never differ
	FrozenClock   Mutant = "clock-stops-in-freeze" // CLOCK_MONOTONIC: what a frozen host sleeps does not count
	MineByName    Mutant = "mine-by-name"          // a leader key with my name is mine, whoever's session it has
	EndSession    Mutant = "death-ends-session"    // a killed agent's session is closed while its server runs
	Unlocked      Mutant = "promote-without-lease" // who is best promotes, and takes the lease later
	KeyFirst      Mutant = "sync-key-first"        // the sync key names a standby before the primary waits for it
	ReleaseUp     Mutant = "release-while-writing" // the lease is given up while the server still writes
	DropRequests  Mutant = "drop-requests"         // what a person asks for is answered before it is done
	ForgetRequest Mutant = "clear-switchovers"     // a switchover is cleared and nobody is told why

	OldProof Mutant = "old-handover-proves" // the record of an earlier leadership lifts the sync rule too

	EntryForever Mutant = "entrypoint-forever"    // sessions outlive what the leader said of its lease
	EntryReply   Mutant = "entrypoint-from-reply" // what the leader said of its lease counts from the answer
)

func variants() []Mutant {
	return []Mutant{Unfenced, NoBudget, FrozenClock, MineByName, EndSession, Unlocked, KeyFirst, ReleaseUp,
		DropRequests, ForgetRequest, EntryForever, EntryReply, OldProof}
}

// moved is the prefix of a table in which one rule stands elsewhere:
// "rule race→diverged" has race where diverged was.
const moved = "rule "

// Moved names the variant in which a rule stands in another one's place.
func Moved(id, to ha.RuleID) Mutant { return Mutant(moved + string(id) + "→" + string(to)) }

// decider is the code under test, or the same with another table.
func (m Mutant) decider() func(ha.Observation, ha.Memory) ha.Decision {
	if rest, ok := strings.CutPrefix(string(m), moved); ok {
		id, to, _ := strings.Cut(rest, "→")
		return ha.WithRuleMoved(ha.RuleID(id), ha.RuleID(to))
	}
	return ha.Decide
}

// budget is what a lease is shortened by.
func (m Mutant) budget(b fence.Budget) fence.Budget {
	if m == NoBudget {
		return fence.Budget{CleanStop: b.CleanStop, Fence: -b.Fence}
	}
	return b
}

// misremember changes what one turn leaves for the next, and what it sees.
func (m Mutant) misremember(o *ha.Observation, mem *ha.Memory) {
	switch m {
	case OldProof:
		if h := o.Store.View.Handover; h.Present() && o.Server.Role == ha.ServerStandby && o.Server.Position.Timeline == h.Timeline && o.Server.Position.LSN == h.LSN {
			o.Store.View.Sync = cluster.SyncState{Version: o.Store.View.Sync.Version}
		}
	case Unlocked:
		if !o.Store.View.Leader.Held() && !o.Lease.Held && o.Lease.Session != "" && mem.Promised {
			o.Lease.Held = true
			o.Store.View.Leader = cluster.Leader{Name: o.Self.Name, Session: o.Lease.Session}
			o.Lease.Deadlines = fence.Deadlines{Sent: o.Now, Soft: o.Now.Add(time.Hour), Hard: o.Now.Add(time.Hour)}
		}
	}
}

// spoil changes what was decided.
func (m Mutant) spoil(o *ha.Observation, d *ha.Decision) {
	switch m {
	case OldProof:
		d.Actions = slices.DeleteFunc(slices.Clone(d.Actions), func(x ha.Action) bool { return x.Kind == ha.ClearHandover })
	case NamesFirst:
		namesFirst(o, d)
	case PutBackBlind:
		putBackBlind(o, d)
	case KeyFirst:
		for i, x := range d.Actions {
			if x.Kind == ha.SetSyncNames && len(x.Names) > 0 && o.Settings.SyncMode == cluster.SyncOn {
				d.Actions[i] = ha.Action{Kind: ha.WriteSync, Session: o.Lease.Session, Version: o.Store.View.Sync.Version,
					Sync: cluster.SyncState{Leader: o.Self.Name, Standbys: x.Names}}
				d.Actions = append(d.Actions, x)
				return
			}
		}
	case ReleaseUp:
		for i, x := range d.Actions {
			if x.Kind == ha.Stop && o.Lease.Held && d.Memory.Handing.Why != "" {
				d.Actions[i] = ha.Action{Kind: ha.ReleaseLeader, Session: o.Lease.Session}
				d.Actions = append(d.Actions, x)
				return
			}
		}
	case DropRequests:
		if id := o.Requests.Restart.ID; id != 0 {
			d.Actions = []ha.Action{{Kind: ha.Reply, Request: id, Outcome: ha.Done}}
			d.Memory.Restart = ha.Restarting{}
		}
	case ForgetRequest:
		if f := o.Store.View.Failover; f.Requested() && o.Lease.Held {
			d.Actions = []ha.Action{{Kind: ha.ClearFailover, Version: f.Version}}
		}
	}
}
