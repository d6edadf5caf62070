package sim

import (
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha"
)

// Mutant is a known-bad variant of the program. The checkers do not know which
// one runs; if they do not catch it, they prove nothing.
type Mutant string

// The known-bad variants.
const (
	NoGuard       Mutant = "no-guard"              // nothing kills when the agent cannot
	FromReply     Mutant = "lease-from-reply"      // the lease is counted from the answer
	BlindTake     Mutant = "take-over-existing"    // the leader key is replaced, not created
	ReleaseByName Mutant = "release-by-name"       // whatever bears my name is mine
	VoterStreams  Mutant = "voter-keeps-streaming" // a vote is no promise
	NoClaim       Mutant = "promote-unclaimed"     // PostgreSQL picks the timeline alone
	IgnoreSync    Mutant = "ignore-sync-key"       // anybody may lead in synchronous mode
	FollowAlways  Mutant = "follow-always"         // divergence is not looked for
	NoHandover    Mutant = "ignore-handover"       // the last record is not demanded
	NoLagLimit    Mutant = "no-lag-limit"          // maximum_lag_on_failover is not looked at
	StartBlind    Mutant = "restart-without-lease" // a primary is started because it was one
	IgnoreRewind  Mutant = "ignore-rewind-mark"    // a half rewound directory is started
	CloneDestroys Mutant = "clone-destroys"        // the replaced directory is deleted
	NoFence       Mutant = "no-kernel-fence"       // the kernel is never told of the deadline

	FailsafeMajority Mutant = "failsafe-majority" // V6: the word of a majority keeps a leader without the store
	FailsafeForgets  Mutant = "failsafe-forgets"  // V6: a promise to leave the lease alone is not kept

	IgnoreStore  Mutant = "ignore-new-store"   // L6: a store that went back is as good as before
	ForgetStore  Mutant = "forget-store"       // L6: an agent that starts does not know which store it had
	TrustFirst   Mutant = "trust-first-store"  // L6: a store that is seen first is the one that the data were served by
	AskedLength  Mutant = "asked-not-granted"  // L1: the length that was asked for counts
	NoSlack      Mutant = "no-slack"           // L3: the store's own coarseness is not allowed for
	AdoptBlind   Mutant = "adopt-blind"        // the session of the agent before counts without proof
	ReleaseEarly Mutant = "release-early"      // the helper ends the session before the server is gone
	GuardReceipt Mutant = "guard-from-receipt" // the guard counts from when it was told
	NoVoid       Mutant = "guard-not-told"     // the guard goes by the deadline of a lease that was lost before it
)

// Mutants lists all of them.
func Mutants() []Mutant {
	return append(append(append(variants(), teeth()...), lsnAlone()...), NoGuard, FromReply, BlindTake, ReleaseByName, VoterStreams, NoClaim, IgnoreSync, FollowAlways,
		NoHandover, NoLagLimit, StartBlind, IgnoreRewind, CloneDestroys, FailsafeMajority, FailsafeForgets,
		IgnoreStore, ForgetStore, TrustFirst, AskedLength, NoSlack, AdoptBlind, ReleaseEarly, GuardReceipt, NoVoid, NoFence)
}

// blind changes what the rules are told, so that they decide as if the line of
// code that looks at it were missing.
func (m Mutant) blind(o *ha.Observation) {
	switch m {
	case IgnoreStore:
		o.Store.NewSince, o.Store.FirstSeen = 0, 0
	case TrustFirst:
		o.Store.FirstSeen = 0
	case IgnoreSync:
		if !(o.Lease.Held && o.Server.Role == ha.ServerPrimary) {
			o.Store.View.Sync = cluster.SyncState{Version: o.Store.View.Sync.Version}
		}
	case NoHandover:
		if !(o.Lease.Held && o.Server.Role == ha.ServerPrimary) {
			o.Store.View.Handover = cluster.Handover{}
		}
	case VoterStreams:
		if !o.Store.View.Leader.Held() {
			o.Server.Receiver, o.Server.Upstream = false, ""
		}
	case NoLagLimit:
		o.Settings.MaxLagOnFailover = 1 << 60
	case KeepStalled:
		o.Settings.PrimaryStallTimeout = 0
	case IgnoreRewind:
		o.Server.Rewinding = false
	case FollowAlways:
		m.followAlways(o)
	case LSNAlone, RecordByLSN, DescentByLSN:
		m.compareLSNs(o)
	case StartBlind:
		if o.Server.Role == ha.ServerPrimary && o.Server.Dir == ha.DirPresent && o.Lease.Session != "" {
			o.Lease.Held = true
			o.Lease.Deadlines.Sent, o.Lease.Deadlines.Soft, o.Lease.Deadlines.Hard = o.Now, o.Now.Add(time.Hour), o.Now.Add(time.Hour)
		}
	}
}

// followAlways makes the server look like one that is on the leader's line.
func (Mutant) followAlways(o *ha.Observation) {
	lead, ok := o.Store.View.LeaderMember()
	if !ok || o.Lease.Held || o.Server.Position.Timeline == 0 {
		return
	}
	o.Server.Position.Timeline = lead.Timeline
	o.Server.Identity = cluster.TimelineIdentity{}
	o.Server.History = nil
}
