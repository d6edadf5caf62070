package cluster

import "time"

// SyncMode is the value of synchronous_mode.
type SyncMode string

// The synchronous modes; quorum is recognised and refused for now.
const (
	SyncOff    SyncMode = "off"
	SyncOn     SyncMode = "on"
	SyncQuorum SyncMode = "quorum"
)

// Settings are the dynamic settings a decision depends on, already validated,
// with defaults filled in and the timing rule applied. config.Dynamic makes
// them from Config.JSON.
type Settings struct {
	TTL          time.Duration `json:"ttl"`
	LoopWait     time.Duration `json:"loop_wait"`
	RetryTimeout time.Duration `json:"retry_timeout"`

	// MaxLagOnFailover in bytes: a member further behind the last published
	// position of the leader may not take over by itself.
	MaxLagOnFailover uint64 `json:"maximum_lag_on_failover"`
	CheckTimeline    bool   `json:"check_timeline,omitempty"`
	MaxHistory       int    `json:"max_timelines_history,omitempty"` // 0 keeps all

	PrimaryStartTimeout time.Duration `json:"primary_start_timeout"` // 0: fail over at once
	PrimaryStopTimeout  time.Duration `json:"primary_stop_timeout"`  // 0: wait
	// PrimaryStallTimeout: how long a leader may be unable to prove that it can
	// commit before it gives the lease up. 0 never.
	PrimaryStallTimeout time.Duration `json:"primary_stall_timeout"`

	// Failsafe: a leader that cannot reach the store leads on while every recorded
	// member accepts that, and nobody but a recorded member may lead.
	Failsafe bool `json:"failsafe_mode,omitempty"`
	// UnguardedVeto is how long a former leader without a guard, whose server seems to
	// write on, keeps others from being promoted. 0: a ttl.
	UnguardedVeto time.Duration `json:"unguarded_veto,omitempty"`
	// LoseLastRecord: once a leader that stopped cleanly has been gone for as long as
	// ttl and primary_stop_timeout, a member without its last record may lead too.
	// Otherwise nobody without it ever does, unless a person names it.
	LoseLastRecord bool `json:"lose_last_record,omitempty"`

	SyncMode    SyncMode      `json:"synchronous_mode"`
	Paused      bool          `json:"pause,omitempty"`
	UseSlots    bool          `json:"use_slots"`
	UsePgRewind bool          `json:"use_pg_rewind"`
	SlotsTTL    time.Duration `json:"member_slots_ttl"`

	// What may be done with a data directory that cannot follow the leader.
	RecloneOnRewindFailure bool `json:"remove_data_directory_on_rewind_failure,omitempty"`
	RecloneOnDivergence    bool `json:"remove_data_directory_on_diverged_timelines,omitempty"`
}

// DefaultSettings are the built-in defaults.
func DefaultSettings() Settings {
	return Settings{
		TTL: 30 * time.Second, LoopWait: 10 * time.Second, RetryTimeout: 10 * time.Second,
		MaxLagOnFailover:    1 << 20,
		PrimaryStartTimeout: 300 * time.Second,
		PrimaryStallTimeout: 30 * time.Second,
		SyncMode:            SyncOff,
		UseSlots:            true,
		SlotsTTL:            30 * time.Minute,
	}
}
