package api

import (
	"encoding/json"
	"strconv"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
	"github.com/matriarch-ha/matriarch/wal"
)

// ClusterDoc is the answer of GET /cluster.
type ClusterDoc struct {
	Members   []MemberDoc   `json:"members"`
	Pause     bool          `json:"pause,omitempty"`
	Scheduled *ScheduledDoc `json:"scheduled_switchover,omitempty"`
	Scope     string        `json:"scope"`
	// LastRecord is what keeps the members from leading while nobody leads; absent
	// otherwise.
	LastRecord *LastRecordDoc `json:"last_record,omitempty"`
}

// LastRecordDoc is where a leader that stopped cleanly ended: nobody without that
// may lead unless a person names it.
type LastRecordDoc struct {
	Leader   string `json:"leader"`
	Timeline int64  `json:"timeline,omitempty"` // 0: not recorded
	LSN      string `json:"lsn"`
}

// MemberDoc is one member in GET /cluster.
type MemberDoc struct {
	Name   string `json:"name"`
	Role   string `json:"role"`  // leader, standby_leader, sync_standby, quorum_standby, replica
	State  string `json:"state"` // a replica's replication state if any
	APIURL string `json:"api_url"`
	Host   string `json:"host,omitempty"`
	Port   int    `json:"port,omitempty"`

	Timeline       int64         `json:"timeline,omitempty"`
	PendingRestart bool          `json:"pending_restart,omitempty"`
	PendingReason  pyjson.Object `json:"pending_restart_reason,omitempty"`
	Scheduled      *RestartDoc   `json:"scheduled_restart,omitempty"`
	Tags           pyjson.Object `json:"tags,omitempty"`

	// Guarded: a guard process stops its server when its lease ends (our
	// members only).
	Guarded bool `json:"guarded,omitempty"`
	// Namesake: another agent bears the same name, at this address (our members only).
	Namesake string `json:"namesake,omitempty"`

	// Absent for the leader.
	ReceiveLag *Lag    `json:"receive_lag,omitempty"`
	ReceiveLSN *string `json:"receive_lsn,omitempty"`
	ReplayLag  *Lag    `json:"replay_lag,omitempty"`
	ReplayLSN  *string `json:"replay_lsn,omitempty"`
	Lag        *Lag    `json:"lag,omitempty"`
	LSN        *string `json:"lsn,omitempty"`
}

// ScheduledDoc is a switchover that waits for its time.
type ScheduledDoc struct {
	At   string `json:"at"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// RestartDoc is a restart that waits for its time.
type RestartDoc struct {
	Schedule        string `json:"schedule"`
	Role            string `json:"role,omitempty"`
	PostgresVersion string `json:"postgres_version,omitempty"`
	Timeout         int64  `json:"timeout,omitempty"` // seconds
	Pending         bool   `json:"restart_pending,omitempty"`
	// PostmasterStart is told in GET /cluster only.
	PostmasterStart string `json:"postmaster_start_time,omitempty"`
}

// Lag is a distance in bytes; Known false is written "unknown".
type Lag struct {
	Bytes uint64
	Known bool
}

const unknownText = "unknown"

// MarshalJSON writes the bytes, or "unknown".
func (l Lag) MarshalJSON() ([]byte, error) {
	if !l.Known {
		return json.Marshal(unknownText)
	}
	return json.Marshal(l.Bytes)
}

// UnmarshalJSON reads what MarshalJSON writes; any text is unknown.
func (l *Lag) UnmarshalJSON(text []byte) error {
	*l = Lag{}
	if len(text) > 0 && text[0] == '"' {
		return nil
	}
	l.Known = true
	return json.Unmarshal(text, &l.Bytes)
}

// Leader returns the member that holds the lease.
func (d ClusterDoc) Leader() (MemberDoc, bool) {
	for _, m := range d.Members {
		if m.Leads() {
			return m, true
		}
	}
	return MemberDoc{}, false
}

// Leads reports whether the member holds the leader key.
func (m MemberDoc) Leads() bool { return m.Role == "leader" || m.Role == "standby_leader" }

// Cluster puts a view on the wire, as GET /cluster has it. The settings say how
// synchronous replication is meant.
func Cluster(scope string, v cluster.View, s cluster.Settings) ClusterDoc {
	d := ClusterDoc{Members: []MemberDoc{}, Pause: s.Paused, Scope: scope}
	for _, m := range v.Members {
		d.Members = append(d.Members, memberDoc(m, v, s))
	}
	if f := v.Failover; f.Requested() && f.ScheduledAt != "" {
		d.Scheduled = &ScheduledDoc{At: f.ScheduledAt, From: f.Leader, To: f.Candidate}
	}
	if h := v.Handover; h.Present() && !v.Leader.Held() && !s.LoseLastRecord {
		d.LastRecord = &LastRecordDoc{Leader: h.Leader, Timeline: int64(h.Timeline), LSN: h.LSN.String()}
	}
	return d
}

func memberDoc(m cluster.Member, v cluster.View, s cluster.Settings) MemberDoc {
	d := MemberDoc{
		Name: m.Name, Role: memberRole(m, v, s), State: string(m.State), APIURL: m.APIURL,
		Timeline: int64(m.Timeline), PendingRestart: m.PendingRestart,
		Guarded: m.Guarded, Namesake: m.Namesake, PendingReason: reasonObject(m.PendingRestartReason), Tags: tagsObject(m.Tags),
		Scheduled: restartObject(m.ScheduledRestart),
	}
	if d.Scheduled = restartObject(m.ScheduledRestart); d.Scheduled != nil {
		d.Scheduled.PostmasterStart = timestamp(m.ScheduledRestart.PostmasterStart.UTC())
	}
	if m.ReplicationState != "" && d.Role != "leader" {
		d.State = m.ReplicationState
	}
	host, port := m.HostPort()
	d.Host = host
	if n, err := strconv.Atoi(port); err == nil && host != "" {
		d.Port = n
	}
	if !d.Leads() {
		end := v.Status.Optime
		d.ReceiveLag, d.ReceiveLSN = distance(end, m.Received)
		d.ReplayLag, d.ReplayLSN = distance(end, m.Replayed)
		d.Lag, d.LSN = distance(end, m.XLog)
	}
	return d
}

func memberRole(m cluster.Member, v cluster.View, s cluster.Settings) string {
	switch {
	case m.Name == v.Leader.Name && m.Role == cluster.RoleStandbyLeader:
		return "standby_leader"
	case m.Name == v.Leader.Name:
		return "leader"
	case s.SyncMode == cluster.SyncOn && v.Sync.HasStandby(m.Name):
		return "sync_standby"
	case s.SyncMode == cluster.SyncQuorum && v.Sync.HasStandby(m.Name):
		return "quorum_standby"
	}
	return "replica"
}

func distance(end, at wal.LSN) (*Lag, *string) {
	text := unknownText
	if at == 0 {
		return &Lag{}, &text
	}
	text = at.String()
	return &Lag{Bytes: end.Sub(at), Known: true}, &text
}

// HistoryLine is one line of GET /history: an array of timeline, LSN in bytes,
// reason, and where known timestamp and new leader.
type HistoryLine []any

// History puts the history on the wire.
func History(h cluster.History) []HistoryLine {
	out := []HistoryLine{}
	for _, l := range h.Lines {
		line := HistoryLine{int64(l.Timeline), uint64(l.LSN), l.Reason}
		if l.Timestamp != "" || l.NewLeader != "" {
			line = append(line, l.Timestamp)
		}
		if l.NewLeader != "" {
			line = append(line, l.NewLeader)
		}
		out = append(out, line)
	}
	return out
}
