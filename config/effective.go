package config

import (
	"slices"
	"strings"

	"github.com/matriarch-ha/matriarch/cluster"
)

// Effective is what holds for one member in one role: dynamic configuration,
// local configuration over it, and the role's overlay.
type Effective struct {
	// Postgres are the merged settings of the postgresql section.
	Postgres Postgres
	// Settings are Dynamic.Settings with what the local file overrides.
	Settings cluster.Settings

	// Parameters are all parameters for postgresql.conf, sorted by name, in
	// lower case, those under our control included; recovery settings and, while
	// synchronous mode is on, synchronous_standby_names are not among them.
	Parameters []Param
	// Controlled are those that go onto the postmaster's command line, in the
	// order in which they stand there.
	Controlled []Param
	// RecoveryConf are the user's recovery settings, sorted by name. Target
	// settings and the connection are not among them: they are ours.
	RecoveryConf []Param
	PgHBA        []string // lines; nil means that pg_hba.conf is not managed
	PgIdent      []string // lines; nil means that pg_ident.conf is not managed
	CustomConf   string   // included instead of the base configuration, "" for none

	Warnings []Warning
}

// SettingsWith returns the settings with those that a local file may override.
func (d Dynamic) SettingsWith(f *File) cluster.Settings {
	s := d.Settings
	local := reader{f.Raw.root}
	s.UsePgRewind = local.flag("postgresql.use_pg_rewind", s.UsePgRewind)
	s.RecloneOnRewindFailure = local.flag("postgresql.remove_data_directory_on_rewind_failure", s.RecloneOnRewindFailure)
	s.RecloneOnDivergence = local.flag("postgresql.remove_data_directory_on_diverged_timelines", s.RecloneOnDivergence)
	return s
}

// MakeEffective merges the configuration for a role (a cluster.Role or its
// text) and a major version of PostgreSQL (13, 14, ...).
func MakeEffective(f *File, d Dynamic, role string, major int) Effective {
	r := &report{}
	shared, local := d.Raw.root.get("postgresql"), f.Raw.root.get("postgresql")
	section := mergePostgres(shared, local)
	e := Effective{Postgres: decodePostgres(reader{section}), Settings: d.SettingsWith(f)}

	params := newMapping()
	addParams(params, shared.get("parameters"), r, "")
	addParams(params, local.get("parameters"), r, "postgresql.parameters")
	overlay := overlayOf(role)
	if overlay != "" {
		addParams(params, section.get("parameters_"+overlay), r, "postgresql.parameters_"+overlay)
		e.Postgres.PgHBA = replaced(section, "pg_hba", overlay)
		e.Postgres.PgIdent = replaced(section, "pg_ident", overlay)
	}
	controlled := controlledValues(f, shared, major, r)
	e.RecoveryConf = recoveryConf(params, e.Postgres.RecoveryConf)
	if e.Settings.SyncMode != cluster.SyncOff {
		params.remove("synchronous_standby_names")
	}
	if e.Settings.UsePgRewind {
		moveSockets(f, params, r)
	}
	for _, c := range controlled {
		params.set(c.Name, newText(c.Value, ""))
		if !strings.HasPrefix(c.Name, "wal_keep_") {
			e.Controlled = append(e.Controlled, c)
		}
	}
	e.Parameters = reader{params}.params("")
	e.Postgres.Parameters = e.Parameters
	e.Postgres.RecoveryConf = e.RecoveryConf
	e.PgHBA, e.PgIdent, e.CustomConf = e.Postgres.PgHBA, e.Postgres.PgIdent, e.Postgres.CustomConf
	e.Warnings = r.warnings
	return e
}

// localOnly are the keys of the postgresql section that the dynamic
// configuration cannot set.
func localOnly() []string {
	return []string{"connect_address", "proxy_address", "listen", "config_dir", "data_dir", "pgpass", "authentication"}
}

// mergePostgres lays the local section over the shared one, key by key.
func mergePostgres(shared, local *node) *node {
	out := newMapping()
	if shared != nil {
		for _, k := range shared.keys {
			if !slices.Contains(localOnly(), k) {
				out.set(k, shared.fields[k])
			}
		}
	}
	if local != nil {
		for _, k := range local.keys {
			if k != "use_slots" && local.fields[k].kind != null {
				out.set(k, local.fields[k])
			}
		}
	}
	return out
}

// addParams lays parameters over params. With a path it warns of those that
// only the dynamic configuration may set.
func addParams(params, from *node, r *report, path string) {
	if from == nil {
		return
	}
	for _, k := range from.keys {
		name, v := strings.ToLower(k), from.fields[k]
		switch {
		case isControlled(name):
			if path != "" {
				r.warn(WarnIgnored, join(path, k), v, "has no effect here: it must be the same on all members, so it belongs to the dynamic configuration")
			}
		case v.isScalar():
			params.set(name, v)
		}
	}
}

// overlayOf maps a role to the suffix of its settings.
func overlayOf(role string) string {
	switch cluster.Role(role) {
	case cluster.RolePrimary, cluster.RolePromoted, "master":
		return "primary"
	case cluster.RoleReplica, cluster.RoleDemoted:
		return "replica"
	case cluster.RoleStandbyLeader:
		return "standby_leader"
	}
	return ""
}

// replaced returns the role's lines if there are any, else the general ones.
func replaced(section *node, key, overlay string) []string {
	if n := section.get(key + "_" + overlay); n != nil && n.kind != null {
		return textLines(n)
	}
	return textLines(section.get(key))
}

// recoveryConf takes recovery settings out of params, where people put them
// too, and lays recovery_conf over them.
func recoveryConf(params *node, conf []Param) []Param {
	out := newMapping()
	for _, k := range slices.Clone(params.keys) {
		if isRecovery(k) {
			out.set(k, params.fields[k])
			params.remove(k)
		}
	}
	for _, p := range conf {
		out.set(p.Name, newText(p.Value, ""))
	}
	for _, k := range slices.Clone(out.keys) {
		if k == "primary_conninfo" || k == "primary_slot_name" || k == "standby_mode" || strings.HasPrefix(k, "recovery_target") {
			out.remove(k)
		}
	}
	return reader{out}.params("")
}

// isRecovery reports whether a parameter belongs to the recovery section.
func isRecovery(name string) bool {
	switch name {
	case "archive_cleanup_command", "recovery_end_command", "recovery_min_apply_delay", "restore_command",
		"primary_conninfo", "primary_slot_name", "promote_trigger_file", "trigger_file", "standby_mode",
		"pause_at_recovery_target":
		return true
	}
	return strings.HasPrefix(name, "recovery_target")
}
