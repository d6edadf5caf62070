package config

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func itoa(n int) string { return strconv.Itoa(n) }

func mustFile(t *testing.T, yaml string) *File {
	t.Helper()
	f, _, err := Load("", []string{"MATRIARCH_CONFIGURATION=" + yaml})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustDynamic(t *testing.T, doc string) Dynamic {
	t.Helper()
	d, _, err := ParseDynamic(doc)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func get(ps []Param, name string) string {
	for _, p := range ps {
		if p.Name == name {
			return p.Value
		}
	}
	return "(absent)"
}

// The recorded configuration of the reference, with what it put onto the
// command line and into postgresql.conf.
func TestEffectiveMatchesTheReference(t *testing.T) {
	f, _, err := Load("testdata/good/etcd3.yml", nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, _, err := Patch(f.BootstrapDCS(), `{"postgresql":{"parameters":{"max_connections":250}}}`)
	if err != nil {
		t.Fatal(err)
	}
	e := MakeEffective(f, mustDynamic(t, doc), "replica", 15)
	var conf, command []string
	for _, p := range e.Parameters {
		conf = append(conf, p.Name+" = '"+p.Value+"'")
	}
	for _, p := range e.Controlled {
		command = append(command, "--"+p.Name+"="+p.Value)
	}
	want := `cluster_name = 'lab'
hot_standby = 'on'
listen_addresses = '10.77.0.12'
log_line_prefix = '%m [%p] '
log_min_messages = 'log'
max_connections = '250'
max_locks_per_transaction = '64'
max_prepared_transactions = '0'
max_replication_slots = '10'
max_wal_senders = '10'
max_worker_processes = '8'
port = '5432'
shared_buffers = '128MB'
track_commit_timestamp = 'off'
unix_socket_directories = '/srv/n2'
wal_keep_size = '128MB'
wal_level = 'replica'
wal_log_hints = 'on'`
	if d := cmp.Diff(want, strings.Join(conf, "\n")); d != "" {
		t.Error(d)
	}
	wantCommand := "--listen_addresses=10.77.0.12 --port=5432 --cluster_name=lab --wal_level=replica --hot_standby=on " +
		"--max_connections=250 --max_wal_senders=10 --max_prepared_transactions=0 --max_locks_per_transaction=64 " +
		"--track_commit_timestamp=off --max_replication_slots=10 --max_worker_processes=8 --wal_log_hints=on"
	if d := cmp.Diff(wantCommand, strings.Join(command, " ")); d != "" {
		t.Error(d)
	}
	if len(e.PgHBA) != 4 || e.PgIdent != nil || !e.Postgres.UsePgRewind || len(e.Warnings) > 0 {
		t.Errorf("%v %v %v %v", e.PgHBA, e.PgIdent, e.Postgres.UsePgRewind, e.Warnings)
	}
}

func TestEffectivePrecedence(t *testing.T) {
	f := mustFile(t, `{scope: s, etcd3: {host: h}, postgresql: {
		data_dir: /d, use_pg_rewind: false, pg_hba: [local], custom_conf: mine.conf,
		parameters: {WORK_MEM: 2MB, max_connections: 500, restore_command: local-restore, synchronous_standby_names: x},
		parameters_replica: {work_mem: 3MB, wal_level: minimal},
		pg_hba_primary: [local-primary], recovery_conf: {recovery_min_apply_delay: 5min, recovery_target_time: now}}}`)
	d := mustDynamic(t, `{"synchronous_mode": true, "postgresql": {"use_pg_rewind": true, "data_dir": "/elsewhere", "listen": "*:1",
		"remove_data_directory_on_diverged_timelines": true, "pg_ident": ["dynamic"], "pg_hba": ["dynamic"], "pg_ctl_timeout": "2min",
		"recovery_conf": {"archive_cleanup_command": "gone"},
		"parameters": {"work_mem": "1MB", "jit": false, "max_connections": 300, "max_wal_senders": 1, "wal_level": "hot_standby",
		"hot_standby": "off", "port": 1, "archive_cleanup_command": "dynamic-clean", "pg_stat_statements.max": 5}}}`)
	replica := MakeEffective(f, d, "replica", 16)
	primary := MakeEffective(f, d, "promoted", 16)
	for name, want := range map[string]string{
		"work_mem": "3MB", "jit": "off", "max_connections": "300", "max_wal_senders": "10", "wal_level": "replica",
		"hot_standby": "on", "port": "5432", "listen_addresses": "127.0.0.1", "cluster_name": "s", "pg_stat_statements.max": "5",
		"restore_command": "(absent)", "archive_cleanup_command": "(absent)", "synchronous_standby_names": "(absent)",
	} {
		if got := get(replica.Parameters, name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if got := get(primary.Parameters, "work_mem"); got != "2MB" {
		t.Error("primary's work_mem", got)
	}
	wantRecovery := []Param{{"archive_cleanup_command", "dynamic-clean"}, {"recovery_min_apply_delay", "5min"}, {"restore_command", "local-restore"}}
	if diff := cmp.Diff(wantRecovery, replica.RecoveryConf); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"local-primary"}, primary.PgHBA); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"local"}, replica.PgHBA); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"dynamic"}, replica.PgIdent); diff != "" {
		t.Error(diff)
	}
	p := replica.Postgres
	if p.DataDir != "/d" || p.Listen != "127.0.0.1:5432" || p.PgCtlTimeout.Minutes() != 2 || replica.CustomConf != "mine.conf" {
		t.Errorf("%+v", p)
	}
	if s := replica.Settings; s.UsePgRewind || !s.RecloneOnDivergence || s != d.SettingsWith(f) {
		t.Errorf("%+v", s)
	}
	var paths []string
	for _, w := range replica.Warnings {
		paths = append(paths, w.Path)
	}
	want := []string{"postgresql.parameters.max_connections", "postgresql.parameters_replica.wal_level", "postgresql.parameters.port",
		"postgresql.parameters.hot_standby", "postgresql.parameters.max_wal_senders"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
}

func TestWalKeep(t *testing.T) {
	f := mustFile(t, "{scope: s, etcd3: {host: h}}")
	for _, c := range []struct {
		params, want string
		major        int
	}{
		{`{}`, "wal_keep_size=128MB", 15},
		{`{}`, "wal_keep_segments=8", 12},
		{`{"wal_keep_segments": 8}`, "wal_keep_size=128MB", 13},
		{`{"wal_keep_segments": "3"}`, "wal_keep_size=48MB", 18},
		{`{"wal_keep_segments": 0}`, "wal_keep_size=128MB", 15},
		{`{"wal_keep_size": "1GB"}`, "wal_keep_size=1GB", 15},
		{`{"wal_keep_size": "1GB"}`, "wal_keep_segments=64", 12},
		{`{"wal_keep_size": 64, "wal_keep_segments": 100}`, "wal_keep_size=64", 15},
		{`{"wal_keep_size": 64, "wal_keep_segments": 100}`, "wal_keep_segments=100", 12},
		{`{"wal_keep_size": "1kB"}`, "wal_keep_size=128MB", 15},
		{`{"wal_keep_size": "lots"}`, "wal_keep_size=128MB", 15},
	} {
		e := MakeEffective(f, mustDynamic(t, `{"postgresql":{"parameters":`+c.params+`}}`), "primary", c.major)
		name, value, _ := strings.Cut(c.want, "=")
		if got := get(e.Parameters, name); got != value {
			t.Errorf("%s on %d: %s = %s, want %s", c.params, c.major, name, got, value)
		}
		if get(e.Controlled, name) != "(absent)" {
			t.Error("wal_keep is on the command line")
		}
	}
}

// An Effective of empty values is complete all the same.
func TestEffectiveOfNothing(t *testing.T) {
	e := MakeEffective(&File{}, DefaultDynamic(), "", 17)
	if len(e.Controlled) != 13 || len(e.Parameters) != 14 {
		t.Errorf("%v", e)
	}
	if e := MakeEffective(&File{}, Dynamic{}, "primary", 17); len(e.Controlled) != 13 {
		t.Errorf("%v", e)
	}
}
