package api

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
	"github.com/matriarch-ha/matriarch/wal"
)

// StatusDoc is the answer of GET /patroni and of every GET health check, in the
// wire's order. Pointers tell absent from zero.
type StatusDoc struct {
	State           string      `json:"state"`
	PostmasterStart string      `json:"postmaster_start_time,omitempty"`
	Role            string      `json:"role"`
	ServerVersion   int         `json:"server_version,omitempty"`
	XLog            *XLogDoc    `json:"xlog,omitempty"`
	SyncStandby     bool        `json:"sync_standby,omitempty"`
	QuorumStandby   bool        `json:"quorum_standby,omitempty"`
	Timeline        *int64      `json:"timeline,omitempty"`
	ReplState       string      `json:"replication_state,omitempty"`
	Replication     []Walsender `json:"replication,omitempty"`
	Pause           bool        `json:"pause,omitempty"`
	Unlocked        bool        `json:"cluster_unlocked,omitempty"`
	FailsafeActive  bool        `json:"failsafe_mode_is_active,omitempty"`
	StoreLastSeen   int64       `json:"dcs_last_seen"` // epoch seconds, 0 never

	LogQueue int    `json:"logger_queue_size,omitempty"` // when it is more than usual
	LogLost  uint64 `json:"logger_records_lost,omitempty"`

	Tags           pyjson.Object `json:"tags,omitempty"`
	SystemID       string        `json:"database_system_identifier,omitempty"`
	PendingRestart bool          `json:"pending_restart,omitempty"`
	PendingReason  pyjson.Object `json:"pending_restart_reason,omitempty"`

	Scheduled      *RestartDoc `json:"scheduled_restart,omitempty"`
	WatchdogFailed bool        `json:"watchdog_failed,omitempty"`

	Patroni   PatroniDoc    `json:"patroni"`
	Matriarch *MatriarchDoc `json:"matriarch,omitempty"`
}

// XLogDoc holds positions in bytes: Location for a primary, the rest for a
// standby.
type XLogDoc struct {
	Location          *wal.LSN `json:"location,omitempty"`
	ReceivedLocation  *wal.LSN `json:"received_location,omitempty"`
	ReplayedLocation  *wal.LSN `json:"replayed_location,omitempty"`
	ReplayedTimestamp *string  `json:"replayed_timestamp,omitempty"`
	Paused            *bool    `json:"paused,omitempty"`
}

// PatroniDoc names the member and the compatibility level.
type PatroniDoc struct {
	Version string `json:"version"`
	Scope   string `json:"scope"`
	Name    string `json:"name"`
}

// MatriarchDoc is what only our members say.
type MatriarchDoc struct {
	Version          string `json:"version"`
	AgentStart       string `json:"agent_start_time,omitempty"`
	LeaseRemainingMs int64  `json:"lease_remaining_ms"`
	Voting           bool   `json:"voting"`
	Eligible         bool   `json:"eligible"`
	WhyNot           string `json:"why_not,omitempty"`
	Guarded          bool   `json:"guarded"`
	KernelFence      bool   `json:"kernel_fence"`
	Watchdog         bool   `json:"watchdog,omitempty"`
	Task             string `json:"task,omitempty"`
	Progress         string `json:"progress,omitempty"`

	// Kept is what lies beside the data directory and takes room.
	Kept []KeptDoc `json:"kept,omitempty"`
}

// KeptDoc is a replaced data directory, saved log, or the like.
type KeptDoc struct {
	Path string `json:"path"`
	// RemovedAfter is how many seconds more the present data must serve well before
	// it is removed; absent: a person must do that.
	RemovedAfter *int64 `json:"removed_after_seconds,omitempty"`
}

// timestampLayout is how PostgreSQL times are written in the status.
const timestampLayout = "2006-01-02 15:04:05.000000-07:00"

func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(timestampLayout)
}

// usualLogQueue are records that wait without telling anything.
const usualLogQueue = 2

// statusDoc puts a status on the wire.
func statusDoc(s Status, now boot.Instant) StatusDoc {
	d := StatusDoc{
		State: string(s.State), Role: string(s.Role),
		SyncStandby: s.SyncStandby(), QuorumStandby: s.QuorumStandby(),
		Pause: s.Settings.Paused, Unlocked: s.Unlocked(now), FailsafeActive: s.FailsafeActive,
		Tags: tagsObject(s.Tags), SystemID: s.SystemID,
		PendingRestart: len(s.Pending) > 0, PendingReason: reasonObject(s.Pending),
		Scheduled: restartObject(s.ScheduledRestart), WatchdogFailed: s.WatchdogFailed,
		Patroni: PatroniDoc{Version: s.Version, Scope: s.Scope, Name: s.Name},
		Matriarch: &MatriarchDoc{
			Version: s.Matriarch, AgentStart: timestamp(s.AgentStarted), LeaseRemainingMs: s.Lease.Remaining(now).Milliseconds(),
			Voting: s.Voting, Eligible: s.Eligible, WhyNot: s.WhyNot, Guarded: s.Guarded, KernelFence: s.KernelFence, Watchdog: s.Watchdog,
			Task: s.Task, Progress: s.Progress, Kept: s.Kept,
		},
	}
	if d.LogLost = s.LogLost; s.LogQueue > usualLogQueue {
		d.LogQueue = s.LogQueue
	}
	if !s.StoreSeen.IsZero() {
		d.StoreLastSeen = s.StoreSeen.Unix()
	}
	if s.Facts {
		d.addServer(s)
	}
	return d
}

// addServer adds what the server answered.
func (d *StatusDoc) addServer(s Status) {
	f := s.Server
	d.PostmasterStart = timestamp(f.Started)
	d.ServerVersion = f.Version
	tl := int64(f.Timeline)
	d.Timeline = &tl
	d.Replication = f.Replication
	if !s.InRecovery() {
		d.XLog = &XLogDoc{Location: &f.Location}
		return
	}
	d.ReplState = f.ReplicationState
	d.XLog = &XLogDoc{ReceivedLocation: &f.Received, ReplayedLocation: &f.Replayed, Paused: &f.ReplayPaused}
	if !f.ReplayedAt.IsZero() {
		at := timestamp(f.ReplayedAt)
		d.XLog.ReplayedTimestamp = &at
	}
}

// MarshalJSON keeps the fields of a standby together: a missing timestamp is
// null there, not absent.
func (x XLogDoc) MarshalJSON() ([]byte, error) {
	if x.Location != nil {
		return pyjson.Marshal(pyjson.Object{{Key: "location", Value: uint64(*x.Location)}})
	}
	return pyjson.Marshal(pyjson.Object{
		{Key: "received_location", Value: x.ReceivedLocation},
		{Key: "replayed_location", Value: x.ReplayedLocation},
		{Key: "replayed_timestamp", Value: x.ReplayedTimestamp},
		{Key: "paused", Value: x.Paused},
	})
}

// reasonObject writes what waits for a restart.
func reasonObject(changes []cluster.SettingChange) pyjson.Object {
	var o pyjson.Object
	for _, c := range changes {
		o = append(o, pyjson.Field{Key: c.Name, Value: pyjson.Object{
			{Key: "old_value", Value: c.Old}, {Key: "new_value", Value: c.New}}})
	}
	return o
}

// LeaseDoc is the answer of GET /lease: how long this member may still write.
// The asker counts from before it asked.
type LeaseDoc struct {
	Name             string `json:"name"`
	Role             string `json:"role"`
	LeaseRemainingMs int64  `json:"lease_remaining_ms"` // 0: holds no live lease
	LeaseSession     string `json:"lease_session"`
	Timeline         int64  `json:"timeline"`
	State            string `json:"state"`
}

func leaseDoc(s Status, now boot.Instant) LeaseDoc {
	d := LeaseDoc{Name: s.Name, Role: string(s.Role), Timeline: int64(s.Server.Timeline), State: string(s.State)}
	if left := s.Lease.Remaining(now); left > 0 {
		d.LeaseRemainingMs = left.Milliseconds()
		d.LeaseSession = s.Lease.Session
	}
	return d
}

// VoteDoc is the answer of GET /vote: a member's word in a race.
type VoteDoc struct {
	Name       string        `json:"name"`
	InRecovery bool          `json:"in_recovery"`
	Timeline   int64         `json:"timeline"` // 0: unknown
	LSN        string        `json:"lsn"`      // "0/0": unknown, or a primary
	Voting     bool          `json:"voting"`
	Eligible   bool          `json:"eligible"`
	WhyNot     string        `json:"why_not"`
	Tags       pyjson.Object `json:"tags"`
	// Fresh: the server answered just now. A vote that is not fresh counts as
	// no word.
	Fresh bool `json:"fresh"`
}

func voteDoc(s Status) VoteDoc {
	d := VoteDoc{
		Name: s.Name, InRecovery: s.InRecovery(), Timeline: int64(s.Server.Timeline), LSN: wal.LSN(0).String(),
		Voting: s.Voting, Eligible: s.Eligible, WhyNot: s.WhyNot, Fresh: s.Facts, Tags: tagsObject(s.Tags),
	}
	if d.Tags == nil {
		d.Tags = pyjson.Object{}
	}
	if s.InRecovery() {
		d.LSN = s.Position().String()
	}
	return d
}
