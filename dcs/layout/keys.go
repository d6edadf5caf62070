package layout

import "strings"

// The keys, relative to the cluster's prefix.
const (
	KeyInitialize = "initialize"
	KeyConfig     = "config"
	KeyLeader     = "leader"
	KeyStatus     = "status"
	KeyOptime     = "optime/leader" // read only; written by old members
	KeyHistory    = "history"
	KeyFailover   = "failover"
	KeySync       = "sync"
	KeyFailsafe   = "failsafe"

	// KeyInitializeOwner is leased: its value is the name of the member that
	// bootstraps, and it vanishes with that member.
	KeyInitializeOwner = "initialize_owner"
	KeyTimelines       = "timelines"
	KeyHandover        = "handover"

	membersPrefix = "members/"
)

// DefaultNamespace is the namespace of a configuration that names none.
const DefaultNamespace = "service"

// KeyMember returns the key of the named member.
func KeyMember(name string) string { return membersPrefix + name }

// MemberName returns the member's name when key is a member's key.
func MemberName(key string) (string, bool) {
	name, ok := strings.CutPrefix(key, membersPrefix)
	if !ok || name == "" || strings.Contains(name, "/") {
		return "", false
	}
	return name, true
}

// ClusterBelow returns the path of another cluster that lies below this one's
// prefix, when key is one of its keys: two scopes of which one is the beginning
// of the other's path, or no scope at all but a namespace.
func ClusterBelow(key string) (path string, ok bool) {
	if _, mine := MemberName(key); mine || key == KeyOptime {
		return "", false
	}
	if path, _, ok := strings.Cut(key, "/"+membersPrefix); ok && path != "" {
		return path, true
	}
	at := strings.LastIndexByte(key, '/')
	if at <= 0 {
		return "", false
	}
	switch key[at+1:] {
	case KeyInitialize, KeyConfig, KeyLeader, KeyStatus, KeyHistory, KeyFailover, KeySync:
		return key[:at], true
	}
	return "", false
}

// Prefix returns where a cluster lives in a store: /namespace/scope, repeated
// slashes collapsed, no slash at the end. An empty namespace gives /scope, as
// it does for other programs: callers fill in DefaultNamespace themselves.
func Prefix(namespace, scope string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(namespace+"/"+scope, "/") {
		if part != "" {
			b.WriteString("/" + part)
		}
	}
	return b.String()
}
