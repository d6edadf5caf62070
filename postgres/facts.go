package postgres

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/postgres/probe"
	"github.com/matriarch-ha/matriarch/wal"
)

// DirState is what is at the place of the data directory.
type DirState string

// The states of a data directory.
const (
	DirMissing       DirState = "missing"
	DirEmpty         DirState = "empty"
	DirPresent       DirState = "present"
	DirInaccessible  DirState = "inaccessible"  // exists, cannot be read: not empty, not ours to judge
	DirBootstrapping DirState = "bootstrapping" // a bootstrap did not finish
	DirRewinding     DirState = "rewinding"     // a rewind did not finish: must not be started
	DirBroken        DirState = "broken"        // present, but its control file cannot be read
)

// ProcState is what the postmaster does.
type ProcState string

// The states of the postmaster.
const (
	ProcStopped  ProcState = "stopped"
	ProcStarting ProcState = "starting"
	ProcRunning  ProcState = "running"
	ProcStopping ProcState = "stopping"
)

// ServerRole is what the server is by its own word, or would be if started.
type ServerRole string

// The roles; empty means unknown.
const (
	RolePrimary ServerRole = "primary"
	RoleStandby ServerRole = "standby"
)

// Facts is one observation of the local server. Zero values mean unknown.
type Facts struct {
	At boot.Instant `json:"at"`

	Dir      DirState `json:"dir"`
	DirError string   `json:"dir_error,omitempty"`
	SystemID string   `json:"system_id,omitempty"`
	Major    int      `json:"major,omitempty"`
	// Claim is that of an unfinished bootstrap, "" when there is none.
	Claim string `json:"claim,omitempty"`
	// Rewinding is the marker of an unfinished rewind, present in stage
	// "copying" (Dir is DirRewinding) and "replaying" (may be started as a
	// standby until consistent).
	Rewinding RewindMarker `json:"rewinding"`
	// Kept lists what is kept beside the data directory.
	Kept []KeptCopy `json:"kept,omitempty"`
	// WALHeld: all log is kept, since a former primary's may be needed by a rewind;
	// LetWALGo ends that.
	WALHeld bool `json:"wal_held,omitempty"`

	Process      ProcState  `json:"process"`
	PID          int        `json:"pid,omitempty"`
	StartTicks   uint64     `json:"start_ticks,omitempty"` // with PID names the process
	Role         ServerRole `json:"role,omitempty"`
	LastStartErr string     `json:"last_start_error,omitempty"`
	// ShutDown: the postmaster is stopping and the shutdown checkpoint of a
	// primary is on disk: no more log is written, and nobody is served.
	ShutDown bool `json:"shut_down,omitempty"`
	// SQLError says why a running server could not be asked; then everything
	// that only SQL knows is unknown.
	SQLError string `json:"sql_error,omitempty"`
	// SQLUnknown: the question timed out or was cancelled; nothing follows from it.
	SQLUnknown bool `json:"sql_unknown,omitempty"`

	ServerVersion   int       `json:"server_version,omitempty"` // 150004
	PostmasterStart time.Time `json:"postmaster_start,omitzero"`

	// Position is the end of the log that this server certainly has: flushed
	// of a primary, the larger of received and replayed of a standby, the end
	// of the last valid record of a stopped server.
	Position wal.Position `json:"position"`
	Flushed  wal.LSN      `json:"flushed,omitempty"`
	Received wal.LSN      `json:"received,omitempty"`
	Replayed wal.LSN      `json:"replayed,omitempty"`
	// ReplayDone: all local log has been replayed and the server waits for more.
	ReplayDone   bool `json:"replay_done,omitempty"`
	ReplayPaused bool `json:"replay_paused,omitempty"`
	// ReplayedAt is when the last replayed transaction was committed; zero: none yet.
	ReplayedAt time.Time `json:"replayed_at,omitzero"`
	// Consistent: the minimum recovery point has been reached (sessions are accepted).
	Consistent bool `json:"consistent,omitempty"`

	History  wal.History              `json:"history,omitempty"` // ancestors of Position.Timeline
	Identity cluster.TimelineIdentity `json:"identity"`          // of Position.Timeline

	Receiver Receiver `json:"receiver"`
	// ReceiverError is the server's own word why it does not stream from its
	// upstream, with what to do about it.
	ReceiverError string `json:"receiver_error,omitempty"`
	// Archive tells of an archive_command whose last attempt failed.
	Archive  ArchiveFailure `json:"archive,omitzero"`
	Upstream Endpoint       `json:"upstream"` // configured primary_conninfo; empty: none
	// SignalFile: standby.signal or recovery.signal exists.
	SignalFile bool `json:"signal_file,omitempty"`

	Control      control.Data `json:"control"`
	ControlError string       `json:"control_error,omitempty"`

	WalSenders []WalSender `json:"walsenders,omitempty"` // sorted by application name, pid
	SyncNames  string      `json:"synchronous_standby_names,omitempty"`
	SyncCommit string      `json:"synchronous_commit,omitempty"` // by the server's files; empty: not known
	// WeakCommits are the synchronous_commit settings of roles and databases that
	// are less than "on"; of a primary.
	WeakCommits []WeakCommit   `json:"weak_commits,omitempty"`
	Slots       []SlotFact     `json:"slots,omitempty"` // sorted by name
	Pending     []SettingDelta `json:"pending_restart,omitempty"`
}

// WeakCommit is a synchronous_commit of a role, a database, or one in the other.
type WeakCommit struct {
	Role     string `json:"role,omitempty"`     // empty: every role
	Database string `json:"database,omitempty"` // empty: every database
	Value    string `json:"value"`
}

// String names the setting and what takes it back.
func (c WeakCommit) String() string {
	who, remedy := "all roles", "ALTER ROLE ALL"
	role, db := probe.Ident(c.Role), probe.Ident(c.Database)
	switch {
	case c.Role != "" && c.Database != "":
		who, remedy = "role "+role+" in database "+db, "ALTER ROLE "+role+" IN DATABASE "+db
	case c.Role != "":
		who, remedy = "role "+role, "ALTER ROLE "+role
	case c.Database != "":
		who, remedy = "database "+db, "ALTER DATABASE "+db
	}
	return c.Value + " for " + who + ": " + remedy + " RESET synchronous_commit"
}

// SettingDelta is a parameter that waits for a restart.
type SettingDelta = cluster.SettingChange

// Endpoint is where a connection string leads.
type Endpoint struct {
	Host string `json:"host,omitempty"`
	Port string `json:"port,omitempty"`
	Slot string `json:"slot,omitempty"`
}

// Receiver is the WAL receiver of a standby.
type Receiver struct {
	Running  bool         `json:"running,omitempty"`
	Status   string       `json:"status,omitempty"` // "streaming", "starting", …
	PID      int          `json:"pid,omitempty"`
	Endpoint Endpoint     `json:"endpoint"`
	Timeline wal.Timeline `json:"timeline,omitempty"`
	Written  wal.LSN      `json:"written,omitempty"`
	Flushed  wal.LSN      `json:"flushed,omitempty"`
	// LatestEnd is the end of WAL that the sender last told of.
	LatestEnd wal.LSN   `json:"latest_end,omitempty"`
	LastMsg   time.Time `json:"last_message,omitzero"` // server's wall clock
}

// ArchiveFailure is what the archiver counts while it fails.
type ArchiveFailure struct {
	Failures int       `json:"failures"`
	File     string    `json:"file"`  // the one that waits
	Since    time.Time `json:"since"` // the last success, or the start of counting
}

// WalSender is one connected standby or backup.
type WalSender struct {
	PID          int           `json:"pid"`
	Application  string        `json:"application"`
	User         string        `json:"user,omitempty"`
	Addr         string        `json:"addr,omitempty"`
	State        string        `json:"state,omitempty"`
	SyncState    string        `json:"sync_state,omitempty"`
	SyncPriority int           `json:"sync_priority,omitempty"`
	Sent         wal.LSN       `json:"sent,omitempty"`
	Write        wal.LSN       `json:"write,omitempty"`
	Flush        wal.LSN       `json:"flush,omitempty"`
	Replay       wal.LSN       `json:"replay,omitempty"`
	ReplayLag    time.Duration `json:"replay_lag,omitempty"` // how long the last record took to be replayed; -1: not known
	ReplyAge     time.Duration `json:"reply_age,omitempty"`  // since its last reply; -1: never
}

// SlotFact is one replication slot.
type SlotFact struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"` // physical, logical
	Active    bool    `json:"active,omitempty"`
	Restart   wal.LSN `json:"restart_lsn,omitempty"`
	Confirmed wal.LSN `json:"confirmed_flush_lsn,omitempty"`
	Database  string  `json:"database,omitempty"`
	Plugin    string  `json:"plugin,omitempty"`
	Temporary bool    `json:"temporary,omitempty"`
	Xmin      bool    `json:"xmin,omitempty"`
	WALStatus string  `json:"wal_status,omitempty"`
}

// RewindMarker is the content of <data_dir>.rewinding.
type RewindMarker struct {
	Stage    string       `json:"stage,omitempty"` // "copying", "replaying"
	Source   string       `json:"source,omitempty"`
	Timeline wal.Timeline `json:"timeline,omitempty"` // target timeline
	Fork     wal.Position `json:"fork"`
	// NothingKept: before it began nothing was kept inside what it rewinds. What is
	// there now under such names is the source's.
	NothingKept bool `json:"nothing_kept,omitempty"`
}

// Present reports whether a marker exists.
func (m RewindMarker) Present() bool { return m.Stage != "" }
