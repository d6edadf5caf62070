package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// fixme stands where only a person knows what belongs.
const fixme = "#FIXME"

// generated is what a member's file is written from.
type generated struct {
	name, address                string // host name and address of this machine
	scope                        string
	listen, port                 string
	dataDir, binDir              string
	major                        int
	superuser, password          string
	replicator, replicatorSecret string
	shared, local                pyjson.Object // parameters for all members, and for this one
	hba, ident                   []string
	rewind                       bool // pg_rewind can be used
}

func newGenerated() *generated {
	m := &generated{name: "n1", scope: fixme, listen: "*", port: "5432", address: fixme, binDir: fixme, dataDir: fixme, superuser: "postgres",
		replicator: "replicator", rewind: true}
	if h, err := os.Hostname(); err == nil {
		m.name = h
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && (m.address == fixme || strings.Contains(m.address, ":")) {
			m.address = n.IP.String()
		}
	}
	return m
}

// sampleMember is a template, for the PostgreSQL of this machine.
func sampleMember(ctx context.Context) *generated {
	m := newGenerated()
	m.scope, m.dataDir, m.major = "main", "/var/lib/postgresql/data", 15
	if out, err := exec.CommandContext(ctx, "postgres", "--version").Output(); err == nil {
		if found := regexp.MustCompile(`\) (\d+)`).FindStringSubmatch(string(out)); found != nil {
			m.major, _ = strconv.Atoi(found[1])
		}
	}
	m.binDir = fmt.Sprintf("/usr/lib/postgresql/%d/bin", m.major)
	m.shared = pyjson.Object{}.Set("max_connections", "100").Set("wal_keep_size", "128MB").Set("wal_level", "replica").Set("wal_log_hints", "on")
	m.hba = []string{"local all all peer", "host replication replicator all scram-sha-256", "host all all all scram-sha-256"}
	return m
}

// askServer finds out which server this is, and where.
func (m *generated) askServer(ctx context.Context, conn *pgx.Conn) error {
	var super bool
	var version int
	var cluster string
	err := conn.QueryRow(ctx, `SELECT current_setting('is_superuser')::bool, current_setting('server_version_num')::int,
		current_setting('cluster_name'), current_setting('listen_addresses'), current_setting('port'), current_user::text`).
		Scan(&super, &version, &cluster, &m.listen, &m.port, &m.superuser)
	switch {
	case err != nil:
		return err
	case !super:
		return fmt.Errorf("the role %s is no superuser: connect as one, settings and access rules are hidden from others", m.superuser)
	}
	m.major = version / 10000
	if cluster != "" {
		m.scope = cluster
	}
	if m.dataDir, err = value(ctx, conn, "SELECT current_setting('data_directory')"); err != nil {
		return err
	}
	pid, err := os.ReadFile(filepath.Join(m.dataDir, "postmaster.pid"))
	if err != nil {
		return nil // on another host, or not ours to read: a person must name the programs
	}
	first, _, _ := strings.Cut(string(pid), "\n")
	if exe, err := os.Readlink("/proc/" + first + "/exe"); err == nil {
		m.binDir = filepath.Dir(exe)
	}
	return nil
}

// notOurs are settings that follow from elsewhere.
func notOurs() []string {
	return []string{"listen_addresses", "port", "cluster_name", "data_directory", "config_file", "hba_file", "ident_file", "external_pid_file",
		"primary_conninfo", "primary_slot_name", "hot_standby", "synchronous_standby_names", "transaction_read_only", "transaction_isolation",
		"transaction_deferrable", "application_name", "search_path", "client_encoding", "promote_trigger_file"}
}

// ownCommands belong to one member: they name programs and paths of its host.
func ownCommands() []string {
	return []string{"archive_command", "restore_command", "archive_cleanup_command", "recovery_end_command", "ssl_passphrase_command"}
}

// askParameters takes what was configured and differs from the default.
func (m *generated) askParameters(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT name, current_setting(name) FROM pg_settings
		WHERE source IN ('configuration file', 'command line', 'environment variable') AND context <> 'internal'
		AND reset_val IS DISTINCT FROM boot_val AND name NOT LIKE 'recovery\_target%'
		UNION SELECT name, setting FROM pg_file_settings WHERE applied AND name LIKE '%.%' -- pg_settings hides what belongs to no module
		ORDER BY 1`)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Value string }])
	if err != nil {
		return err
	}
	for _, p := range list {
		switch {
		case slices.Contains(notOurs(), p.Name):
		case slices.Contains(ownCommands(), p.Name):
			m.local = m.local.Set(p.Name, p.Value)
		default:
			m.shared = m.shared.Set(p.Name, p.Value)
		}
	}
	checksums, err := value(ctx, conn, "SELECT current_setting('data_checksums')")
	hints, err2 := value(ctx, conn, "SELECT current_setting('wal_log_hints')")
	m.rewind = checksums == "on" || hints == "on"
	return errors.Join(err, err2)
}

// askRules takes the lines of pg_hba.conf and pg_ident.conf; files at another
// place than the usual stay where they are.
func (m *generated) askRules(ctx context.Context, conn *pgx.Conn) error {
	for _, f := range []struct {
		setting, name string
		lines         *[]string
	}{{"hba_file", "pg_hba.conf", &m.hba}, {"ident_file", "pg_ident.conf", &m.ident}} {
		path, err := value(ctx, conn, "SELECT current_setting($1)", f.setting)
		if err != nil {
			return err
		}
		if path != filepath.Join(m.dataDir, f.name) {
			m.local = m.local.Set(f.setting, path)
			continue
		}
		text, err := value(ctx, conn, "SELECT pg_read_file($1)", path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		*f.lines = ruleLines(text)
	}
	return nil
}

// ruleLines leaves comments and empty lines out.
func ruleLines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out
}

// askRoles looks for the role that replicates.
func (m *generated) askRoles(ctx context.Context, conn *pgx.Conn) error {
	name, err := value(ctx, conn, `SELECT rolname FROM pg_roles WHERE rolreplication AND rolcanlogin AND NOT rolsuper ORDER BY rolname LIMIT 1`)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	m.replicator = name
	return err
}

// ruleSecret finds passwords for other servers in access rules.
var ruleSecret = regexp.MustCompile(`(ldapbindpasswd|radiussecrets)=("[^"]*"|\S+)`)

// yaml writes the file; with reveal it contains the passwords.
func (m *generated) yaml(reveal bool) string {
	secret := func(s string) string {
		if s == "" || !reveal {
			return fixme
		}
		return s
	}
	rules := func(lines []string) []any {
		out := []any{}
		for _, l := range lines {
			if !reveal {
				l = ruleSecret.ReplaceAllString(l, "$1="+fixme)
			}
			out = append(out, l)
		}
		return out
	}
	object := func(pairs ...any) pyjson.Object {
		o := pyjson.Object{}
		for i := 0; i < len(pairs); i += 2 {
			o = o.Set(pairs[i].(string), pairs[i+1])
		}
		return o
	}
	server := object("listen", m.listen+":"+m.port, "connect_address", net.JoinHostPort(m.address, m.port), "data_dir", m.dataDir, "bin_dir", m.binDir,
		"authentication", object("superuser", object("username", m.superuser, "password", secret(m.password)),
			"replication", object("username", m.replicator, "password", secret(m.replicatorSecret))))
	if len(m.hba) > 0 {
		server = server.Set("pg_hba", rules(m.hba))
	}
	if len(m.ident) > 0 {
		server = server.Set("pg_ident", rules(m.ident))
	}
	if len(m.local) > 0 {
		server = server.Set("parameters", m.local)
	}
	var b strings.Builder
	section := func(comment, name string, v any) {
		if comment != "" {
			b.WriteString("\n# " + strings.ReplaceAll(comment, "\n", "\n# ") + "\n")
		}
		b.WriteString(toYAML(object(name, v)))
	}
	b.WriteString("# The configuration of one member. Look for FIXME.\n")
	section("", "scope", m.scope)
	section("", "name", m.name)
	section("", "restapi", object("listen", net.JoinHostPort(m.address, "8008"), "connect_address", net.JoinHostPort(m.address, "8008")))
	section("The store. This one needs no other program: list every member in partners.\nOr name another: etcd3: {hosts: [...]} or zookeeper: {hosts: [...]}", "embedded",
		object("listen_peer", net.JoinHostPort(m.address, "2380"), "listen_client", net.JoinHostPort(m.address, "2379"),
			"partners", []any{net.JoinHostPort(m.address, "2380")}))
	section("The configuration that all members share. It is read once, when the cluster is\nfounded, and changed with: matriarch edit-config", "bootstrap",
		object("dcs", object("ttl", 30, "loop_wait", 10, "retry_timeout", 10, "maximum_lag_on_failover", 1048576,
			"postgresql", object("use_pg_rewind", m.rewind, "parameters", m.shared)),
			"initdb", []any{"data-checksums"}))
	section("This member's server.", "postgresql", server)
	section("", "tags", object("clonefrom", true, "failover_priority", 1, "noloadbalance", false, "nosync", false, "sync_priority", 1))
	return b.String()
}
