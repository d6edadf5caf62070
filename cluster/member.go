package cluster

import (
	"net/url"

	"github.com/matriarch-ha/matriarch/wal"
)

// Role is what a member's server is, as it is published. Holding the leader
// lease is another fact: see View.Leader.
type Role string

// The published roles.
const (
	RolePrimary       Role = "primary"
	RoleReplica       Role = "replica"
	RoleStandbyLeader Role = "standby_leader"
	RoleDemoted       Role = "demoted"
	RoleUninitialized Role = "uninitialized"
	RolePromoted      Role = "promoted" // promotion sent, not yet in production
)

// State is what a member's server is doing, as it is published.
type State string

// The published states; the texts are those of the compatible member key.
const (
	StateInitializing    State = "initializing new cluster"
	StateInitFailed      State = "initdb failed"
	StateCreatingReplica State = "creating replica"
	StateRunning         State = "running"
	StateStarting        State = "starting"
	StateStartFailed     State = "start failed"
	StateRestarting      State = "restarting"
	StateRestartFailed   State = "restart failed"
	StateStopping        State = "stopping"
	StateStopped         State = "stopped"
	StateStopFailed      State = "stop failed"
	StateCrashed         State = "crashed"
	StateUnknown         State = "unknown"
)

// Member is what one member published about itself in its key.
type Member struct {
	Name    string `json:"name"`
	ConnURL string `json:"conn_url,omitempty"` // postgres://host:port/db, no credentials
	APIURL  string `json:"api_url,omitempty"`  // http://host:port/patroni
	State   State  `json:"state,omitempty"`
	Role    Role   `json:"role,omitempty"`
	// Version is the compatibility level; Matriarch is our own version and is
	// empty for members run by another program.
	Version   string `json:"version,omitempty"`
	Matriarch string `json:"matriarch,omitempty"`
	// Guarded says that a guard process stops the server when its lease ends.
	Guarded bool `json:"guarded,omitempty"`
	// Namesake is the address of another agent that bears this member's name, which
	// is a mistake that a person has to mend.
	Namesake string `json:"namesake,omitempty"`

	Tags     Tags         `json:"tags"`
	Timeline wal.Timeline `json:"timeline,omitempty"`
	// XLog is the flushed position of a primary, the larger of received and
	// replayed of a standby. Zero: not published.
	XLog             wal.LSN `json:"xlog,omitempty"`
	Received         wal.LSN `json:"received,omitempty"`
	Replayed         wal.LSN `json:"replayed,omitempty"`
	ReplicationState string  `json:"replication_state,omitempty"` // "streaming", "in archive recovery", ""

	// CheckpointPending is true from promotion until the first checkpoint on
	// the new timeline is done; pg_rewind must wait for it.
	CheckpointPending bool `json:"checkpoint_pending,omitempty"`

	PendingRestart       bool            `json:"pending_restart,omitempty"`
	PendingRestartReason []SettingChange `json:"pending_restart_reason,omitempty"`
	Paused               bool            `json:"paused,omitempty"`

	ScheduledRestart ScheduledRestart `json:"scheduled_restart,omitzero"`
}

// SettingChange is one PostgreSQL parameter that waits for a restart.
type SettingChange struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// Tags are a member's settings that others must know. The zero value is the
// default except for the two priorities, whose default is 1: use
// FailoverPriorityOr and SyncPriorityOr.
type Tags struct {
	NoFailover       bool   `json:"nofailover,omitempty"`
	NoLoadBalance    bool   `json:"noloadbalance,omitempty"`
	CloneFrom        bool   `json:"clonefrom,omitempty"`
	NoSync           bool   `json:"nosync,omitempty"`
	NoStream         bool   `json:"nostream,omitempty"`
	ReplicateFrom    string `json:"replicatefrom,omitempty"`
	FailoverPriority *int   `json:"failover_priority,omitempty"`
	SyncPriority     *int   `json:"sync_priority,omitempty"`
	// Other holds tags without meaning to us, sorted by name; values are JSON.
	Other []Tag `json:"other,omitempty"`
}

// Tag is a tag that the program does not interpret. Value is JSON text.
type Tag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// FailoverPriorityOr1 returns the failover priority; 0 means never.
func (t Tags) FailoverPriorityOr1() int {
	if t.NoFailover {
		return 0
	}
	if t.FailoverPriority != nil {
		return max(0, *t.FailoverPriority)
	}
	return 1
}

// SyncPriorityOr1 returns the priority as synchronous standby; 0 means never.
func (t Tags) SyncPriorityOr1() int {
	if t.NoSync {
		return 0
	}
	if t.SyncPriority != nil {
		return max(0, *t.SyncPriority)
	}
	return 1
}

// MayLead reports whether the member's tags allow it to become leader.
func (t Tags) MayLead() bool { return t.FailoverPriorityOr1() > 0 }

// Running reports whether the published state is exactly running.
func (m Member) Running() bool { return m.State == StateRunning }

// HostPort returns host and port of the member's server from its connection
// URL; the port defaults to 5432.
func (m Member) HostPort() (host, port string) {
	u, err := url.Parse(m.ConnURL)
	if err != nil {
		return "", ""
	}
	port = u.Port()
	if port == "" {
		port = "5432"
	}
	return u.Hostname(), port
}
