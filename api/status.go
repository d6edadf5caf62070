package api

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/wal"
)

// Status is everything a member knows that its REST interface tells. It holds
// plain values; whoever got one must not change what its slices point to.
type Status struct {
	Scope string
	Name  string
	// Version is the published compatibility level, such as 4.1.4; Matriarch is
	// our own version.
	Version   string
	Matriarch string
	// AgentStarted is when the agent began to run.
	AgentStarted time.Time

	// State and Role are as published; State is StateUnknown when the server
	// runs but did not answer. Role is what the server is (or last was), never
	// who holds the lease.
	State cluster.State
	Role  cluster.Role
	// Postmaster: the postmaster process lives.
	Postmaster bool
	SystemID   string
	// Facts: the server answered the last probe; the fields of Server count.
	Facts  bool
	Server ServerFacts

	Lease    Lease
	Settings cluster.Settings
	// StandbyCluster: the dynamic configuration has a remote primary.
	StandbyCluster bool
	Tags           cluster.Tags // as configured
	Pending        []cluster.SettingChange
	// ScheduledRestart is a restart that waits for its time.
	ScheduledRestart cluster.ScheduledRestart

	// LogQueue are the log records that wait to be written, LogLost those that
	// found no room to wait.
	LogQueue int
	LogLost  uint64

	// View is the last view of the store; ViewSeen says when it was last known
	// to be current (zero: never), StoreSeen the same in wall time.
	View      cluster.View
	ViewSeen  boot.Instant
	StoreSeen time.Time
	// FailsafeActive: the store is away and the members together keep the leader.
	FailsafeActive bool

	// Voting, Eligible and WhyNot are this member's word in a race.
	Voting   bool
	Eligible bool
	WhyNot   string
	// Guarded: a guard process stops the server when its lease ends.
	Guarded bool
	// KernelFence: the kernel also closes the server's port then, by itself.
	KernelFence bool
	// Watchdog: a watchdog device resets this host unless the lease is renewed.
	// WatchdogFailed: one is required and does not work.
	Watchdog, WatchdogFailed bool
	// NextTurn is when the loop looks again at the latest; a loop that is much
	// later than this is stuck.
	NextTurn boot.Instant
	// Kept is what lies beside the data directory.
	Kept []KeptDoc
	// Task is the long action under way with its progress, for people; empty: none.
	Task, Progress string
}

// ServerFacts is what the local server answered.
type ServerFacts struct {
	Version  int // such as 150018
	Started  time.Time
	Timeline wal.Timeline // 0: unknown

	// Location is a primary's flushed position; the rest is a standby's.
	Location         wal.LSN
	Received         wal.LSN
	Replayed         wal.LSN
	ReplayedAt       time.Time // last replayed commit; zero: none
	ReplayPaused     bool
	ReplicationState string // "streaming", "in archive recovery" or empty
	// LatestEnd is the end of WAL that the WAL receiver last heard of.
	LatestEnd wal.LSN

	Replication []Walsender
}

// Walsender is one row of pg_stat_replication, as published.
type Walsender struct {
	Usename         string `json:"usename"`
	ApplicationName string `json:"application_name"`
	ClientAddr      string `json:"client_addr"`
	State           string `json:"state"`
	SyncState       string `json:"sync_state"`
	SyncPriority    int    `json:"sync_priority"`

	Replay    wal.LSN       `json:"-"` // what it has replayed; 0: not known
	ReplayLag time.Duration `json:"-"` // how long the last record took to get there; negative: not known
}

// Lease is this member's leader lease. In failsafe mode the deadlines are those
// that the members' word allows.
type Lease struct {
	Held      bool
	Session   string
	Deadlines fence.Deadlines
}

// Remaining is how long this member may still write, by the soft deadline; zero
// when it holds no live lease.
func (l Lease) Remaining(now boot.Instant) time.Duration {
	if !l.Held || !l.Deadlines.Live(now) {
		return 0
	}
	return l.Deadlines.Soft.Sub(now)
}

// Leads reports whether this member holds a live lease.
func (s Status) Leads(now boot.Instant) bool { return s.Lease.Remaining(now) > 0 }

// StoreKnown reports whether the view is young enough to be relied on.
func (s Status) StoreKnown(now boot.Instant) bool {
	return !s.ViewSeen.IsZero() && now.Sub(s.ViewSeen) < s.Settings.TTL
}

// Unlocked reports whether nobody is known to lead.
func (s Status) Unlocked(now boot.Instant) bool {
	return !s.StoreKnown(now) || !s.View.Leader.Held()
}

// InRecovery reports whether the server is a standby, as far as is known.
func (s Status) InRecovery() bool { return s.Role != cluster.RolePrimary }

// Position is the end of what the server has: a primary's flushed position, the
// larger of received and replayed of a standby.
func (s Status) Position() wal.LSN {
	if !s.InRecovery() {
		return s.Server.Location
	}
	return max(s.Server.Received, s.Server.Replayed)
}

// SyncStandby reports whether the store lists this replica as synchronous
// standby, QuorumStandby the same in quorum mode.
func (s Status) SyncStandby() bool {
	return s.Settings.SyncMode == cluster.SyncOn && s.listedInSync()
}

// QuorumStandby reports whether this replica is one of the quorum.
func (s Status) QuorumStandby() bool {
	return s.Settings.SyncMode == cluster.SyncQuorum && s.listedInSync()
}

func (s Status) listedInSync() bool {
	return s.Role == cluster.RoleReplica && s.View.Sync.HasStandby(s.Name)
}

// lastKnownEnd is the furthest end of WAL that this member has heard of; zero
// when it has heard of none.
func (s Status) lastKnownEnd() wal.LSN { return max(s.View.Status.Optime, s.Server.LatestEnd) }
