package layout

import (
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/wal"
)

// EncodeMember writes a member's own key.
func EncodeMember(m cluster.Member) string {
	var w writer
	w.open('{')
	w.stringField("conn_url", m.ConnURL)
	w.stringField("api_url", m.APIURL)
	w.stringField("state", string(m.State))
	w.stringField("role", string(m.Role))
	w.stringField("version", m.Version)
	if m.CheckpointPending {
		// Only ever false; its absence tells the others that pg_rewind may begin.
		w.name("checkpoint_after_promote")
		w.raw("false")
	}
	writeTags(&w, m.Tags)
	w.optTrue("pending_restart", m.PendingRestart)
	writeRestartReason(&w, m.PendingRestartReason)
	w.optUint("xlog_location", uint64(m.XLog))
	w.optUint("replay_lsn", uint64(m.Replayed))
	w.optUint("receive_lsn", uint64(m.Received))
	w.optString("replication_state", m.ReplicationState)
	w.optUint("timeline", uint64(m.Timeline))
	writeScheduledRestart(&w, m.ScheduledRestart)
	w.optTrue("pause", m.Paused)
	w.optString("matriarch", m.Matriarch)
	w.optTrue("guarded", m.Guarded)
	w.optString("namesake", m.Namesake)
	w.close('}')
	return w.text()
}

func writeTags(w *writer, t cluster.Tags) {
	var tags writer
	tags.open('{')
	tags.optTrue("clonefrom", t.CloneFrom)
	tags.optTrue("nofailover", t.NoFailover)
	tags.optTrue("noloadbalance", t.NoLoadBalance)
	tags.optTrue("nosync", t.NoSync)
	tags.optTrue("nostream", t.NoStream)
	tags.optString("replicatefrom", t.ReplicateFrom)
	writePriority(&tags, "failover_priority", t.FailoverPriority)
	writePriority(&tags, "sync_priority", t.SyncPriority)
	for _, o := range t.Other {
		tags.name(o.Name)
		tags.raw(normalJSON(o.Value))
	}
	tags.close('}')
	if text := tags.text(); text != "{}" {
		w.name("tags")
		w.raw(text)
	}
}

func writePriority(w *writer, field string, p *int) {
	if p != nil {
		w.name(field)
		w.raw(strconv.Itoa(*p))
	}
}

func writeRestartReason(w *writer, changes []cluster.SettingChange) {
	if len(changes) == 0 {
		return
	}
	w.name("pending_restart_reason")
	w.open('{')
	for _, c := range changes {
		w.name(c.Name)
		w.open('{')
		w.stringField("old_value", c.Old)
		w.stringField("new_value", c.New)
		w.close('}')
	}
	w.close('}')
}

// decodeMember reads a member's key. A member whose value makes no sense still
// exists: it has a name and nothing else.
func decodeMember(name, value string) (cluster.Member, bool) {
	if strings.HasPrefix(value, "postgres") {
		return legacyMember(name, value), true
	}
	o, ok := parseObject(value)
	if !ok {
		return cluster.Member{Name: name, State: cluster.StateUnknown}, false
	}
	return cluster.Member{
		Name:                 name,
		ConnURL:              connURL(o),
		APIURL:               withoutCredentials(o.str("api_url")),
		State:                decodeState(o.str("state")),
		Role:                 decodeRole(o.str("role")),
		Version:              o.str("version"),
		Matriarch:            o.str("matriarch"),
		Guarded:              o.truthy("guarded"),
		Namesake:             withoutCredentials(o.str("namesake")),
		Tags:                 decodeTags(o["tags"]),
		Timeline:             wal.Timeline(o.uint("timeline", 32)),
		XLog:                 wal.LSN(o.uint("xlog_location", 64)),
		Received:             wal.LSN(o.uint("receive_lsn", 64)),
		Replayed:             wal.LSN(o.uint("replay_lsn", 64)),
		ReplicationState:     o.str("replication_state"),
		CheckpointPending:    strings.TrimSpace(string(o["checkpoint_after_promote"])) == "false",
		PendingRestart:       o.truthy("pending_restart"),
		PendingRestartReason: decodeRestartReason(o["pending_restart_reason"]),
		ScheduledRestart:     decodeScheduledRestart(o["scheduled_restart"]),
		Paused:               o.truthy("pause"),
	}, true
}

// legacyMember reads the oldest form: a bare connection URL whose parameter
// application_name carries the URL of the REST API.
func legacyMember(name, value string) cluster.Member {
	m := cluster.Member{Name: name, State: cluster.StateUnknown}
	u, err := url.Parse(value)
	if err != nil {
		return m
	}
	m.APIURL = validText(withoutCredentials(u.Query().Get("application_name")))
	u.RawQuery, u.User = "", nil
	m.ConnURL = validText(u.String())
	return m
}

// validText replaces what is not UTF-8, as reading JSON does by itself.
func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func decodeState(s string) cluster.State {
	if s == "" {
		return cluster.StateUnknown
	}
	return cluster.State(s)
}

func decodeRole(s string) cluster.Role {
	if s == "master" {
		return cluster.RolePrimary // written before version 4
	}
	return cluster.Role(s)
}

// connURL returns the address of the member's server, made up from conn_kwargs
// where an old member wrote only those.
func connURL(o object) string {
	if u := o.str("conn_url"); u != "" {
		return withoutCredentials(u)
	}
	args, ok := parseObject(string(o["conn_kwargs"]))
	if !ok || args.str("host") == "" {
		return ""
	}
	host, port := args.str("host"), "5432"
	if n := args.uint("port", 16); n != 0 {
		port = strconv.FormatUint(n, 10)
	}
	u := url.URL{Scheme: "postgresql", Host: net.JoinHostPort(host, port)}
	if db := args.str("dbname"); db != "" {
		u.Path = "/" + db
	}
	return u.String()
}

// withoutCredentials drops a user and password that somebody put into a stored
// URL: a view is journalled and shown.
func withoutCredentials(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	if u.User == nil {
		return text
	}
	u.User = nil
	return validText(u.String())
}

// DecodeTags reads a member's tags as they appear in its key and in its REST
// answers.
func DecodeTags(raw json.RawMessage) (cluster.Tags, error) {
	if !json.Valid(raw) {
		return cluster.Tags{}, errors.New("the tags are not JSON")
	}
	return decodeTags(raw), nil
}

func decodeTags(raw json.RawMessage) cluster.Tags {
	o, ok := parseObject(string(raw))
	if !ok {
		return cluster.Tags{}
	}
	t := cluster.Tags{
		NoFailover:    o.truthy("nofailover"),
		NoLoadBalance: o.truthy("noloadbalance"),
		CloneFrom:     o.truthy("clonefrom"),
		NoSync:        o.truthy("nosync"),
		NoStream:      o.truthy("nostream"),
		ReplicateFrom: o.str("replicatefrom"),
	}
	t.FailoverPriority = decodePriority(o, "failover_priority", "nofailover")
	t.SyncPriority = decodePriority(o, "sync_priority", "nosync")
	for _, name := range o.keys() {
		if !builtinTag(name) {
			t.Other = append(t.Other, cluster.Tag{Name: name, Value: normalJSON(string(o[name]))})
		}
	}
	return t
}

// decodePriority reads a priority. Where the boolean tag contradicts it ("false"
// beside a priority that means never) the boolean wins.
func decodePriority(o object, field, never string) *int {
	n, ok := asInt(o[field])
	if !ok {
		return nil
	}
	if _, stated := o[never]; stated && !o.truthy(never) && n <= 0 {
		return nil
	}
	return &n
}

func builtinTag(name string) bool {
	switch name {
	case "nofailover", "noloadbalance", "clonefrom", "nosync", "nostream",
		"replicatefrom", "failover_priority", "sync_priority":
		return true
	}
	return false
}

func decodeRestartReason(raw json.RawMessage) []cluster.SettingChange {
	o, ok := parseObject(string(raw))
	if !ok {
		return nil
	}
	var out []cluster.SettingChange
	for _, name := range o.keys() {
		if change, ok := parseObject(string(o[name])); ok {
			out = append(out, cluster.SettingChange{Name: name, Old: change.str("old_value"), New: change.str("new_value")})
		}
	}
	return out
}
