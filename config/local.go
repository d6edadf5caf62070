package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/matriarch-ha/matriarch/cluster"
)

// reservedName stands for "nobody" in strict synchronous mode.
const reservedName = "__patroni_strict_sync_replica_placeholder__"

// homeFile is a file in the home directory of whoever runs the program.
func homeFile(name string) string {
	home, err := os.UserHomeDir()
	if err != nil {
		return name
	}
	return filepath.Join(home, name)
}

// forbiddenBasebackup are the options of pg_basebackup that are ours to set.
func forbiddenBasebackup() []string {
	return []string{"pgdata", "format", "wal-method", "xlog-method", "gzip", "version", "dbname",
		"host", "port", "username", "password"}
}

// forbiddenInitDB are the options of initdb that are ours to set.
func forbiddenInitDB() []string {
	return []string{"pgdata", "nosync", "pwfile", "sync-only", "version"}
}

func withoutOptions(opts []Option, forbidden []string) []Option {
	return slices.DeleteFunc(opts, func(o Option) bool { return slices.Contains(forbidden, o.Name) })
}

func decodeBootstrap(root reader, r *report) *Bootstrap {
	d := root.sub("bootstrap")
	if d.n == nil || d.n.kind != mapping {
		return nil
	}
	b := &Bootstrap{
		Method:   d.text("method", "initdb"),
		InitDB:   d.options("initdb"),
		PgHBA:    d.lines("pg_hba"),
		PostInit: d.text("post_bootstrap", d.text("post_init", "")),
	}
	for _, o := range b.InitDB {
		if slices.Contains(forbiddenInitDB(), o.Name) {
			r.problem("bootstrap.initdb", d.n.get("initdb"), "the option "+o.Name+" may not be given", "remove it")
		}
	}
	if b.Method != "initdb" {
		r.warn(WarnUnsupported, "bootstrap.method", d.n.get("method"),
			"%s is not supported yet: this member will not found a cluster, it only joins one", b.Method)
	}
	if dcs := d.n.get("dcs"); dcs != nil && dcs.kind == mapping {
		r.refuse("bootstrap.dcs", dcs)
		r.settings("bootstrap.dcs", dcs) // for its warnings
		b.DCS = dcs.json()
	}
	return b
}

// decodeTags reads the tags. Where a boolean and a priority contradict each
// other the boolean wins.
func decodeTags(d reader, r *report) cluster.Tags {
	t := cluster.Tags{
		NoFailover:    d.flag("nofailover", false),
		NoLoadBalance: d.flag("noloadbalance", false),
		CloneFrom:     d.flag("clonefrom", false),
		NoSync:        d.flag("nosync", false),
		NoStream:      d.flag("nostream", false),
		ReplicateFrom: d.text("replicatefrom", ""),
	}
	t.FailoverPriority = r.priority(d, "failover_priority", "nofailover", t.NoFailover)
	t.SyncPriority = r.priority(d, "sync_priority", "nosync", t.NoSync)
	if d.n == nil || d.n.kind != mapping {
		return t
	}
	for _, k := range slices.Sorted(slices.Values(d.n.keys)) {
		if _, known := find(tagFields(), k); !known && d.n.fields[k].kind != null {
			t.Other = append(t.Other, cluster.Tag{Name: k, Value: d.n.fields[k].json()})
		}
	}
	return t
}

func (r *report) priority(d reader, key, flag string, never bool) *int {
	if !d.has(key) {
		return nil
	}
	p := int(max(-1<<31, min(1<<31-1, d.int(key, "", 1))))
	if d.has(flag) && never != (p <= 0) {
		r.warn(WarnConflict, "tags."+key, d.n.get(key), "contradicts %s: %v, which wins", flag, never)
		return nil
	}
	return &p
}

func decodeWatchdog(d reader, r *report) Watchdog {
	w := Watchdog{
		Mode:         "automatic",
		Device:       d.text("device", "/dev/watchdog"),
		SafetyMargin: int(min(d.int("safety_margin", "", 5), 1<<31-1)),
	}
	n := d.n.get("mode")
	if n == nil || !n.isScalar() {
		return w
	}
	word := strings.ToLower(n.scalar)
	if b, err := ParseBool(word); err == nil && !b {
		word = "off"
	}
	switch word {
	case "off", "disable", "disabled":
		w.Mode = "off"
	case "auto", "automatic":
	case "require", "required":
		w.Mode = "required"
	default:
		r.problem("watchdog.mode", n, "must be one of off, automatic, required", "")
	}
	return w
}

// checkFile judges what needs more than one setting.
func (r *report) checkFile(d reader, f *File) {
	if f.Name == reservedName {
		r.problem("name", d.n.get("name"), "this name is reserved", "choose another")
	}
	for _, key := range []string{"name", "scope"} {
		if strings.Contains(d.text(key, ""), "/") {
			r.problem(key, d.n.get(key), "must not contain a slash", "it is a part of the keys' paths")
		}
	}
	for _, key := range []string{"matriarch.state_dir", "matriarch.journal.dir", "embedded.data_dir"} {
		dir := f.Postgres.DataDir
		if own := d.text(key, ""); own != "" && dir != "" && inside(own, dir) {
			r.problem(key, d.n.get(key), "must not be inside the data directory "+dir+": a re-clone replaces that",
				"choose a place beside it, or leave it out")
		}
	}
	for _, s := range []string{"postgresql", "restapi"} {
		listen, _, err := splitHostPort(d.text(s+".listen", ""), "0")
		if first, _, _ := strings.Cut(listen, ","); err == nil && wildcard(first) && !d.has(s+".connect_address") {
			r.warn(WarnAdjusted, s+".connect_address", d.n.get(s+".listen"),
				"is not set and %s.listen is on all addresses; localhost is used, which members on other hosts cannot reach", s)
		}
	}
	if d.has("postgresql.use_slots") {
		r.warn(WarnIgnored, "postgresql.use_slots", d.n.get("postgresql.use_slots"), "has no effect here: it belongs to the dynamic configuration")
	}
	for _, o := range d.options("postgresql.basebackup") {
		if slices.Contains(forbiddenBasebackup(), o.Name) {
			r.warn(WarnIgnored, "postgresql.basebackup", d.n.get("postgresql.basebackup"), "the option %s may not be given and is left out", o.Name)
		}
	}
	pair(d.sub("restapi"), "restapi", "certfile", "keyfile", r)
	pair(d.sub("ctl"), "ctl", "certfile", "keyfile", r)
	checkProxyTLS(d.sub("proxy.tls"), r)
	checkTrusted(d, r)
}

func checkTrusted(d reader, r *report) {
	const path = "proxy.proxy_protocol.trusted"
	for _, t := range d.texts(path) {
		if _, err := network(t); err != nil {
			r.problem(path, newText(t, d.n.get(path).origin), "is neither an address nor a network", "write such as 10.0.0.7 or 10.0.0.0/24; names are not looked up")
		}
	}
}

// checkProxyTLS refuses what cannot be done, and what would look like protection and
// be none.
func checkProxyTLS(d reader, r *report) {
	const at = "proxy.tls"
	pair(d, at, "certfile", "keyfile", r)
	if orOff(d.text("mode", "pass")) == "end" {
		if !d.has("certfile") && !d.has("keyfile") { // else said by pair
			r.problem(at+".certfile", d.n.get("certfile"), "is required: with mode: end the entrypoint shows clients its own certificate", "give the file")
		}
	} else {
		for _, key := range []string{"certfile", "cafile"} {
			if d.has(key) {
				r.problem(at+"."+key, d.n.get(key), "has no effect while TLS passes through to the servers unread", "add mode: end, or leave it out")
			}
		}
	}
	if server := orOff(d.text("server", "disable")); server != "disable" {
		r.problem(at+".server", d.n.get("server"), "TLS to the servers cannot be used where logins are passed on: with TLS on both legs "+
			"SCRAM fails, because each side takes the entrypoint for an attacker (channel binding)",
			"leave it out, and protect that leg otherwise; or let TLS pass through (mode: pass)")
	}
}

// inside reports whether path is dir or below it.
func inside(path, dir string) bool {
	p, err1 := filepath.Abs(path)
	q, err2 := filepath.Abs(dir)
	if err1 != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(q, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
