package journal

import (
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/wal"
)

// The names of events, beside the kinds of actions, which name the end of an
// action, and the names of people's requests. They are read by those who tell
// afterwards what happened, so that a name keeps its meaning.
const (
	// AgentStarted: the agent began to run; Why names its version and what it
	// found. A gap in the journal before it is a crash, unless an AgentEnded
	// stands there.
	AgentStarted = "agent-started"
	// AgentStopping: the agent was told to stop; Why says by what (a signal).
	AgentStopping = "agent-stopping"
	// AgentEnded: the agent ends by its own will.
	AgentEnded = "agent-ended"
	// ServerExited: the postmaster ended, asked or not. Exit says how.
	ServerExited = "server-exited"
	// LeaseTrouble: a renewal of the leader lease was not confirmed, the first of
	// a row. LeaseConfirmed: one was, again. LeaseEnded: the lease was released,
	// refused or ran out. Why says which.
	LeaseTrouble   = "lease-trouble"
	LeaseConfirmed = "lease-confirmed"
	LeaseEnded     = "lease-ended"
	// ServerFenced: the guard killed the server at the end of its lease, or,
	// without an agent, had it shut down before.
	ServerFenced = "server-fenced"
	// TakenOver: this agent goes on with the running primary, the guard and the
	// lease of a former agent that is gone.
	TakenOver = "taken-over"
	// LeaseReleased: the guard, whose agent was gone or stood still, had the session
	// of the lease ended after it had stopped the server. Error says why it was left
	// to run out instead.
	LeaseReleased = "lease-released"
	// RecordsLost: records that no other member had were taken out of this
	// member's data, by a rewind or a new copy. Loss says which.
	RecordsLost = "records-lost"
	// ReplacedRemoved: a data directory that a copy had replaced was removed, since the
	// copy had served for long enough. Removed says which.
	ReplacedRemoved = "replaced-removed"

	// Requested: a person, or a program for one, asked this member for something
	// that changes the cluster, and the request was let in. Request says for what
	// and from where. What became of it is told by the turns that follow.
	Requested = "requested"

	// EntrypointStarted: an entrypoint began to serve. EntrypointStopping: it was
	// told to stop, and its sessions have ended. A start without a stop before it
	// follows a crash.
	EntrypointStarted  = "entrypoint-started"
	EntrypointStopping = "entrypoint-stopping"
	// PrimaryLost: an entrypoint knows of no primary any more, or the one it knows
	// takes no clients. Traffic.Primary is the one it had, Why by what it was lost.
	// It is written at once: sessions that end a little later are counted in the
	// PrimaryFound that follows.
	PrimaryLost = "primary-lost"
	// PrimaryFound: an entrypoint forwards to a primary again. Time and Now are
	// those of the first client that was served, or, where none waited, of the
	// permission to serve. It is written when the last of those who waited then was
	// served or refused, five seconds later at the latest: its counts are final, and
	// Held greater than Released and Refused together means that some still waited.
	PrimaryFound = "primary-found"
)

// Event is something that happened outside the decision: an action that ended,
// a request of a person, a start or stop of the agent.
type Event struct {
	// Name is the action's kind, or one of the names above.
	Name string `json:"name"`
	// Error says why it failed; empty when it did not.
	Error string        `json:"error,omitempty"`
	Took  time.Duration `json:"took_ns,omitempty"`
	// Now is when it happened on the host's boot clock: with Record.Time it shows
	// whether the wall clock was set between two records.
	Now boot.Instant `json:"now,omitempty"`

	Exit    *Exit    `json:"exit,omitempty"`
	Fence   *Fence   `json:"fence,omitempty"`
	Loss    *Loss    `json:"loss,omitempty"`
	Removed *Removed `json:"removed,omitempty"`
	Request *Request `json:"request,omitempty"`
	Traffic *Traffic `json:"traffic,omitempty"`
}

// Exit is how a process ended.
type Exit struct {
	PID int `json:"pid"`
	// Asked: we had told it to stop, or killed it: the agent, or its guard.
	Asked bool `json:"asked,omitempty"`
	// Known is false for a process that was not our child: then neither Code nor
	// Signal is known.
	Known bool `json:"known,omitempty"`
	// Code is the exit status; Signal, such as "SIGKILL", is set instead when one
	// ended it.
	Code   int    `json:"code,omitempty"`
	Signal string `json:"signal,omitempty"`
}

// Fence is the guard's proof that the server writes no more: no process of it
// ran any program code any more when the kill had ended. Event.Now is when the
// kill began, Event.Took how long it took.
type Fence struct {
	// Processes is how many were killed; 0: the server had ended already. Dying is
	// how many of them had not left the process table yet, such as one that waits
	// for a disk: they run no more code either.
	Processes int `json:"processes"`
	Dying     int `json:"dying,omitempty"`
}

// Request is what a person asked for.
type Request struct {
	// Kind is "switchover", "failover", "restart", "reinitialize", "config",
	// "pause", "resume" or "cancel" (of something scheduled).
	Kind string `json:"kind"`
	// From is the address that it came from, Target the member it is about, At when
	// it shall be done; empty where that is not known, or now.
	From   string `json:"from,omitempty"`
	Target string `json:"target,omitempty"`
	At     string `json:"at,omitempty"`
}

// Loss are the records that a member had and the cluster's line does not.
type Loss struct {
	// From is where the member's timeline and the cluster's part, To the end of
	// what the member had.
	From wal.Position `json:"from"`
	To   wal.Position `json:"to"`
	// Bytes is what lies between, of all kinds of records.
	Bytes uint64 `json:"bytes"`
	// TransactionsKnown: the records could be read; Transactions counts the
	// commits among them.
	TransactionsKnown bool `json:"transactions_known,omitempty"`
	Transactions      int  `json:"transactions,omitempty"`
	// Kept is the directory, on the member's host, that holds the records.
	Kept string `json:"kept,omitempty"`
}

// Removed is a directory that is gone.
type Removed struct {
	Path  string `json:"path"`
	Bytes uint64 `json:"bytes"` // what its files held
}

// Traffic is what clients of an entrypoint felt at a change of its primary.
type Traffic struct {
	// Primary is the member that was lost or found.
	Primary string `json:"primary,omitempty"`
	// Timeline is that of the member, zero if unknown.
	Timeline wal.Timeline `json:"timeline,omitempty"`
	// Open is how many sessions the lost one had, Broken how many of them were
	// ended, by the entrypoint or by their server, also shortly before: in
	// PrimaryLost those known by then, in PrimaryFound all.
	Open   int `json:"open,omitempty"`
	Broken int `json:"broken,omitempty"`
	// Held is how many clients waited for a primary, Released how many of them
	// got one, Refused how many gave up or were turned away. Longest is the
	// longest wait among them.
	Held     int           `json:"held,omitempty"`
	Released int           `json:"released,omitempty"`
	Refused  int           `json:"refused,omitempty"`
	Longest  time.Duration `json:"longest_ns,omitempty"`
	// Without is how long the entrypoint knew of no primary, from PrimaryLost (or
	// its start) to PrimaryFound.
	Without time.Duration `json:"without_ns,omitempty"`
	// Silent is the time between the last byte of a client that was sent to the
	// lost primary and the finding of the new one. It is longer than the outage
	// where no client had anything to say. Zero: nothing was ever sent.
	Silent time.Duration `json:"silent_ns,omitempty"`
}
