package explain

import (
	"slices"
	"time"

	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/wal"
)

// StoryFormat names the form of a story in JSON. A later program may add keys;
// the meaning of a key does not change under one name of the form.
const StoryFormat = "matriarch-story/1"

// Kind is what sort of change it was.
type Kind string

// The kinds of changes of the primary.
const (
	// Switchover: a person asked the leader to hand over.
	Switchover Kind = "switchover"
	// ManualFailover: a person named the next primary in a failover.
	ManualFailover Kind = "manual-failover"
	// Handover: the leader's agent was told to stop and handed over.
	Handover Kind = "handover"
	// Failover: the primary was lost.
	Failover Kind = "failover"
	// First: who led before is not known.
	First Kind = "first"
	// Again: the same member was promoted once more, to a new timeline.
	Again Kind = "again"
)

// Story is what happened, told from evidence.
type Story struct {
	Format   string    `json:"format"`
	Scope    string    `json:"scope"`
	Gathered time.Time `json:"gathered"`
	Kind     Kind      `json:"kind"`
	Title    string    `json:"title"`
	Change   Change    `json:"change"`
	// Cause is how the old primary was lost, in one word: see Cause.
	Cause  Cause   `json:"cause"`
	Outage *Outage `json:"outage,omitempty"`
	Loss   Loss    `json:"loss"`
	// Clients is what the entrypoints' clients felt, by entrypoint.
	Clients []ClientView `json:"clients,omitempty"`
	// Summary is the story in a few sentences, Sections all of it.
	Summary    []Statement  `json:"summary"`
	Sections   []Section    `json:"sections"`
	Candidates []Candidate  `json:"candidates,omitempty"`
	Events     []Event      `json:"events"`
	Lanes      []Lane       `json:"lanes"`
	Sources    []SourceNote `json:"sources"`
	// Others are the other changes of the primary that the evidence knows of,
	// newest first, and Restarts those of a primary without a change.
	Others   []Change  `json:"others,omitempty"`
	Restarts []Restart `json:"restarts,omitempty"`
}

// Change is one change of the primary: a new timeline was begun.
type Change struct {
	// From led before; empty: not known. To leads since.
	From string `json:"from,omitempty"`
	To   string `json:"to"`
	// Timeline was begun at LSN, where Parent was left; zero: not known.
	Timeline wal.Timeline `json:"timeline"`
	Parent   wal.Timeline `json:"parent,omitempty"`
	LSN      wal.LSN      `json:"lsn,omitempty"`
	// At is when the new primary accepted writes, as well as that is known.
	At time.Time `json:"at,omitzero"`
	// Recorded: there are records of it, not only its line in the history.
	Recorded bool `json:"recorded"`
}

// Outage is the time in which no primary accepted writes.
type Outage struct {
	// Writes ended between FromEarliest and From, and were accepted again at To.
	FromEarliest time.Time     `json:"from_earliest"`
	From         time.Time     `json:"from"`
	To           time.Time     `json:"to"`
	Least        time.Duration `json:"least_ns"`
	Most         time.Duration `json:"most_ns"`
	// Ended is false while nobody accepts writes.
	Ended bool `json:"ended"`
}

// ClientView is what a change was for the clients of one entrypoint.
type ClientView struct {
	Entrypoint string `json:"entrypoint"`
	// Without is how long it knew of no primary.
	Without time.Duration `json:"without_ns"`
	// Broken of Open connections ended; Held clients waited, Longest at most, of
	// whom Released got a primary, and Refused did not.
	Open     int           `json:"open"`
	Broken   int           `json:"broken"`
	Held     int           `json:"held"`
	Released int           `json:"released"`
	Refused  int           `json:"refused"`
	Longest  time.Duration `json:"longest_ns"`
	Evidence []Ref         `json:"evidence"`
}

// Loss is what the cluster lost of the data.
type Loss struct {
	// Known: it is certain. Otherwise Bytes is the least that is lost.
	Known bool   `json:"known"`
	Bytes uint64 `json:"bytes"`
	// Transactions is known where TransactionsKnown says so.
	TransactionsKnown bool `json:"transactions_known,omitempty"`
	Transactions      int  `json:"transactions,omitempty"`
	// Acknowledged: commits of synchronous replication are all there.
	Acknowledged bool      `json:"acknowledged_kept,omitempty"`
	Statement    Statement `json:"statement"`
}

// Section is a part of the story.
type Section struct {
	ID         string      `json:"id"`
	Title      string      `json:"title"`
	Statements []Statement `json:"statements"`
}

// Ground says what a statement stands on.
type Ground string

// The grounds of statements.
const (
	Recorded Ground = "recorded" // a record says so
	Inferred Ground = "inferred" // it follows from records
	Unknown  Ground = "unknown"  // nobody saw it
	Advice   Ground = "advice"   // what to do
)

// Statement is one sentence with its evidence.
type Statement struct {
	// At is its time on the clock of whoever gathered, give or take Within; zero
	// for what has no moment.
	At       time.Time     `json:"at,omitzero"`
	Within   time.Duration `json:"within_ns,omitempty"`
	Text     string        `json:"text"`
	Ground   Ground        `json:"ground"`
	Evidence []Ref         `json:"evidence,omitempty"`
}

// Ref is a record: whose journal, and its number there. Record 0 is what the
// source said of itself when it was asked; the source "history" is the
// cluster's history of timelines.
type Ref struct {
	Source string `json:"source"`
	Record uint64 `json:"record,omitempty"`
}

// Candidate is a member in the race for the lease.
type Candidate struct {
	Name string `json:"name"`
	Won  bool   `json:"won,omitempty"`
	// Position is what it had, zero if unknown, Behind how many bytes less than
	// the winner.
	Position wal.Position `json:"position,omitzero"`
	Behind   uint64       `json:"behind_bytes,omitempty"`
	// Why it did not take over, or did.
	Why      string `json:"why"`
	Evidence []Ref  `json:"evidence,omitempty"`
}

// Event is a moment in the time line. They are in order.
type Event struct {
	Number int           `json:"number"`
	At     time.Time     `json:"at"`
	Within time.Duration `json:"within_ns"`
	Source string        `json:"source"`
	Record uint64        `json:"record,omitempty"`
	Kind   EventKind     `json:"kind"`
	Text   string        `json:"text"`
	Rule   string        `json:"rule,omitempty"`
	// Unproven: neither clocks nor numbers nor cause prove that it came after the
	// event before it in the list.
	Unproven bool `json:"order_unproven,omitempty"`
}

// EventKind groups events for the eye.
type EventKind string

// The kinds of events.
const (
	EventLost     EventKind = "lost"     // something went away
	EventDecided  EventKind = "decided"  // a rule decided
	EventLease    EventKind = "lease"    // the lease moved
	EventPromoted EventKind = "promoted" // a timeline began
	EventRepair   EventKind = "repair"   // a member came back
	EventTraffic  EventKind = "traffic"  // what clients felt
	EventPerson   EventKind = "person"   // somebody asked for something
)

// Lane is a member or an entrypoint through time.
type Lane struct {
	Name  string     `json:"name"`
	Kind  SourceKind `json:"kind"`
	Bands []Band     `json:"bands,omitempty"`
}

// Band is a stretch of a lane in one role.
type Band struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Role is primary, replica, down, unknown; forwards or waits for an
	// entrypoint.
	Role string `json:"role"`
}

// SourceNote says how good a source was.
type SourceNote struct {
	Name       string        `json:"name"`
	Kind       SourceKind    `json:"kind"`
	Missing    string        `json:"missing,omitempty"`
	Incomplete string        `json:"incomplete,omitempty"`
	Records    int           `json:"records"`
	Unreadable int           `json:"unreadable,omitempty"`
	ClockKnown bool          `json:"clock_known"`
	Offset     time.Duration `json:"clock_offset_ns"`
	Error      time.Duration `json:"clock_error_ns"`
	// ByCause: the clock could not be compared, but records that can only have come
	// before or after others bound it.
	ByCause  bool     `json:"clock_by_cause,omitempty"`
	SameHost []string `json:"same_host,omitempty"`
	Steps    []Step   `json:"clock_steps,omitempty"`
	Text     string   `json:"text"`
}

// Restart is a crashed or restarted primary that was started again where it was,
// under its lease and on its timeline: no change of the primary.
type Restart struct {
	Member   string        `json:"member"`
	At       time.Time     `json:"at"`
	Took     time.Duration `json:"took_ns,omitempty"`
	Asked    bool          `json:"asked,omitempty"` // a person wanted it
	Exit     *journal.Exit `json:"exit,omitempty"`
	Text     string        `json:"text"`
	Evidence []Ref         `json:"evidence"`
}

// Timed: a statement of the section has a time.
func (s Section) Timed() bool {
	return slices.ContainsFunc(s.Statements, func(st Statement) bool { return !st.At.IsZero() })
}
