package ha

import (
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
	"slices"
)

// ActionKind names one thing to do.
type ActionKind string

// Quick actions are carried out within the turn, in order. When one fails, the
// rest of the turn's actions are dropped, except that Fence is always carried
// out; the next turn sees the world as it is and decides afresh. Each is
// idempotent.
const (
	// Fence stops the server at once, whatever it is doing: cancels the running
	// task, kills every process of the server, and leaves standby.signal in
	// place. It waits for the proof.
	Fence ActionKind = "fence"
	// CancelTask asks the running task to end; its end is seen later.
	CancelTask ActionKind = "cancel-task"

	// TakeLeader creates the leader key under Session if it does not exist, and
	// this member has not promised another to leave it alone (Failsafe).
	TakeLeader ActionKind = "take-leader"
	// ReleaseLeader writes Handover first when it has one (over the one that was
	// seen, while the lease is live), then deletes the leader key if it belongs to Session. Carried out only
	// while the server does not write.
	ReleaseLeader ActionKind = "release-leader"

	// RemoveLeader deletes a leader key that belongs to no session if it still has
	// Version.
	RemoveLeader ActionKind = "remove-leader"

	// ClaimInitialize creates initialize (empty) if absent, and the leased
	// initialize_owner under Session before it.
	ClaimInitialize ActionKind = "claim-initialize"
	// ReleaseInitialize deletes initialize if it still has Version, and our own
	// initialize_owner.
	ReleaseInitialize ActionKind = "release-initialize"
	// WriteInitialize sets initialize to SystemID if it still has Version, and
	// removes our initialize_owner.
	WriteInitialize ActionKind = "write-initialize"
	// WriteConfig stores the bootstrap configuration if config is absent.
	WriteConfig ActionKind = "write-config"
	// WriteHistory replaces history with Lines if it is still as it was seen.
	WriteHistory ActionKind = "write-history"
	// WriteSync replaces the sync key by Sync if it still has Version; a Sync
	// without leader deletes it.
	WriteSync ActionKind = "write-sync"
	// RestoreSync does the same for a member that is not a leader: it wrote itself into
	// the key and was not promoted.
	RestoreSync ActionKind = "restore-sync"
	// ClearFailover writes {} to failover if it still has Version.
	ClearFailover ActionKind = "clear-failover"
	// ClearHandover deletes the handover key if it still has Version.
	ClearHandover ActionKind = "clear-handover"
	// ClaimTimeline adds Claim to the register if it still has Version.
	ClaimTimeline ActionKind = "claim-timeline"
	// PublishIdentity writes Claim (with its identity) over the entry of the
	// same timeline if the register still has Version, or adds it.
	PublishIdentity ActionKind = "publish-identity"
	// PublishStatus writes the server's position, or Optime if that is further, and
	// slots to status if they changed; before a promotion in any case, with the slots
	// that stand there. Only after the lease was live in this turn.
	PublishStatus ActionKind = "publish-status"

	// AskPeers asks each of Names for its word, all at once, and does not wait:
	// the answers arrive as observations and wake the loop.
	AskPeers ActionKind = "ask-peers"

	// AskFailsafe asks every other member of Failsafe whether it accepts this one as
	// leader for a ttl although the store is silent, and does not wait. If all of
	// them do, the lease is extended.
	AskFailsafe ActionKind = "ask-failsafe"
	// WriteFailsafe makes failsafe list the members in Failsafe if it still has
	// Version; no members delete it.
	WriteFailsafe ActionKind = "write-failsafe"

	// StopReceiver clears the upstream and waits until no WAL receiver runs.
	StopReceiver ActionKind = "stop-receiver"
	// Follow points a running standby at Upstream, without a restart where the
	// server can.
	Follow ActionKind = "follow"
	// SetSyncNames makes synchronous_standby_names equal to Names (empty:
	// unset) and waits until the server uses it.
	SetSyncNames ActionKind = "set-sync-names"
	// KeepSlots makes the physical slots those in Slots: creates missing ones,
	// drops others that are inactive; on a standby also advances them.
	KeepSlots ActionKind = "keep-slots"
	// AcceptBootstrap removes the mark of an unfinished bootstrap.
	AcceptBootstrap ActionKind = "accept-bootstrap"
	// DiscardBootstrap moves an unfinished bootstrap aside, keeping it.
	DiscardBootstrap ActionKind = "discard-bootstrap"
	// AcceptRewind removes the mark of a rewind, the server being consistent.
	AcceptRewind ActionKind = "accept-rewind"

	// DropScheduled forgets the scheduled restart; Why says what became of it.
	DropScheduled ActionKind = "drop-scheduled-restart"
	// Reply tells the person who made Request what came of it: Outcome, and Why in
	// the words that programs know. Detail is for the log and the journal. It never
	// fails, and is the last word on that request, but for what it says of work
	// that was to go on after it.
	Reply ActionKind = "reply"

	// Exit ends the agent with Code; Why has the message for the person. The
	// server is left as it is. A Code of 0 ends the session in the store too.
	Exit ActionKind = "exit"
)

// Tasks are long actions: begun within the turn, they run beside the loop, one
// at a time, and come back as Task and TaskResult. Beginning one while another
// runs fails. Only Checkpoint does not own the server.
const (
	// Bootstrap makes a new database and ends with the server stopped cleanly,
	// marked as unfinished; nobody else can connect meanwhile.
	Bootstrap ActionKind = "bootstrap"
	// Clone makes the data directory a copy of Upstream's. An existing
	// directory is moved aside and kept.
	Clone ActionKind = "clone"
	// StartReplica starts the stopped server as a standby of Upstream, or of
	// nobody when Upstream is empty. It ends when connections are accepted or
	// the start failed.
	StartReplica ActionKind = "start-replica"
	// StartPrimary starts the stopped server writable on its own timeline;
	// only while Session's lease is live.
	StartPrimary ActionKind = "start-primary"
	// Promote turns the running standby into a primary on exactly Timeline;
	// only while Session's lease is live. If the server would take another
	// number, it fails before promoting.
	Promote ActionKind = "promote"
	// Stop shuts the server down cleanly (a primary: after a checkpoint while
	// still serving) and leaves standby.signal in place. Names lists the
	// standbys that must get the last record; for a primary it ends at the
	// latest when the lease does. EndArchiver: it is started again at once, so the
	// archiver is not waited for.
	Stop ActionKind = "stop"
	// Rewind runs pg_rewind of the stopped server against Upstream, keeping
	// what is lost aside.
	Rewind ActionKind = "rewind"
	// Checkpoint runs a checkpoint on the primary.
	Checkpoint ActionKind = "checkpoint"
)

// IsTask reports whether the action runs beside the loop.
func (k ActionKind) IsTask() bool {
	switch k {
	case Bootstrap, Clone, StartReplica, StartPrimary, Promote, Stop, Rewind, Checkpoint:
		return true
	}
	return false
}

// Upstream is the server to follow, clone or rewind from.
type Upstream struct {
	Name string `json:"name,omitempty"`
	Host string `json:"host,omitempty"`
	Port string `json:"port,omitempty"`
}

// IsZero reports whether there is no upstream.
func (u Upstream) IsZero() bool { return u == Upstream{} }

// Addr returns host:port, the form of Server.Upstream; empty for no upstream.
func (u Upstream) Addr() string {
	if u.IsZero() {
		return ""
	}
	return u.Host + ":" + u.Port
}

// Action is one thing to do, with what it relies on. The executor refuses it
// when the world moved on: Session must still be the member's session (and its
// lease live where the kind says so), Version the key's version.
type Action struct {
	Kind ActionKind `json:"kind"`

	// Preconditions.
	Session string          `json:"session,omitempty"`
	Version cluster.Version `json:"version,omitempty"`

	// Arguments, by kind.
	Upstream Upstream                 `json:"upstream,omitzero"`
	Names    []string                 `json:"names,omitempty"`
	Slots    []cluster.SlotState      `json:"slots,omitempty"`
	Sync     cluster.SyncState        `json:"sync,omitzero"`
	Lines    []cluster.HistoryLine    `json:"lines,omitempty"`
	Handover cluster.Handover         `json:"handover,omitzero"`
	Claim    cluster.TimelineClaim    `json:"claim,omitzero"`
	Failsafe []cluster.FailsafeMember `json:"failsafe,omitempty"`
	Timeline wal.Timeline             `json:"timeline,omitempty"`
	Optime   wal.LSN                  `json:"optime,omitempty"` // the least to publish
	SystemID string                   `json:"system_id,omitempty"`
	Code     int                      `json:"code,omitempty"`
	Why      string                   `json:"why,omitempty"`

	EndArchiver bool    `json:"end_archiver,omitempty"`
	Request     int     `json:"request,omitempty"`
	Detail      string  `json:"detail,omitempty"`
	Outcome     Outcome `json:"outcome,omitempty"`
}

// StillDone reports whether the action is carried out although earlier ones of its
// decision, of these kinds, failed. Each relies on those before it. Fencing is never
// dropped; and where the leader is must be known, or those who could take over are
// judged by where it was: a slot that cannot be kept does not drop that.
func (k ActionKind) StillDone(failed []ActionKind) bool {
	relied := slices.ContainsFunc(failed, func(f ActionKind) bool { return f != KeepSlots || k != PublishStatus })
	return !relied || k == Fence
}
