package control

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/wal"
)

// State is the database cluster state, in pg_controldata's words.
type State string

// The states.
const (
	StartingUp        State = "starting up"
	ShutDown          State = "shut down"
	ShutDownRecovery  State = "shut down in recovery"
	ShuttingDown      State = "shutting down"
	InCrashRecovery   State = "in crash recovery"
	InArchiveRecovery State = "in archive recovery"
	InProduction      State = "in production"
)

// Data is the part of the control file that decisions depend on.
type Data struct {
	SystemID          string       `json:"system_id"`
	State             State        `json:"state"`
	Checkpoint        wal.LSN      `json:"checkpoint"` // where the latest checkpoint record begins
	Redo              wal.LSN      `json:"redo"`
	Timeline          wal.Timeline `json:"timeline"`      // of the latest checkpoint
	PrevTimeline      wal.Timeline `json:"prev_timeline"` // differs when that record began the timeline
	MinRecovery       wal.LSN      `json:"min_recovery,omitempty"`
	MinRecoveryTL     wal.Timeline `json:"min_recovery_timeline,omitempty"`
	BackupEndRequired bool         `json:"backup_end_required,omitempty"`
	WALLogHints       bool         `json:"wal_log_hints,omitempty"`
	Checksums         bool         `json:"checksums,omitempty"`
	SegmentSize       int64        `json:"segment_size"`
	MaxConnections    int          `json:"max_connections,omitempty"`
	MaxWorkers        int          `json:"max_worker_processes,omitempty"`
	MaxWalSenders     int          `json:"max_wal_senders,omitempty"`
	MaxPrepared       int          `json:"max_prepared_transactions,omitempty"`
	MaxLocks          int          `json:"max_locks_per_transaction,omitempty"`
	ControlVersion    int          `json:"control_version,omitempty"`
	CheckpointTime    string       `json:"checkpoint_time,omitempty"` // as printed
}

// Clean reports whether the server was stopped in order.
func (d Data) Clean() bool { return d.State == ShutDown || d.State == ShutDownRecovery }

// Parse reads the output of pg_controldata (LANG=C). Lines it does not know are
// skipped; a text without system identifier, state or checkpoint is an error.
func Parse(text string) (Data, error) {
	m := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		name, value, ok := strings.Cut(line, ":")
		if ok {
			m[strings.TrimPrefix(strings.TrimSpace(name), "Current ")] = strings.TrimSpace(value)
		}
	}
	p := parser{m: m}
	d := Data{
		SystemID:          m["Database system identifier"],
		State:             State(m["Database cluster state"]),
		Checkpoint:        p.lsn("Latest checkpoint location"),
		Redo:              p.lsn("Latest checkpoint's REDO location"),
		Timeline:          wal.Timeline(p.number("Latest checkpoint's TimeLineID")),
		PrevTimeline:      wal.Timeline(p.number("Latest checkpoint's PrevTimeLineID")),
		MinRecovery:       p.lsn("Minimum recovery ending location"),
		MinRecoveryTL:     wal.Timeline(p.number("Min recovery ending loc's timeline")),
		BackupEndRequired: m["End-of-backup record required"] == "yes",
		WALLogHints:       m["wal_log_hints setting"] == "on",
		Checksums:         p.number("Data page checksum version") > 0,
		SegmentSize:       p.number("Bytes per WAL segment"),
		MaxConnections:    int(p.number("max_connections setting")),
		MaxWorkers:        int(p.number("max_worker_processes setting")),
		MaxWalSenders:     int(p.number("max_wal_senders setting")),
		MaxPrepared:       int(p.number("max_prepared_xacts setting")),
		MaxLocks:          int(p.number("max_locks_per_xact setting")),
		ControlVersion:    int(p.number("pg_control version number")),
		CheckpointTime:    m["Time of latest checkpoint"],
	}
	if p.err != nil {
		return Data{}, p.err
	}
	if d.SystemID == "" || d.State == "" || d.Checkpoint == 0 {
		return Data{}, fmt.Errorf("pg_controldata: no system identifier, state or checkpoint in its output")
	}
	return d, nil
}

// parser collects the first bad value.
type parser struct {
	m   map[string]string
	err error
}

func (p *parser) lsn(name string) wal.LSN {
	v, ok := p.m[name]
	if !ok {
		return 0
	}
	l, err := wal.ParseLSN(v)
	p.fail(name, err)
	return l
}

func (p *parser) number(name string) int64 {
	v, ok := p.m[name]
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(v, 10, 64)
	p.fail(name, err)
	return n
}

func (p *parser) fail(name string, err error) {
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("pg_controldata: %s: %w", name, err)
	}
}
