package ha

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// Memory is everything that one turn leaves for the next. It is lost when the
// agent restarts, and a zero Memory is always a safe beginning.
type Memory struct {
	// Leader is who held the leader key last, and what it had published.
	Leader cluster.Member `json:"leader,omitzero"`
	// Members are those last seen while somebody led.
	Members []cluster.Member `json:"members,omitempty"`
	// LeaderlessSince is when the key was first seen absent.
	LeaderlessSince boot.Instant `json:"leaderless_since,omitempty"`
	// PermanentSince is when a leader key that belongs to no session was first seen
	// at version PermanentVersion.
	PermanentSince   boot.Instant    `json:"permanent_since,omitempty"`
	PermanentVersion cluster.Version `json:"permanent_version,omitempty"`
	// RaceAsked is when the current round of questions to the peers began.
	RaceAsked boot.Instant `json:"race_asked,omitempty"`
	// VetoSince is since when a peer that says it is a primary holds up the race.
	VetoSince boot.Instant `json:"veto_since,omitempty"`
	// Streamed is when WAL still came from a former leader without a guard, although
	// its lease was over.
	Streamed boot.Instant `json:"streamed,omitempty"`
	// SeenDown: the server was down once while this agent lived, or was told by it what
	// to do: nothing that an agent before began is under way in it.
	SeenDown bool `json:"seen_down,omitempty"`
	// Promised: the receiver was stopped for a race and must stay so until a
	// leader is seen.
	Promised bool `json:"promised,omitempty"`
	// Eligible and WhyNot are this member's word on itself, published to peers.
	Eligible bool   `json:"eligible,omitempty"`
	WhyNot   string `json:"why_not,omitempty"`

	// Led is the session under which this member was last a running primary:
	// only then may a crashed primary be started in place.
	Led string `json:"led,omitempty"`
	// CrashedSince is when the primary was first seen down under this lease, and
	// CrashAsked when peers were asked whether one could take over.
	CrashedSince boot.Instant `json:"crashed_since,omitempty"`
	CrashAsked   boot.Instant `json:"crash_asked,omitempty"`
	// StallAsked is when peers were asked whether one could take over from a primary
	// that does not commit any more.
	StallAsked boot.Instant `json:"stall_asked,omitempty"`
	// StartFailures counts failed starts of the primary since CrashedSince, and
	// FailureSeq is the task that was counted last.
	StartFailures int `json:"start_failures,omitempty"`
	FailureSeq    int `json:"failure_seq,omitempty"`

	// Handing is a clean stop under way to hand the lease over.
	Handing Handing `json:"handing,omitzero"`
	// Restart is a restart asked for by a person that is under way, and Reinit
	// the copying of the data anew.
	Restart Restarting `json:"restart,omitzero"`
	Reinit  Reiniting  `json:"reinit,omitzero"`
	// Recorded is the session under which this member led and had the end of its
	// log recorded: under that lease its server is not started any more.
	Recorded string `json:"recorded,omitempty"`
	// LeaderKey is the leader key of another member that was seen last.
	LeaderKey cluster.Leader `json:"leader_key,omitzero"`
	// HandoverSeen is when the handover of HandoverVersion was first seen.
	HandoverSeen    boot.Instant    `json:"handover_seen,omitempty"`
	HandoverVersion cluster.Version `json:"handover_version,omitempty"`
	// HandoverRestored is the version of the handover that was there when the store
	// was first seen to have gone back, so that it may be of any time.
	HandoverRestored cluster.Version `json:"handover_restored,omitempty"`
	// Longest is the longest lease that may be in force, and StoreNew the last
	// Store.NewSince seen, with how long a lease of the former store may last.
	Longest     Longest       `json:"longest,omitzero"`
	StoreNew    boot.Instant  `json:"store_new,omitempty"`
	StoreNewFor time.Duration `json:"store_new_for,omitempty"`
	// StoreFirst is the last Store.FirstSeen seen. StoreUnsure is the same where this
	// member had data then: nothing says whether this is the store of these data, and
	// for a ttl it counts as new. StoreSure: there is no such doubt, or no more.
	StoreFirst  boot.Instant `json:"store_first,omitempty"`
	StoreUnsure boot.Instant `json:"store_unsure,omitempty"`
	StoreSure   bool         `json:"store_sure,omitempty"`
	// HandoverUnsure is the version of the handover that was there then. It binds, and
	// proves nothing.
	HandoverUnsure cluster.Version `json:"handover_unsure,omitempty"`
	// Released is when this member last gave the leader key up by itself.
	Released boot.Instant `json:"released,omitempty"`

	// OwnerSeen: an owner of the bootstrap claim in version OwnerVersion was seen.
	OwnerSeen    bool            `json:"owner_seen,omitempty"`
	OwnerVersion cluster.Version `json:"owner_version,omitempty"`
	// Claimed is the session under which this member claimed the bootstrap.
	Claimed string `json:"claimed,omitempty"`

	// RewindFailures counts rewinds that failed since the last success.
	RewindFailures int `json:"rewind_failures,omitempty"`

	// FailsafeTried are the members of the lists that were written over version
	// FailsafeBase of the key failsafe: one of those writes may have succeeded
	// unnoticed.
	FailsafeTried []cluster.FailsafeMember `json:"failsafe_tried,omitempty"`
	FailsafeBase  cluster.Version          `json:"failsafe_base,omitempty"`
	// FailsafeOff is when failsafe_mode was first seen off.
	FailsafeOff boot.Instant `json:"failsafe_off,omitempty"`

	// SyncNames are the synchronous names last seen in force, SyncSince since
	// when, and SyncMark a flushed position read a while later: see syncrep.
	SyncNames []string     `json:"sync_names,omitempty"`
	SyncSince boot.Instant `json:"sync_since,omitempty"`
	SyncMark  wal.LSN      `json:"sync_mark,omitempty"`

	// SyncOpen and FailsafeOpen tell whether an earlier write of the key may arrive yet.
	SyncOpen     OpenWrite `json:"sync_open,omitzero"`
	FailsafeOpen OpenWrite `json:"failsafe_open,omitzero"`

	// SlotsSeen says when each member's slot was last wanted, so that it outlives
	// a short absence.
	SlotsSeen []SlotSeen `json:"slots_seen,omitempty"`
	// PromoteFailures counts the promotions in a row that failed, under whatever
	// leases, and BackoffUntil: do not race before, after some that did.
	PromoteFailures int          `json:"promote_failures,omitempty"`
	BackoffUntil    boot.Instant `json:"backoff_until,omitempty"`
}

// Longest is the longest ttl that a lease may have been granted for. A leader keeps
// its lease at the length it was granted when ttl is lowered.
type Longest struct {
	TTL     time.Duration `json:"ttl,omitempty"`
	InForce boot.Instant  `json:"in_force,omitempty"` // when ttl was that long last
	Session string        `json:"session,omitempty"`  // the leader's, which may have been granted that
	Held    boot.Instant  `json:"held,omitempty"`     // when that session was last seen to lead
}

// SlotSeen is when a member's slot was last wanted.
type SlotSeen struct {
	Name string       `json:"name"`
	At   boot.Instant `json:"at"`
}

// HandingWhy says what a clean stop of the primary is for.
type HandingWhy string

// The reasons to hand the lease over.
const (
	HandingSwitchover HandingWhy = "switchover"
	HandingStop       HandingWhy = "stop"
	// HandingLost: the server was stopped because the lease could not be confirmed,
	// and then it could.
	HandingLost HandingWhy = "lease-lost"
)

// Handing is the progress of handing the lease over: the candidates are asked,
// the server is stopped, a candidate is seen to have the last record, the key
// goes.
type Handing struct {
	Why       HandingWhy      `json:"why,omitempty"`
	Candidate string          `json:"candidate,omitempty"` // empty: any
	Request   cluster.Version `json:"request,omitempty"`   // version of the failover key that asked
	// Asynchronous: a person asked for a failover to this candidate by name,
	// synchronous or not.
	Asynchronous bool         `json:"asynchronous,omitempty"`
	Asked        boot.Instant `json:"asked,omitempty"`   // when candidates were asked before the stop
	Stopped      boot.Instant `json:"stopped,omitempty"` // when the stop was ordered
	Down         boot.Instant `json:"down,omitempty"`    // when the server was first seen down
}

// Situation says what is the case, apart from what to do about it.
type Situation string

// The situations.
const (
	SituationStarting    Situation = "starting"     // nothing is known yet
	SituationNoStore     Situation = "dcs-lost"     // the store does not answer
	SituationNoCluster   Situation = "no-cluster"   // nothing was ever initialised
	SituationJoining     Situation = "joining"      // no data here yet
	SituationLeaderless  Situation = "leaderless"   // nobody holds the lease
	SituationLeading     Situation = "leading"      // this member holds the lease
	SituationFollowing   Situation = "following"    // another member holds the lease
	SituationLeaseLost   Situation = "lease-lost"   // writable without a lease
	SituationHandingOver Situation = "handing-over" // giving the lease to another
	SituationStopping    Situation = "stopping"     // the agent ends
	SituationForeign     Situation = "foreign-data" // the data belong to another cluster
)

// Decision is what one turn came to.
type Decision struct {
	Situation Situation `json:"situation"`
	Rule      RuleID    `json:"rule"`
	// Why is one sentence for a person, with the numbers that mattered.
	Why     string   `json:"why"`
	Actions []Action `json:"actions,omitempty"`
	Memory  Memory   `json:"memory"`
	// WakeAfter: look again no later than this.
	WakeAfter time.Duration `json:"wake_after"`
}

// RuleID is the stable name of a rule: seen in journals, logs and metrics.
type RuleID string
