package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/matriarch-ha/matriarch/wal"
)

// LSN reads PostgreSQL's text form from JSON; null and "" are zero.
type LSN wal.LSN

// UnmarshalJSON reads a JSON string or null.
func (l *LSN) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*l = 0
	if s == nil || *s == "" {
		return nil
	}
	v, err := wal.ParseLSN(*s)
	*l = LSN(v)
	return err
}

// State is the answer to the one question of an observation.
type State struct {
	Version      int      `json:"version"`
	Recovery     bool     `json:"recovery"`
	Start        float64  `json:"start"` // Unix seconds
	SystemID     string   `json:"sysid"`
	Timeline     uint32   `json:"tli"` // of a primary; 0 in recovery
	Flush        LSN      `json:"flush"`
	Receive      LSN      `json:"receive"`
	Replay       LSN      `json:"replay"`
	Paused       bool     `json:"paused"`
	ReplayedAt   float64  `json:"replayed_at"` // Unix seconds, 0 none
	StartupWait  string   `json:"startup_wait"`
	StartupPID   int      `json:"startup_pid"`
	Conninfo     string   `json:"conninfo"`
	Slot         string   `json:"slot"`
	SyncNames    string   `json:"sync_names"`
	SyncCommit   string   `json:"sync_commit"`  // of the server's files; empty: the session has one of its own
	WeakCommits  []Commit `json:"weak_commits"` // of a primary
	Checkpoint   CtlState `json:"checkpoint"`
	MinRecovery  LSN      `json:"min_lsn"`
	MinTimeline  uint32   `json:"min_tli"`
	Receiver     *RcvStat `json:"receiver"`
	Senders      []Sender `json:"senders"`
	Slots        []Slot   `json:"slots"`
	Settings     []GUC    `json:"settings"`
	Archiver     *Archive `json:"archiver"` // while its last attempt failed
	WALLogHints  string   `json:"wal_log_hints"`
	Checksums    string   `json:"checksums"`
	SegmentBytes string   `json:"segment"`
}

// CtlState is pg_control_checkpoint().
type CtlState struct {
	LSN      LSN    `json:"lsn"`
	Redo     LSN    `json:"redo"`
	Timeline uint32 `json:"tli"`
	Prev     uint32 `json:"prev"`
}

// RcvStat is pg_stat_get_wal_receiver().
type RcvStat struct {
	PID       int     `json:"pid"`
	Status    string  `json:"status"`
	Timeline  uint32  `json:"tli"`
	Written   LSN     `json:"written"`
	Flushed   LSN     `json:"flushed"`
	Host      string  `json:"host"`
	Port      int     `json:"port"`
	Slot      string  `json:"slot"`
	LastMsg   float64 `json:"last"`
	LatestEnd LSN     `json:"end"`
}

// Sender is a row of pg_stat_replication.
type Sender struct {
	PID      int      `json:"pid"`
	User     string   `json:"user"`
	App      string   `json:"app"`
	Addr     string   `json:"addr"`
	State    string   `json:"state"`
	Sync     string   `json:"sync"`
	Priority int      `json:"prio"`
	Sent     LSN      `json:"sent"`
	Write    LSN      `json:"write"`
	Flush    LSN      `json:"flush"`
	Replay   LSN      `json:"replay"`
	Lag      *float64 `json:"lag"` // seconds that the last replayed record took; null: nothing was sent lately
	ReplyAge *float64 `json:"age"` // seconds
}

// Slot is a row of pg_replication_slots.
type Slot struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Active    bool   `json:"active"`
	Restart   LSN    `json:"restart"`
	Confirmed LSN    `json:"confirmed"`
	Database  string `json:"db"`
	Plugin    string `json:"plugin"`
	Temporary bool   `json:"temp"`
	Xmin      bool   `json:"xmin"`
	WALStatus string `json:"wal_status"`
}

// Archive is pg_stat_archiver while the last attempt failed.
type Archive struct {
	Failures int     `json:"count"`
	File     string  `json:"file"`
	Since    float64 `json:"since"` // Unix seconds of the last success, or of the start of counting
}

// Commit is a synchronous_commit of a role, of a database, or of both, that waits
// for no standby, or not for its disk. Without either it is everybody's.
type Commit struct {
	Role     string `json:"role"`
	Database string `json:"db"`
	Value    string `json:"value"`
}

// GUC is a setting that is controlled or waits for a restart.
type GUC struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Unit    string `json:"unit"`
	Pending bool   `json:"pending"`
}

// stateSQL is the question. Everything in it exists in PostgreSQL 13 to 18.
const stateSQL = `
SELECT pg_catalog.json_build_object(
 'version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
 'recovery', r.rec,
 'start', pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()),
 'sysid', (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()),
 'tli', CASE WHEN r.rec THEN 0 ELSE ('x' OPERATOR(pg_catalog.||) pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::pg_catalog.bit(32)::pg_catalog.int8 END,
 'flush', CASE WHEN r.rec THEN NULL ELSE pg_catalog.pg_current_wal_flush_lsn() END,
 'receive', pg_catalog.pg_last_wal_receive_lsn(),
 'replay', pg_catalog.pg_last_wal_replay_lsn(),
 'paused', CASE WHEN r.rec THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END,
 'replayed_at', COALESCE(pg_catalog.date_part('epoch', pg_catalog.pg_last_xact_replay_timestamp()), 0),
 'startup_wait', COALESCE(a.wait_event, ''),
 'startup_pid', COALESCE(a.pid, 0),
 'conninfo', pg_catalog.current_setting('primary_conninfo'),
 'slot', pg_catalog.current_setting('primary_slot_name'),
 'sync_names', pg_catalog.current_setting('synchronous_standby_names'),
 'sync_commit', (SELECT reset_val FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'synchronous_commit'
    AND source OPERATOR(pg_catalog.<>) ALL ('{database,user,"database user",global,client,session}'::pg_catalog.text[])),
 'weak_commits', CASE WHEN r.rec THEN NULL ELSE (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('role', w.role, 'db', w.db, 'value', w.value) ORDER BY w.role, w.db)
    FROM (SELECT COALESCE(u.rolname, '')::pg_catalog.text AS role, COALESCE(d.datname, '')::pg_catalog.text AS db, pg_catalog.lower(pg_catalog.substr(c.entry, 20)) AS value
      FROM pg_catalog.pg_db_role_setting s CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c(entry)
      LEFT JOIN pg_catalog.pg_roles u ON u.oid OPERATOR(pg_catalog.=) s.setrole LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
      WHERE pg_catalog.left(c.entry, 19) OPERATOR(pg_catalog.=) 'synchronous_commit=') w
    WHERE w.value OPERATOR(pg_catalog.=) ANY ('{off,false,no,0,local,remote_write}'::pg_catalog.text[])) END,
 'wal_log_hints', pg_catalog.current_setting('wal_log_hints'),
 'checksums', pg_catalog.current_setting('data_checksums'),
 'segment', (SELECT bytes_per_wal_segment::pg_catalog.text FROM pg_catalog.pg_control_init()),
 'checkpoint', (SELECT pg_catalog.json_build_object('lsn', checkpoint_lsn, 'redo', redo_lsn, 'tli', timeline_id, 'prev', prev_timeline_id) FROM pg_catalog.pg_control_checkpoint()),
 'min_lsn', m.min_recovery_end_lsn, 'min_tli', m.min_recovery_end_timeline,
 'receiver', (SELECT pg_catalog.json_build_object('pid', pid, 'status', status, 'tli', received_tli, 'written', written_lsn,
    'flushed', flushed_lsn, 'end', latest_end_lsn, 'host', sender_host, 'port', sender_port, 'slot', slot_name,
    'last', pg_catalog.date_part('epoch', last_msg_receipt_time)) FROM pg_catalog.pg_stat_get_wal_receiver() WHERE pid IS NOT NULL),
 'senders', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('pid', pid, 'user', usename, 'app', application_name, 'addr', pg_catalog.host(client_addr),
    'state', state, 'sync', sync_state, 'prio', sync_priority, 'sent', sent_lsn, 'write', write_lsn, 'flush', flush_lsn, 'replay', replay_lsn, 'lag', pg_catalog.date_part('epoch', replay_lag),
    'age', pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) reply_time)) ORDER BY application_name, pid) FROM pg_catalog.pg_stat_replication),
 'slots', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', slot_name, 'type', slot_type, 'active', active, 'restart', restart_lsn,
    'confirmed', confirmed_flush_lsn, 'db', database, 'plugin', plugin, 'temp', temporary,
    'xmin', (xmin IS NOT NULL OR catalog_xmin IS NOT NULL), 'wal_status', wal_status) ORDER BY slot_name) FROM pg_catalog.pg_replication_slots),
 'archiver', (SELECT pg_catalog.json_build_object('count', failed_count, 'file', last_failed_wal,
    'since', pg_catalog.date_part('epoch', COALESCE(last_archived_time, stats_reset))) FROM pg_catalog.pg_stat_archiver
    WHERE last_failed_time OPERATOR(pg_catalog.>) COALESCE(last_archived_time, stats_reset)),
 'settings', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', name, 'value', setting, 'unit', unit, 'pending', pending_restart) ORDER BY name)
    FROM pg_catalog.pg_settings WHERE pending_restart OR name OPERATOR(pg_catalog.=) ANY ('%s'::pg_catalog.text[]))
) FROM (SELECT pg_catalog.pg_is_in_recovery() AS rec) r
 CROSS JOIN pg_catalog.pg_control_recovery() m
 LEFT JOIN pg_catalog.pg_stat_activity a ON a.backend_type OPERATOR(pg_catalog.=) 'startup'`

// takenBackSQL names the settings that wait for a restart by the server's flag
// alone: it keeps the flag of a setting that was added to a file and removed
// again, or that was removed while it had its built-in value.
const takenBackSQL = `
SELECT COALESCE(pg_catalog.json_agg(s.name), '[]') FROM pg_catalog.pg_settings s
 WHERE s.pending_restart AND s.setting OPERATOR(pg_catalog.=) s.boot_val AND NOT EXISTS (
  SELECT 1 FROM pg_catalog.pg_file_settings f WHERE pg_catalog.lower(f.name) OPERATOR(pg_catalog.=) pg_catalog.lower(s.name))`

// Ask asks the question. watch names the settings whose values are wanted in
// any case; they must be plain parameter names.
func Ask(ctx context.Context, c *Conn, watch []string) (State, error) {
	list, _ := json.Marshal(watch)
	list[0], list[len(list)-1] = '{', '}'
	text, err := c.Value(ctx, fmt.Sprintf(stateSQL, list))
	if err != nil {
		return State{}, err
	}
	var st State
	if err := json.Unmarshal([]byte(text), &st); err != nil {
		return State{}, fmt.Errorf("the server's answer: %w", err)
	}
	if slices.ContainsFunc(st.Settings, func(g GUC) bool { return g.Pending }) {
		st.dropTakenBack(ctx, c)
	}
	return st, nil
}

// dropTakenBack clears the flag of settings that a restart would leave as they
// are. Where the server does not tell, its flag stands.
func (st *State) dropTakenBack(ctx context.Context, c *Conn) {
	text, err := c.Value(ctx, takenBackSQL)
	var names []string
	if err != nil || json.Unmarshal([]byte(text), &names) != nil {
		return
	}
	for i, g := range st.Settings {
		if slices.Contains(names, g.Name) {
			st.Settings[i].Pending = false
		}
	}
}
