package ha

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/wal"
)

// Observation is everything a decision may depend on. It holds plain values;
// lists are sorted by name. Unknown is a value of its own everywhere: a zero
// LSN, timeline or instant means "no word", never "at the beginning".
type Observation struct {
	Now  boot.Instant `json:"now"`
	Wall time.Time    `json:"wall"`

	Self     Self             `json:"self"`
	Settings cluster.Settings `json:"settings"`
	Server   Server           `json:"server"`
	Task     Task             `json:"task"`
	Lease    Lease            `json:"lease"`
	Guard    Guard            `json:"guard"`
	Store    Store            `json:"store"`
	Peers    []Peer           `json:"peers,omitempty"`
	Failsafe Failsafe         `json:"failsafe,omitzero"`
	Requests Requests         `json:"requests,omitzero"`
	// Stopping: the agent was told to stop and will end once the server is
	// settled and the lease given up.
	Stopping bool `json:"stopping,omitempty"`
}

// Self is what does not change while the agent runs (except tags, by reload).
type Self struct {
	Name string       `json:"name"`
	Tags cluster.Tags `json:"tags"`
	// CanBootstrap: the configuration has a bootstrap section and the tags
	// allow to lead.
	CanBootstrap bool `json:"can_bootstrap,omitempty"`
	// Namesake is the address of another agent that was seen to bear this name.
	Namesake string `json:"namesake,omitempty"`
}

// Process is the state of the local postmaster.
type Process string

// The states of the postmaster.
const (
	ProcessUnknown  Process = ""
	ProcessStopped  Process = "stopped"  // no postmaster, no other server process
	ProcessStarting Process = "starting" // postmaster lives, does not accept connections yet
	ProcessRunning  Process = "running"  // accepts connections
	ProcessStopping Process = "stopping" // shutdown requested or crash handling
)

// Dir is the state of the data directory.
type Dir string

// The states of the data directory.
const (
	DirUnknown      Dir = ""
	DirEmpty        Dir = "empty"        // missing or empty
	DirPresent      Dir = "present"      // holds a server
	DirUnfinished   Dir = "unfinished"   // a bootstrap of ours that was never accepted by the store
	DirInaccessible Dir = "inaccessible" // cannot be read; see Server.LastError
)

// ServerRole is what the local server is, or when it is stopped, what it last was.
type ServerRole string

// The roles a server can be in.
const (
	ServerUnknown ServerRole = ""
	ServerPrimary ServerRole = "primary" // accepts writes, or would if it were running
	ServerStandby ServerRole = "standby" // in recovery
)

// Server is what is known of the local PostgreSQL.
type Server struct {
	Dir     Dir        `json:"dir"`
	Process Process    `json:"process"`
	Role    ServerRole `json:"role"`
	// RoleSince is when Process or Role last changed.
	RoleSince boot.Instant `json:"role_since,omitempty"`
	SystemID  string       `json:"system_id,omitempty"`

	// Position is the end of what the server has: a primary's flushed position,
	// a running standby's larger of received and replayed, a stopped server's
	// end of valid WAL. Its timeline is the branch that end is on.
	Position wal.Position `json:"position"`
	// Replayed is how far a running standby has applied.
	Replayed wal.LSN `json:"replayed,omitempty"`
	// ReplayDone: a running standby has applied all WAL that it has at hand, so
	// that Position is really its end. Always true for a primary.
	ReplayDone bool `json:"replay_done,omitempty"`
	// Receiver: a WAL receiver process is running.
	Receiver bool `json:"receiver,omitempty"`
	// Streaming: the receiver is connected and streams.
	Streaming bool `json:"streaming,omitempty"`
	// Heard is when the receiver last had a message from its upstream; zero: not known.
	Heard boot.Instant `json:"heard,omitempty"`
	// UpstreamEnd is the end of the upstream's log as it told last, also after the
	// receiver has ended: no rule reads it, it tells afterwards what may be lost.
	UpstreamEnd wal.LSN `json:"upstream_end,omitempty"`
	// Upstream is host:port of the configured primary_conninfo, empty when the
	// standby follows nobody.
	Upstream string `json:"upstream,omitempty"`
	// Identity tells the branch of Position.Timeline apart from another of the
	// same number.
	Identity cluster.TimelineIdentity `json:"identity"`
	// History lists the ancestors of Position.Timeline as the server's own
	// history file does.
	History wal.History `json:"history,omitempty"`

	// Clean: the server was shut down cleanly: it is stopped, or ShutDown.
	Clean bool `json:"clean,omitempty"`
	// ShutDown: the shutdown checkpoint is on disk, so the server writes no more
	// log and serves nobody, although its postmaster still waits for the archiver
	// or for standbys. Process is then ProcessStopping.
	ShutDown bool `json:"shut_down,omitempty"`
	// Rewinding: a pg_rewind began here and did not end well; the directory
	// must not be started.
	Rewinding bool `json:"rewinding,omitempty"`
	// Claim is the version of initialize under which this member began an
	// unfinished bootstrap.
	Claim cluster.Version `json:"claim,omitempty"`
	// RewindUnproven: a rewind succeeded but the server has not reached
	// consistency since.
	RewindUnproven bool `json:"rewind_unproven,omitempty"`
	// CanRewind: pg_rewind exists and the server keeps what it needs
	// (wal_log_hints or checksums).
	CanRewind bool `json:"can_rewind,omitempty"`
	// CheckpointTimeline is the timeline of the last checkpoint; lower than
	// Position.Timeline right after a promotion.
	CheckpointTimeline wal.Timeline `json:"checkpoint_timeline,omitempty"`

	// SyncNames is synchronous_standby_names in force, parsed; nil when unset.
	SyncNames   []string                `json:"sync_names,omitempty"`
	Replication []Walsender             `json:"replication,omitempty"`
	Slots       []cluster.SlotState     `json:"slots,omitempty"` // physical ones, sorted
	Pending     []cluster.SettingChange `json:"pending,omitempty"`
	// Version is the running program's, such as 150018, and PostmasterStart when
	// it was started, by its own clock. Zero: not known.
	Version         int       `json:"version,omitempty"`
	PostmasterStart time.Time `json:"postmaster_start,omitzero"`
	// Proven is when a running primary last proved that it can commit: its flushed
	// position moved, or a record written for that alone reached its disk. Zero: it
	// is not looked for. Unproven is why the latest attempt failed.
	Proven   boot.Instant `json:"proven,omitempty"`
	Unproven string       `json:"unproven,omitempty"`
	// Ended says of a stopped server how its postmaster ended, as a sentence, when
	// this member had not told it to: "PostgreSQL was ended by SIGKILL".
	Ended string `json:"ended,omitempty"`
	// LastError says why the last start or probe failed; empty when it did not.
	LastError string `json:"last_error,omitempty"`
}

// Walsender is one row of pg_stat_replication.
type Walsender struct {
	Name         string  `json:"name"` // application_name
	State        string  `json:"state"`
	SyncState    string  `json:"sync_state"`
	SyncPriority int     `json:"sync_priority,omitempty"`
	Write        wal.LSN `json:"write,omitempty"`
	Flush        wal.LSN `json:"flush,omitempty"`
	Replay       wal.LSN `json:"replay,omitempty"`
}

// TaskKind names a long action; one runs at a time.
type TaskKind = ActionKind

// Task is the long action that owns the server now, and how the last one ended.
type Task struct {
	Kind     TaskKind     `json:"kind,omitempty"` // empty: none
	Since    boot.Instant `json:"since,omitempty"`
	Progress string       `json:"progress,omitempty"`
	// Last is the most recent task that ended since the agent started.
	Last TaskResult `json:"last"`
}

// TaskResult is how a task ended. Seq counts ended tasks, so that two equal
// failures can be told apart.
type TaskResult struct {
	Seq   int          `json:"seq,omitempty"`
	Kind  TaskKind     `json:"kind,omitempty"`
	Error string       `json:"error,omitempty"` // empty: success
	At    boot.Instant `json:"at,omitempty"`
}

// Lease is this member's session in the store and the leader lease on it.
type Lease struct {
	// Session is the id of the open session, empty when there is none.
	Session string `json:"session,omitempty"`
	// Held: the leader key was taken under this session, and nothing has been
	// heard since that says otherwise. It does not say that the lease still
	// lasts: see Live.
	Held      bool            `json:"held,omitempty"`
	Deadlines fence.Deadlines `json:"deadlines"`
	Granted   time.Duration   `json:"granted,omitempty"`
	// Adrift: the lease is held by the members' word alone, the key is not in the
	// store any more. TakeLeader creates it again under Session.
	Adrift bool `json:"adrift,omitempty"`
	// ByWord: the members' word lets the lease last longer than the store has
	// confirmed it.
	ByWord    bool   `json:"by_word,omitempty"`
	LastError string `json:"last_error,omitempty"`
}

// Live reports whether this member may write at now.
func (l Lease) Live(now boot.Instant) bool { return l.Held && l.Deadlines.Live(now) }

// Guard is the process that stops the server when the lease ends.
type Guard struct {
	// Required is false only where the configuration or the platform has none.
	Required bool `json:"required,omitempty"`
	Running  bool `json:"running,omitempty"`
	// Armed is the hard deadline that the guard acknowledged last.
	Armed boot.Instant `json:"armed,omitempty"`
	// Kernel: the kernel closes the server's port at that deadline, also when no
	// process can run. It is told, and decides nothing.
	Kernel bool `json:"kernel,omitempty"`
	// Device: a watchdog device resets the host unless the lease is renewed. It is
	// told, and decides nothing.
	Device bool `json:"device,omitempty"`
	// Watchdog is why the watchdog device, which is required, does not work.
	Watchdog string `json:"watchdog,omitempty"`
}

// Ready reports whether a primary may run under this guard.
func (g Guard) Ready() bool { return g.Missing() == "" }

// Missing is why not.
func (g Guard) Missing() string {
	switch {
	case g.Required && !g.Running:
		return "its guard does not run"
	case g.Required && g.Watchdog != "":
		return "its watchdog device is required and does not work: " + g.Watchdog
	}
	return ""
}

// Store is the last view of the cluster and its worth.
type Store struct {
	// Known: View was read at least once.
	Known bool `json:"known,omitempty"`
	// Reachable: the latest contact succeeded and View is current.
	Reachable bool         `json:"reachable,omitempty"`
	View      cluster.View `json:"view"`
	Seen      boot.Instant `json:"seen,omitempty"` // when View was last known to be current
	LastError string       `json:"last_error,omitempty"`
	// NewSince is when this process first saw that the store is another one
	// than before (its id changed, or its revision went back), or read that an agent
	// before it had, and had not waited for a ttl since; zero when it is the one that
	// was always known, or none was known before. NewHandover is the version of the
	// record of a clean stop that was there when it was seen.
	NewSince    boot.Instant    `json:"new_since,omitempty"`
	NewHandover cluster.Version `json:"new_handover,omitempty"`
	// FirstSeen is when this process saw the store first, where nothing was noted of
	// the one that the member had before, if any; zero when that is known.
	FirstSeen boot.Instant `json:"first_seen,omitempty"`
	// LongestTTL is what the agent before this one noted beside the store's identity:
	// Memory.Longest. Zero: nothing was noted.
	LongestTTL time.Duration `json:"longest_ttl,omitempty"`
}

// Peer is another member's own word, asked directly.
type Peer struct {
	Name string `json:"name"`
	// Asked is when the latest question was sent, Answered when the answer to a
	// question came (to the one sent at AnswerTo). Zero: never.
	Asked    boot.Instant `json:"asked,omitempty"`
	Answered boot.Instant `json:"answered,omitempty"`
	AnswerTo boot.Instant `json:"answer_to,omitempty"`
	// Error is why the latest question got no answer; empty while it is open
	// and after an answer.
	Error string `json:"error,omitempty"`
	// AgentSilent: this is what its server alone said.
	AgentSilent bool `json:"agent_silent,omitempty"`
	// ServerSilent: the agent answered that question, its server did not.
	ServerSilent bool `json:"server_silent,omitempty"`

	// What the answer said.
	InRecovery bool         `json:"in_recovery,omitempty"`
	Position   wal.Position `json:"position"` // received or replayed, whichever is more; zero for a primary
	Tags       cluster.Tags `json:"tags"`
	// Voting: its WAL receiver is stopped, and it promised to leave it so until
	// it sees a leader.
	Voting bool `json:"voting,omitempty"`
	// EligibleKnown, Eligible: whether it could lead itself, by its own word
	// (members of another program do not say).
	EligibleKnown  bool `json:"eligible_known,omitempty"`
	Eligible       bool `json:"eligible,omitempty"`
	WatchdogFailed bool `json:"watchdog_failed,omitempty"`
	// Closed: its server itself was asked and takes no writes: it is in recovery, or
	// nobody listens there. It stands also where the agent did not answer.
	Closed bool `json:"closed,omitempty"`
}

// Failsafe is what members promise each other while the store is silent.
type Failsafe struct {
	// Asked is when this member began its latest round of questions, and Ended
	// when the last answer was in, or not waited for any more. Zero: never.
	Asked boot.Instant `json:"asked,omitempty"`
	Ended boot.Instant `json:"ended,omitempty"`
	// Error is why the latest round was in vain; empty when all accepted, and
	// while it is open.
	Error string `json:"error,omitempty"`

	// Leader is whom this member accepted last, and Until how long it has promised
	// not to take the lease. Zero: never.
	Leader string       `json:"leader,omitempty"`
	Until  boot.Instant `json:"until,omitempty"`
}

// Open reports whether questions are under way.
func (f Failsafe) Open() bool { return f.Asked > f.Ended }

// Promised reports whether this member may not take the lease at now.
func (f Failsafe) Promised(now boot.Instant) bool { return now < f.Until }
