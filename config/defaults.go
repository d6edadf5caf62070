package config

// literalDefaults are the values that hold when nothing is written, as they
// would be written in a file. That they do is tested.
func literalDefaults() map[string]string {
	return map[string]string{
		"namespace": "service",
		"log.type":  "plain", "log.level": "info", "log.file_num": "4", "log.file_size": "25000000", "log.max_queue_size": "1000",
		"log.deduplicate_heartbeat_logs": "false", "matriarch.log_heartbeat": "false",
		"restapi.listen": "127.0.0.1:8008", "restapi.verify_client": "none", "restapi.server_tokens": "original", "restapi.allowlist_include_members": "false",
		"ctl.insecure":      "false",
		"postgresql.listen": "127.0.0.1:5432", "postgresql.config_base_name": "postgresql", "postgresql.database": "postgres",
		"postgresql.use_pg_rewind": "false", "postgresql.use_unix_socket": "false", "postgresql.pg_ctl_timeout": "60s",
		"postgresql.remove_data_directory_on_rewind_failure":     "false",
		"postgresql.remove_data_directory_on_diverged_timelines": "false",
		"watchdog.device":        "/dev/watchdog",
		"watchdog.safety_margin": "5",
		"bootstrap.method":       "initdb",
		"tags.nofailover":        "false",
		"tags.noloadbalance":     "false",
		"tags.clonefrom":         "false",
		"tags.nosync":            "false",
		"proxy.listen":           "0.0.0.0:5000",
		"proxy.listen_replicas":  "0.0.0.0:5001",
		"proxy.stats":            "127.0.0.1:7000",
		"proxy.hold_timeout":     "30s",
		"proxy.hold_limit":       "1000",
		"proxy.connect_timeout":  "5s",
		"proxy.engine":           "events",
		"proxy.tls.mode":         "pass", "proxy.tls.min_version": "tlsv1.2", "proxy.tls.server": "disable",
		"proxy.login_timeout": "60s", "proxy.max_clients_per_address": "0", "proxy.login_rate_per_address": "0",
		"proxy.max_clients":               "0",
		"proxy.max_connections":           "0",
		"proxy.tcp.client_keepalive_idle": "60s", "proxy.tcp.client_keepalive_interval": "15s", "proxy.tcp.client_keepalive_count": "4",
		"proxy.tcp.server_keepalive_idle": "15s", "proxy.tcp.server_keepalive_interval": "5s", "proxy.tcp.server_keepalive_count": "3",
		"proxy.tcp.replica_user_timeout": "30s",
		"proxy.slow_start":               "0",
		"proxy.max_lag":                  "0",
		"proxy.max_lag_time":             "0",
		"matriarch.guard.fence_budget":   "1s",
		"matriarch.guard.clean_stop":     "2s",
		"matriarch.guard.takeover_grace": "3s",
		"matriarch.keep_replaced":        "1",
		"matriarch.kernel_fence":         "automatic",
		"matriarch.journal.file_size":    "16MB",
		"matriarch.journal.file_num":     "8",
		"matriarch.journal.memory":       "1000",
		"embedded.listen_peer":           "127.0.0.1:2380",
		"embedded.founder":               "true",
		"etcd3.protocol":                 "http",
		"etcd3.verify":                   "true",
		"etcd.protocol":                  "http",
		"etcd.verify":                    "true",
		"zookeeper.use_ssl":              "false", "zookeeper.tick_time": "2s",
		"zookeeper.verify": "true",
	}
}

// dynamicDefaults are those of the configuration that all members share.
func dynamicDefaults() map[string]string {
	return map[string]string{
		"ttl": "30s", "loop_wait": "10s", "retry_timeout": "10s", "maximum_lag_on_failover": "1MB", "check_timeline": "false",
		"max_timelines_history": "0", "primary_start_timeout": "5min", "primary_stop_timeout": "0", "primary_stall_timeout": "30s",
		"member_slots_ttl": "30min", "synchronous_mode": "off", "synchronous_mode_strict": "false", "pause": "false", "failsafe_mode": "false",
		"postgresql.use_slots": "true", "postgresql.use_pg_rewind": "false",
		"postgresql.remove_data_directory_on_rewind_failure":     "false",
		"postgresql.remove_data_directory_on_diverged_timelines": "false",
	}
}

// derived is a default that follows from other settings.
type derived struct {
	from  string // in words
	value func(*File) string
}

// noText: what the default comes to depends on the item of a list.
func noText(*File) string { return "" }

func derivedDefaults() map[string]derived {
	return map[string]derived{
		"restapi.connect_address":                   {"restapi.listen", func(f *File) string { return f.RestAPI.ConnectAddress }},
		"ctl.authentication.username":               {"restapi.authentication", func(f *File) string { return f.Ctl.Username }},
		"ctl.authentication.password":               {"restapi.authentication", func(f *File) string { return f.Ctl.Password.String() }},
		"ctl.cacert":                                {"restapi.cafile", func(f *File) string { return f.Ctl.CACert }},
		"postgresql.connect_address":                {"postgresql.listen", func(f *File) string { return f.Postgres.ConnectAddress }},
		"postgresql.config_dir":                     {"postgresql.data_dir", func(f *File) string { return f.Postgres.ConfigDir }},
		"postgresql.bin_dir":                        {"PATH, then the usual places", func(*File) string { return "" }},
		"postgresql.pgpass":                         {"in matriarch.state_dir", func(f *File) string { return under(f.Matriarch.StateDir, "pgpass") }},
		"postgresql.authentication.rewind.username": {"the superuser's", func(f *File) string { return f.Postgres.Rewind.Username }},
		"matriarch.state_dir":                       {"beside postgresql.data_dir", func(f *File) string { return f.Matriarch.StateDir }},
		"matriarch.turn_interval":                   {"loop_wait", func(*File) string { return "" }},
		"matriarch.journal.dir":                     {"in matriarch.state_dir", func(f *File) string { return f.Matriarch.Journal.Dir }},
		"embedded.data_dir": {"in matriarch.state_dir", func(f *File) string {
			if f.Store.Embedded == nil {
				return ""
			}
			return f.Store.Embedded.DataDir
		}},
		"proxy.ports[].name":            {"access and port number, such as any-5002", noText},
		"proxy.ports[].access":          {"any for one member", noText},
		"proxy.ports[].separator":       {"@", noText},
		"proxy.ports[].fallback":        {"off for sync and for one member, else on", noText},
		"proxy.ports[].max_clients":     {"proxy.max_clients", noText},
		"proxy.ports[].max_connections": {"proxy.max_connections", noText},
		"proxy.ports[].max_lag":         {"proxy.max_lag", noText},
		"proxy.ports[].max_lag_time":    {"proxy.max_lag_time", noText},
		"proxy.ports[].slow_start":      {"proxy.slow_start", noText},
		"proxy.ports[].zone":            {"proxy.zone", noText},
		"tags.failover_priority":        {"1, or 0 with nofailover", func(*File) string { return "" }},
		"tags.sync_priority":            {"1, or 0 with nosync", func(*File) string { return "" }},
	}
}
