package sim

import (
	"slices"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
	"github.com/matriarch-ha/matriarch/ha/election"
)

// Known-bad variants of an election that compares LSNs without timelines: in all
// of it, or in one of its comparisons.
const (
	LSNAlone     Mutant = "lsn-alone"      // all positions count as on the cluster's timeline
	RecordByLSN  Mutant = "record-by-lsn"  // who is past the last record of a clean stop has it
	DescentByLSN Mutant = "descent-by-lsn" // what left the cluster's line is on it
)

func lsnAlone() []Mutant { return []Mutant{LSNAlone, RecordByLSN, DescentByLSN} }

// elects: the member judges candidates, itself among them. One that is down is
// started for that only where it is known that it did not diverge.
func elects(o *ha.Observation) bool {
	s, l := &o.Server, &o.Store.View.Leader
	return s.Position.Known() && (!l.Held() && (s.Role == ha.ServerStandby || s.Process == ha.ProcessStopped) || o.Lease.Held && s.Role == ha.ServerStandby)
}

// compareLSNs makes the election see no timelines.
func (m Mutant) compareLSNs(o *ha.Observation) {
	if !elects(o) {
		return
	}
	own := &o.Server.Position.Timeline
	if m == LSNAlone || m == DescentByLSN {
		if tl := election.Current(o.Store.View.History, o.Store.View.Timelines); tl != 0 {
			*own = tl
		}
		o.Server.Identity, o.Server.History = cluster.TimelineIdentity{}, nil
	}
	if m == LSNAlone || m == RecordByLSN {
		o.Store.View.Handover.Timeline = *own
	}
	if m == LSNAlone {
		o.Peers = slices.Clone(o.Peers)
		for i := range o.Peers {
			o.Peers[i].Position.Timeline = *own
		}
	}
}
