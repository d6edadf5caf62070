package config

import (
	"math"
	"strings"
)

// typ is what a setting's value must be.
type typ int

const (
	tAny     typ = iota // kept, not looked into
	tText               // one line of text; numbers are taken as written
	tBool               // on/off and their synonyms
	tInt                // integer, with base as unit if there is one
	tTime               // a time; a bare number is in seconds
	tList               // list of texts; a single text is split at commas
	tLines              // list of texts, never split: lines of pg_hba.conf
	tMap                // mapping of names to scalars
	tOptions            // command-line options: list or mapping
	tSection            // mapping with known keys
	tHost               // host:port
	tItems              // list of mappings with known keys
)

// field describes one setting.
type field struct {
	name     string
	typ      typ
	base     string   // of tInt: the unit, "" for none
	min, max int64    // of tInt
	enum     []string // of tText
	fields   []field  // of tSection, of each item of tItems
	open     bool     // of tSection: other keys are welcome
	// note says why the setting has no effect; it is a warning of its own.
	note    string
	neutral string // of a field with a note: the value that asks for nothing
	// optional says that false switches this tHost off.
	optional bool
	// effect says when a change of the file takes effect.
	effect effect
}

// effect is when a changed setting takes effect.
type effect int

const (
	onReload   effect = iota // SIGHUP or POST /reload
	onRestart                // the agent's own; PostgreSQL goes on running
	onFounding               // read once, when the cluster is founded
)

// lasting marks settings that only a restart of the agent changes; of a section,
// all of it.
func lasting(f field) field {
	f.effect = onRestart
	return f
}

func allLasting(fields ...field) []field {
	out := make([]field, len(fields))
	for i, f := range fields {
		out[i] = lasting(f)
	}
	return out
}

func str(name string) field       { return field{name: name, typ: tText} }
func yesno(name string) field     { return field{name: name, typ: tBool} }
func lst(name string) field       { return field{name: name, typ: tList} }
func lines(name string) field     { return field{name: name, typ: tLines} }
func free(name string) field      { return field{name: name, typ: tMap} }
func whatever(name string) field  { return field{name: name, typ: tAny} }
func options(name string) field   { return field{name: name, typ: tOptions} }
func host(name string) field      { return field{name: name, typ: tHost} }
func duration(name string) field  { return field{name: name, typ: tTime} }
func hostOrOff(name string) field { return field{name: name, typ: tHost, optional: true} }
func num(name string, min int64) field {
	return field{name: name, typ: tInt, min: min, max: math.MaxInt64}
}

func unit(name, base string, min int64) field {
	return field{name: name, typ: tInt, base: base, min: min, max: math.MaxInt64}
}

func within(name string, min, max int64) field {
	return field{name: name, typ: tInt, min: min, max: max}
}

func oneOf(name string, words ...string) field {
	return field{name: name, typ: tText, enum: words}
}

func section(name string, fields ...field) field {
	return field{name: name, typ: tSection, fields: fields}
}

// later marks a known setting that has no effect yet, unless it has the value
// neutral, or an empty or false one, and so asks for nothing.
func later(f field, note string, neutral ...string) field {
	f.note = note
	f.neutral = strings.Join(neutral, "")
	return f
}

func strs(names ...string) []field {
	out := make([]field, len(names))
	for i, n := range names {
		out[i] = str(n)
	}
	return out
}

func find(fields []field, name string) (field, bool) {
	for _, f := range fields {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

const (
	onlyBasebackup = "other methods than basebackup are not supported yet; basebackup is used"

	notYet    = "is not supported yet and has no effect"
	fromPyAPI = "has no effect: this server needs no such tuning"
)

// localFields is the schema of files and environment.
func localFields() []field {
	fields := []field{
		lasting(str("name")), lasting(str("scope")), lasting(str("namespace")),
		later(num("thread_pool_size", 1), fromPyAPI, "5"), later(whatever("thread_stack_size"), fromPyAPI),
		section("log", logFields()...),
		section("restapi", restFields()...),
		section("ctl",
			section("authentication", strs("username", "password")...),
			yesno("insecure"), str("cacert"), str("certfile"), str("keyfile"), str("keyfile_password"), str("cafile")),
		section("postgresql", append(postgresFields(), localPostgresFields()...)...),
		section("watchdog",
			str("mode"), lasting(str("device")), num("safety_margin", -1),
			later(str("driver"), notYet, "default")),
		{name: "bootstrap", typ: tSection, fields: bootstrapFields(), effect: onFounding},
		{name: "tags", typ: tSection, open: true, fields: tagFields()},
		later(section("citus", num("group", 0), str("database")), notYet),
		lasting(section("proxy", proxyFields()...)),
		section("matriarch",
			lasting(str("state_dir")), duration("turn_interval"), yesno("log_heartbeat"), within("keep_replaced", 0, 1),
			lasting(section("guard", duration("fence_budget"), duration("clean_stop"), duration("takeover_grace"))),
			lasting(oneOf("kernel_fence", "automatic", "off", "required")),
			lasting(section("journal", str("dir"), unit("file_size", "B", 4096), num("file_num", 1), num("memory", 1)))),
	}
	return append(fields, allLasting(storeFields()...)...)
}

func restFields() []field {
	return []field{
		host("listen"), host("connect_address"),
		section("authentication", strs("username", "password")...),
		str("certfile"), str("keyfile"), str("keyfile_password"), str("cafile"),
		oneOf("verify_client", "none", "optional", "required"),
		lst("allowlist"), yesno("allowlist_include_members"),
		free("http_extra_headers"), free("https_extra_headers"),
		later(str("ciphers"), "has no effect: the safe ciphers of TLS 1.2 and 1.3 are used"),
		later(within("request_queue_size", 0, 4096), fromPyAPI),
		later(num("thread_pool_size", 1), fromPyAPI, "5"),
		oneOf("server_tokens", "original", "minimal", "productonly"),
	}
}

// postgresFields are those that the dynamic configuration may hold too.
func postgresFields() []field {
	fields := []field{
		lasting(str("config_base_name")), lasting(str("database")), lasting(str("krbsrvname")),
		lasting(section("bin_name", strs(programs()...)...)), lasting(str("bin_dir")),
		free("parameters"), lines("pg_hba"), lines("pg_ident"),
		str("custom_conf"), free("recovery_conf"),
		yesno("use_pg_rewind"), yesno("use_slots"),
		yesno("remove_data_directory_on_rewind_failure"),
		yesno("remove_data_directory_on_diverged_timelines"),
		lasting(yesno("use_unix_socket")), later(yesno("use_unix_socket_repl"), notYet),
		unit("pg_ctl_timeout", "s", 0),
		options("basebackup"), options("rewind"),
		later(str("pre_promote"), notYet), later(str("before_stop"), notYet),
		later(whatever("callbacks"), notYet),
		later(lst("create_replica_methods"), onlyBasebackup, "basebackup"),
		later(lst("create_replica_method"), onlyBasebackup, "basebackup"),
	}
	for _, role := range overlayRoles() {
		fields = append(fields, free("parameters_"+role), lines("pg_hba_"+role), lines("pg_ident_"+role))
	}
	return fields
}

// sharedPostgresFields are the same in the dynamic configuration: what an agent
// needs before it knows that is read from its own file only.
func sharedPostgresFields() []field {
	fields := postgresFields()
	for i, f := range fields {
		if f.effect == onRestart {
			fields[i] = later(f, "has no effect here: it belongs to each member's own file")
		}
	}
	return fields
}

func overlayRoles() []string { return []string{"primary", "replica", "standby_leader"} }

func programs() []string {
	return []string{"pg_ctl", "initdb", "pg_controldata", "pg_basebackup", "postgres", "pg_isready", "pg_rewind"}
}

// localPostgresFields are only read from files and environment.
func localPostgresFields() []field {
	role := func(name string) field {
		return section(name, strs("username", "password", "sslmode", "sslcert", "sslkey", "sslpassword",
			"sslrootcert", "sslcrl", "sslcrldir", "gssencmode", "channel_binding", "sslnegotiation")...)
	}
	return []field{
		lasting(host("listen")), host("connect_address"), later(host("proxy_address"), notYet),
		lasting(str("data_dir")), lasting(str("config_dir")), lasting(str("pgpass")),
		section("authentication", role("superuser"), role("replication"), role("rewind")),
	}
}

func bootstrapFields() []field {
	return []field{
		section("dcs", dynamicFields()...), str("method"), options("initdb"),
		str("post_bootstrap"), str("post_init"), lines("pg_hba"),
		later(whatever("users"), "has no effect: roles are made by post_init"),
	}
}

func tagFields() []field {
	return []field{
		yesno("nofailover"), yesno("noloadbalance"), yesno("clonefrom"), yesno("nosync"),
		later(yesno("nostream"), notYet), str("replicatefrom"),
		num("failover_priority", math.MinInt32), num("sync_priority", math.MinInt32),
	}
}

// storeNames are the sections of which exactly one may be present.
func storeNames() []string { return []string{"zookeeper", "etcd3", "etcd", "embedded", "raft"} }

// foreignStores are sections of stores that we cannot use yet.
func foreignStores() []string { return []string{"consul", "kubernetes", "exhibitor"} }

func storeFields() []field {
	etcd := []field{
		str("host"), lst("hosts"), str("url"), later(str("proxy"), notYet), str("srv"), str("srv_suffix"),
		later(yesno("use_proxies"), notYet), oneOf("protocol", "http", "https"),
		str("username"), str("password"), str("cacert"), str("cert"), str("key"), yesno("verify"),
		str("discovery_srv"), str("srv_domain"), within("port", 1, 65535),
	}
	fields := []field{
		section("etcd", etcd...), section("etcd3", etcd...),
		section("zookeeper", lst("hosts"), str("host"), within("port", 1, 65535), yesno("use_ssl"), duration("tick_time"), str("cacert"), str("cert"), str("key"),
			str("key_password"), yesno("verify"), whatever("set_acls"), free("auth_data"), whatever("exhibitor")),
		section("embedded", host("listen_peer"), host("listen_client"), str("advertise"),
			whatever("partners"), str("data_dir"), yesno("founder"), str("cacert"), str("cert"), str("key")),
		{name: "raft", typ: tSection, open: true, fields: []field{
			host("self_addr"), host("bind_addr"), lst("partner_addrs"), str("data_dir"),
			later(str("password"), "has no effect on the embedded store: give embedded.cacert, cert and key instead")}},
	}
	for _, name := range foreignStores() {
		fields = append(fields, field{name: name, typ: tSection, open: true, fields: foreignFields(), note: notYet})
	}
	return fields
}

// foreignFields are the keys of unsupported stores, so that their environment
// variables are understood.
func foreignFields() []field {
	var out []field
	for _, n := range []string{"host", "port", "url", "cacert", "cert", "key", "verify", "token", "dc",
		"consistency", "register_service", "service_check_interval", "service_check_tls_server_name",
		"namespace", "context", "use_endpoints", "scope_label", "role_label", "pod_ip", "bypass_api_service",
		"leader_label_value", "follower_label_value", "standby_leader_label_value", "tmp_role_label", "poll_interval"} {
		out = append(out, whatever(n))
	}
	return append(out, lst("hosts"), whatever("checks"), lst("service_tags"), whatever("ports"), whatever("labels"),
		whatever("retriable_http_codes"), whatever("bootstrap_labels"))
}

// dynamicFields is the schema of the dynamic configuration. Numbers have no
// minimum here: what is too small is raised, see settings.
func dynamicFields() []field {
	secs := func(name string) field { return unit(name, "s", math.MinInt64) }
	return []field{
		secs("ttl"), secs("loop_wait"), secs("retry_timeout"),
		unit("maximum_lag_on_failover", "B", math.MinInt64), yesno("check_timeline"),
		num("max_timelines_history", math.MinInt64),
		secs("primary_start_timeout"), secs("master_start_timeout"),
		secs("primary_stop_timeout"), secs("master_stop_timeout"),
		secs("primary_stall_timeout"), secs("unguarded_veto"), oneOf("missing_last_record", "wait", "lose"), secs("member_slots_ttl"),
		str("synchronous_mode"), yesno("synchronous_mode_strict"), yesno("pause"), yesno("failsafe_mode"),
		whatever("standby_cluster"),
		section("postgresql", sharedPostgresFields()...),
		later(num("synchronous_node_count", math.MinInt64), notYet+": one synchronous standby is kept", "1"),
		later(unit("maximum_lag_on_syncnode", "B", math.MinInt64), notYet, "-1"),
		later(secs("primary_race_backoff"), notYet),
		later(whatever("slots"), notYet), later(whatever("permanent_slots"), notYet),
		later(whatever("permanent_replication_slots"), notYet), later(whatever("ignore_slots"), notYet),
		later(whatever("citus"), notYet),
	}
}
