package cluster

import (
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/wal"
)

// Version is a store's token for one state of one key, used for
// compare-and-set. The empty Version means that the key is absent.
type Version string

// View is one consistent reading of a cluster's keys in the store.
type View struct {
	// StoreID identifies the store itself (etcd's cluster id, and how often that
	// was seen to go back); Revision counts its writes. A changed StoreID or a smaller Revision means another store,
	// or one restored from an older backup.
	StoreID  string `json:"store_id,omitempty"`
	Revision int64  `json:"revision,omitempty"`

	Initialize Initialize `json:"initialize"`
	Leader     Leader     `json:"leader"`
	Members    []Member   `json:"members,omitempty"` // sorted by name
	Status     Status     `json:"status"`
	History    History    `json:"history"`
	Failover   Failover   `json:"failover"`
	Sync       SyncState  `json:"sync"`
	Config     Config     `json:"config"`
	Timelines  Timelines  `json:"timelines"`
	Handover   Handover   `json:"handover"`
	// Failsafe lists the members that the last leader with failsafe_mode
	// recorded, sorted by name.
	Failsafe        []FailsafeMember `json:"failsafe,omitempty"`
	FailsafeVersion Version          `json:"failsafe_version,omitempty"`
	// Unreadable names the keys whose value could not be understood; such a key
	// counts as absent but keeps its version.
	Unreadable []string `json:"unreadable,omitempty"`
}

// Initialize is the bootstrap key. Present with an empty SystemID means that a
// bootstrap is under way; then Owner says whose leased claim it is, and is
// empty when the claim's owner is gone. OwnerSession is what makes a claim mine:
// another agent may bear my name.
type Initialize struct {
	Present      bool    `json:"present,omitempty"`
	SystemID     string  `json:"system_id,omitempty"`
	Version      Version `json:"version,omitempty"`
	Owner        string  `json:"owner,omitempty"`
	OwnerSession string  `json:"owner_session,omitempty"`
}

// Leader is the leader key. Session names the lease or session that holds the
// key: a key with my name under another session is not mine.
type Leader struct {
	Name    string  `json:"name,omitempty"`
	Session string  `json:"session,omitempty"`
	Version Version `json:"version,omitempty"`
}

// Held reports whether anybody holds the leader key.
func (l Leader) Held() bool { return l.Name != "" }

// Status is what the leader last published about its progress.
type Status struct {
	Optime  wal.LSN     `json:"optime,omitempty"`
	Slots   []SlotState `json:"slots,omitempty"`        // sorted by name
	Retain  []string    `json:"retain_slots,omitempty"` // sorted
	Version Version     `json:"version,omitempty"`
}

// SlotState is a replication slot's position.
type SlotState struct {
	Name string  `json:"name"`
	LSN  wal.LSN `json:"lsn"`
}

// History is the list of the cluster's timeline switches, oldest first.
type History struct {
	Present bool          `json:"present,omitempty"`
	Lines   []HistoryLine `json:"lines,omitempty"`
	Version Version       `json:"version,omitempty"`
}

// HistoryLine records that timeline Timeline was left at LSN. Timestamp is the
// stored text, empty when unknown; NewLeader likewise.
type HistoryLine struct {
	Timeline  wal.Timeline `json:"timeline"`
	LSN       wal.LSN      `json:"lsn"`
	Reason    string       `json:"reason,omitempty"`
	Timestamp string       `json:"timestamp,omitempty"`
	NewLeader string       `json:"new_leader,omitempty"`
}

// Timeline returns the cluster's current timeline: one more than the last
// line's, 1 for an empty history, 0 when the history is unknown.
func (h History) Timeline() wal.Timeline {
	switch {
	case !h.Present:
		return 0
	case len(h.Lines) == 0:
		return 1
	default:
		return h.Lines[len(h.Lines)-1].Timeline + 1
	}
}

// WAL returns the history as the ancestors of the cluster's current timeline.
func (h History) WAL() wal.History {
	var out wal.History
	for _, l := range h.Lines {
		out = append(out, wal.Switch{Timeline: l.Timeline, LSN: l.LSN, Reason: l.Reason})
	}
	return out
}

// Failover is a request to move the leadership. Leader present means
// switchover, otherwise it is a failover to Candidate.
type Failover struct {
	Leader      string  `json:"leader,omitempty"`
	Candidate   string  `json:"candidate,omitempty"`
	ScheduledAt string  `json:"scheduled_at,omitempty"` // ISO 8601
	Version     Version `json:"version,omitempty"`
}

// Requested reports whether the key holds a request at all.
func (f Failover) Requested() bool { return f.Leader != "" || f.Candidate != "" }

// At is when the request is to be carried out; zero: at once.
func (f Failover) At() (time.Time, error) {
	if f.ScheduledAt == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, f.ScheduledAt)
}

// SyncState is the sync key: the leader that last managed synchronous
// replication and the standbys that hold every commit it acknowledged.
type SyncState struct {
	Leader   string   `json:"leader,omitempty"`
	Quorum   int      `json:"quorum,omitempty"`
	Standbys []string `json:"standbys,omitempty"` // sorted
	Version  Version  `json:"version,omitempty"`
	// Before is set from when Leader wrote itself into the key, in order to be
	// promoted, until it was.
	Before *SyncBefore `json:"before,omitempty"`
}

// SyncBefore is what the sync key said before a member was to be promoted. If it
// never was, that still holds, and the member puts it back: by its own name alone
// nobody else could ever lead.
type SyncBefore struct {
	SyncState
	// Timeline is the one on which the member was a standby then. One that is on it
	// still was not promoted.
	Timeline wal.Timeline `json:"timeline"`
}

// Active reports whether synchronous mode restricts who may lead.
func (s SyncState) Active() bool { return s.Leader != "" }

// Holds reports whether name is the sync leader or a synchronous standby. Names
// compare without case, as PostgreSQL compares application names.
func (s SyncState) Holds(name string) bool {
	if s.Leader != "" && strings.EqualFold(s.Leader, name) {
		return true
	}
	return s.HasStandby(name)
}

// Relies reports whether name may come to lead by this key: it holds name, or may
// be put back to one that does.
func (s SyncState) Relies(name string) bool {
	return s.Holds(name) || s.Before != nil && s.Before.Relies(name)
}

// HasStandby reports whether name is listed as a synchronous standby.
func (s SyncState) HasStandby(name string) bool {
	for _, n := range s.Standbys {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// Config is the dynamic configuration key. JSON is kept verbatim, so that
// settings of another program survive; Settings is what we understood of it.
type Config struct {
	Present bool    `json:"present,omitempty"`
	JSON    string  `json:"json,omitempty"`
	Version Version `json:"version,omitempty"`
}

// FailsafeMember is one entry of the failsafe key.
type FailsafeMember struct {
	Name   string `json:"name"`
	APIURL string `json:"api_url"`
}

// Handover is written by a leader that stopped cleanly, just before it gives
// the leader key up: whoever is not at LSN would lose commits, and whoever is
// has all that was ever acknowledged.
type Handover struct {
	Leader string `json:"leader,omitempty"`
	// Term is the version of the leader key under which this was written: the
	// leadership that it ends. Without it, it does not say which one that was, and
	// proves nothing.
	Term     Version      `json:"term,omitempty"`
	Timeline wal.Timeline `json:"timeline,omitempty"`
	LSN      wal.LSN      `json:"lsn,omitempty"`     // end of the shutdown checkpoint record
	Members  []string     `json:"members,omitempty"` // who had it when this was written
	Version  Version      `json:"version,omitempty"`
}

// Present reports whether a handover is recorded.
func (h Handover) Present() bool { return h.Leader != "" && h.LSN != 0 }

// Timelines is the register of timeline numbers: each is claimed here, by
// compare-and-set, before a member promotes to it, because PostgreSQL itself
// picks numbers from its own files and two servers can pick the same.
type Timelines struct {
	Claims  []TimelineClaim `json:"claims,omitempty"` // sorted by timeline
	Version Version         `json:"version,omitempty"`
}

// TimelineClaim says who may promote to a timeline and, once it has, which
// branch bears the number. Switch and Record are zero until then.
type TimelineClaim struct {
	Timeline wal.Timeline `json:"timeline"`
	Winner   string       `json:"winner"`
	// Identity of the branch, published after promotion.
	Identity TimelineIdentity `json:"identity"`
}

// TimelineIdentity tells branches of one number apart: where it left its
// parent, and the checksum that PostgreSQL gave the first record on it (which
// contains the time of promotion).
type TimelineIdentity struct {
	Switch wal.LSN `json:"switch,omitempty"`
	// CRC is the checksum of the first record after the switch point; zero when
	// that segment is not at hand any more.
	CRC uint32 `json:"crc,omitempty"`
}

// Known reports whether anything is known of the identity.
func (i TimelineIdentity) Known() bool { return i.Switch != 0 }

// Conflicts reports whether two identities are certainly different branches.
// What is unknown on either side never conflicts.
func (i TimelineIdentity) Conflicts(o TimelineIdentity) bool {
	if !i.Known() || !o.Known() {
		return false
	}
	if i.Switch != o.Switch {
		return true
	}
	return i.CRC != 0 && o.CRC != 0 && i.CRC != o.CRC
}

// Claim returns the claim on timeline t.
func (t Timelines) Claim(tl wal.Timeline) (TimelineClaim, bool) {
	for _, c := range t.Claims {
		if c.Timeline == tl {
			return c, true
		}
	}
	return TimelineClaim{}, false
}

// Highest returns the highest claimed timeline, 0 when there is none.
func (t Timelines) Highest() wal.Timeline {
	if len(t.Claims) == 0 {
		return 0
	}
	return t.Claims[len(t.Claims)-1].Timeline
}

// Member returns the published member of that name.
func (v View) Member(name string) (Member, bool) {
	for i := range v.Members {
		if v.Members[i].Name == name {
			return v.Members[i], true
		}
	}
	return Member{}, false
}

// LeaderMember returns what the holder of the leader key published.
func (v View) LeaderMember() (Member, bool) { return v.Member(v.Leader.Name) }
