package config

import (
	"fmt"
	"strconv"
	"strings"
)

// parameter is one that must be the same on all members, or fit between them,
// and is therefore under our control.
type parameter struct {
	name string
	def  string
	ok   func(string) bool
}

// controlledParameters are in the order of the postmaster's command line,
// after listen_addresses, port and cluster_name, which follow from elsewhere.
func controlledParameters() []parameter {
	isBool := func(s string) bool { _, err := ParseBool(s); return err == nil }
	isOn := func(s string) bool { b, err := ParseBool(s); return err == nil && b }
	least := func(n int64) func(string) bool {
		return func(s string) bool { v, err := ParseInt(s, ""); return err == nil && v >= n }
	}
	level := func(s string) bool {
		return strings.EqualFold(s, "hot_standby") || strings.EqualFold(s, "replica") || strings.EqualFold(s, "logical")
	}
	return []parameter{
		{"wal_level", "replica", level},
		{"hot_standby", "on", isOn},
		{"max_connections", "100", least(25)},
		{"max_wal_senders", "10", least(3)},
		{"max_prepared_transactions", "0", least(0)},
		{"max_locks_per_transaction", "64", least(32)},
		{"track_commit_timestamp", "off", isBool},
		{"max_replication_slots", "10", least(4)},
		{"max_worker_processes", "8", least(2)},
		{"wal_log_hints", "on", isBool},
	}
}

func isControlled(name string) bool {
	switch name {
	case "listen_addresses", "port", "cluster_name", "wal_keep_size", "wal_keep_segments":
		return true
	}
	for _, p := range controlledParameters() {
		if p.name == name {
			return true
		}
	}
	return false
}

// controlledValues gives every controlled parameter its value from the dynamic
// configuration, or its default when that has none or an unusable one.
func controlledValues(f *File, shared *node, major int, r *report) []Param {
	given := map[string]*node{}
	if n := shared.get("parameters"); n != nil {
		for _, k := range n.keys {
			if v := n.fields[k]; v.isScalar() {
				given[strings.ToLower(k)] = v
			}
		}
	}
	out := []Param{
		{"listen_addresses", strings.Join(f.Postgres.ListenAddresses, ",")},
		{"port", strconv.Itoa(f.Postgres.Port)},
		{"cluster_name", f.Scope},
	}
	for _, name := range []string{"listen_addresses", "port", "cluster_name"} {
		if v := given[name]; v != nil {
			r.warn(WarnIgnored, "postgresql.parameters."+name, v, "cannot be set: it follows from this member's own configuration")
		}
	}
	for _, p := range controlledParameters() {
		value := p.def
		if v := given[p.name]; v != nil {
			value = v.scalarText()
			if !p.ok(value) {
				r.warn(WarnAdjusted, "postgresql.parameters."+p.name, v, "%q is not usable; the default %s is used", clip(value), p.def)
				value = p.def
			}
		}
		if p.name == "wal_level" && strings.EqualFold(value, "hot_standby") {
			value = "replica" // its name since 9.6
		}
		out = append(out, Param{p.name, value})
	}
	return append(out, walKeep(given, major, r))
}

// segmentMB is the size of a WAL segment that the conversion assumes.
const segmentMB = 16

// walKeep gives the amount of WAL to keep under the name that the version
// knows; either name may be configured.
func walKeep(given map[string]*node, major int, r *report) Param {
	megabytes := int64(8 * segmentMB)
	size, segments := given["wal_keep_size"], given["wal_keep_segments"]
	if size == nil && segments == nil {
		return walKeepParam(megabytes, major)
	}
	name, n, least, base := "wal_keep_size", size, int64(segmentMB), "MB"
	if size == nil || major < 13 && segments != nil {
		name, n, least, base = "wal_keep_segments", segments, 1, ""
	}
	v, err := ParseInt(n.scalarText(), base)
	if err != nil || v < least || v > 1<<31-1 {
		r.warn(WarnAdjusted, "postgresql.parameters."+name, n, "%q is not usable; the default %d MB is used", clip(n.scalarText()), megabytes)
		return walKeepParam(megabytes, major)
	}
	if name == "wal_keep_size" && major >= 13 || name == "wal_keep_segments" && major < 13 {
		return Param{name, n.scalarText()} // as written
	}
	if name == "wal_keep_segments" {
		v *= segmentMB
	}
	return walKeepParam(v, major)
}

func walKeepParam(megabytes int64, major int) Param {
	if major < 13 {
		return Param{"wal_keep_segments", strconv.FormatInt((megabytes+segmentMB-1)/segmentMB, 10)}
	}
	return Param{"wal_keep_size", fmt.Sprintf("%dMB", megabytes)}
}
