package config

import (
	"math"
	"net"
	"strings"
)

// Use is what a configuration is meant for.
type Use int

// The uses of a configuration.
const (
	ForWitness  Use = iota // a vote of the embedded store: that section and a directory
	ForClient              // commands and entrypoints: a scope and a store
	ForAgent               // the agent: a name and a data directory too
	ForValidate            // the strict check that people ask for by flag: what the agent needs and more
)

// Check reports what is missing or wrong for a use; the error is of type
// Problems, or nil. It reads nothing but the configuration.
func (f *File) Check(use Use) error {
	r := &report{}
	if use == ForWitness {
		r.witness(f)
		return r.err()
	}
	r.require(f, "scope", f.Scope, "the name that all members of the cluster share")
	if f.Store.Kind == "" {
		r.problems = append(r.problems, Problem{Path: strings.Join(storeNames()[:4], "|"),
			Reason: "no store is configured", Remedy: "add one of these sections; embedded: {} needs no other program"})
	}
	if use >= ForAgent {
		r.require(f, "name", f.Name, "this member's own name")
		r.require(f, "postgresql.data_dir", f.Postgres.DataDir, "the directory of this member's database")
		if e := f.Store.Embedded; e != nil && e.DataDir == "" {
			r.require(f, "embedded.data_dir", "", "a directory for the store")
		}
	}
	if use >= ForAgent {
		r.reachable(f)
	}
	if use >= ForValidate {
		r.strict(f)
	}
	return r.err()
}

func (r *report) witness(f *File) {
	if f.Store.Embedded == nil {
		r.problem("embedded", f.Raw.root.get("embedded"), "is required: a witness is a vote of the embedded store",
			"list the members in embedded.partners")
		return
	}
	r.require(f, "embedded.data_dir", f.Store.Embedded.DataDir, "a directory for the store")
}

// reachable refuses to publish an address that leads every other member to
// itself.
func (r *report) reachable(f *File) {
	for _, path := range []string{"restapi.connect_address", "postgresql.connect_address"} {
		n := f.Raw.root.get(path)
		if n == nil {
			continue
		}
		if host, _, err := splitHostPort(n.scalar, "0"); err == nil && wildcard(host) {
			r.problem(path, n, "means every address of a host: others who use it would reach themselves", "give this member's own name or address")
		}
	}
}

func (r *report) require(f *File, path, value, remedy string) {
	if value == "" {
		r.problem(path, f.Raw.root.get(path), "is required", "give "+remedy)
	}
}

// strict are the checks of the reference's --validate-config that need no look
// at the network or the disk.
func (r *report) strict(f *File) {
	root := reader{f.Raw.root}
	for _, path := range []string{"restapi.listen", "restapi.connect_address", "postgresql.listen", "postgresql.connect_address",
		"postgresql.authentication.superuser.username", "postgresql.authentication.replication.username"} {
		remedy := "a value"
		if strings.HasSuffix(path, ".connect_address") {
			remedy = "the address at which other members reach it"
		}
		r.require(f, path, root.text(path, ""), remedy)
	}
	for _, path := range []string{"restapi.connect_address", "postgresql.connect_address"} {
		n := root.n.get(path)
		if n == nil {
			continue
		}
		host, _, _ := splitHostPort(n.scalar, "0")
		if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
			r.problem(path, n, "others cannot connect to this address", "give a name or address that other members can reach")
		}
	}
	root.n.walk("", func(path string, n *node) {
		if n.isScalar() && strings.Contains(n.scalar, "#FIXME") {
			r.problem(path, n, "is not filled in", "write a value for "+path)
		}
	})
	if f.Bootstrap != nil && f.Bootstrap.DCS == "" {
		r.require(f, "bootstrap.dcs", "", "the initial dynamic configuration")
	}
	r.ranges("bootstrap.dcs", root.sub("bootstrap.dcs"))
}

// ranges holds the limits that a strict check applies to a dynamic
// configuration; at run time the lower ones are raised instead.
func (r *report) ranges(at string, d reader) {
	checks := []struct {
		field
		prefix string
	}{
		{unit("ttl", "s", 20), ""}, {unit("loop_wait", "s", 1), ""}, {unit("retry_timeout", "s", 3), ""},
		{unit("maximum_lag_on_failover", "B", 0), ""}, {unit("maximum_lag_on_syncnode", "B", -1), ""},
		{unit("member_slots_ttl", "s", 0), ""}, {num("synchronous_node_count", 1), ""},
		{unit("primary_start_timeout", "s", 0), ""}, {unit("master_start_timeout", "s", 0), ""},
		{unit("primary_stop_timeout", "s", 0), ""}, {unit("master_stop_timeout", "s", 0), ""},
		{within("max_connections", 1, 262143), "postgresql.parameters."},
		{within("max_locks_per_transaction", 10, math.MaxInt32), "postgresql.parameters."},
		{within("max_prepared_transactions", 0, 262143), "postgresql.parameters."},
		{within("max_replication_slots", 0, 262143), "postgresql.parameters."},
		{within("max_wal_senders", 0, 262143), "postgresql.parameters."},
		{within("max_worker_processes", 0, 262143), "postgresql.parameters."},
	}
	for _, c := range checks {
		path := c.prefix + c.name
		if n := d.n.get(path); n != nil {
			r.checkValue(join(at, path), n, c.field)
		}
	}
}

// BootstrapDCS returns the initial dynamic configuration as compact JSON, or
// "" when the file has none.
func (f *File) BootstrapDCS() string {
	if f.Bootstrap == nil {
		return ""
	}
	return f.Bootstrap.DCS
}
