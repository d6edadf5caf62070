package api

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
)

// health holds the four base answers that every health path is made of.
type health struct {
	s              Status
	known          bool // the view of the store can be relied on
	primary        bool
	leader         bool
	standbyLeader  bool
	replica        bool
	syncStandby    bool
	quorumStandby  bool
	readOnlyLeader bool
}

func newHealth(s Status, now boot.Instant, q url.Values) health {
	h := health{s: s, known: s.StoreKnown(now)}
	h.replica = s.replicaServes(q)
	switch {
	case !h.known && s.Settings.Paused:
		// Nobody renews while the store is away; the role is all there is.
		h.primary = s.Role == cluster.RolePrimary
		h.standbyLeader = s.Role == cluster.RoleStandbyLeader
		h.leader = h.primary || h.standbyLeader
	case s.Leads(now) && s.StandbyCluster:
		h.leader, h.replica = true, false
		h.standbyLeader = s.Role == cluster.RoleReplica || s.Role == cluster.RoleStandbyLeader
	case s.Leads(now):
		h.leader, h.primary = true, true
	}
	h.syncStandby, h.quorumStandby = s.SyncStandby(), s.QuorumStandby()
	h.readOnlyLeader = h.primary || h.standbyLeader
	return h
}

// replicaServes reports whether the server may serve as a replica: running, in
// recovery, tagged for it, and not further behind than the question allows.
func (s Status) replicaServes(q url.Values) bool {
	if s.Tags.NoLoadBalance || s.Role != cluster.RoleReplica || s.State != cluster.StateRunning {
		return false
	}
	if want := q.Get("replication_state"); want != "" && want != s.Server.ReplicationState {
		return false
	}
	limit, limited := parseBytes(q.Get("lag"))
	end := s.lastKnownEnd()
	return !limited || end == 0 || end.Sub(s.Server.Replayed) <= limit
}

// healthy answers a health path. The path is searched for words, in this order,
// as existing checks rely on it; anything else is not healthy.
func healthy(path string, q url.Values, s Status, now boot.Instant) bool {
	h := newHealth(s, now, q)
	has := func(word string) bool { return strings.Contains(path, word) }
	switch {
	case path == "/":
		return h.primary
	case has("standby_leader"), has("standby-leader"):
		return h.standbyLeader
	case has("leader"):
		return h.leader
	case has("master"), has("primary"), has("read-write"):
		return h.primary
	}
	return h.tagged(path) && tagsMatch(q, s.Tags)
}

// tagged answers the paths whose answer also depends on tag_ questions.
func (h health) tagged(path string) bool {
	switch {
	case strings.Contains(path, "replica"):
		return h.replica
	case strings.Contains(path, "read-only") && !strings.Contains(path, "sync") && !strings.Contains(path, "quorum"):
		return h.readOnlyLeader || h.replica
	case strings.Contains(path, "health"):
		return h.s.State == cluster.StateRunning
	case !h.known:
		return false
	}
	switch path {
	case "/sync", "/synchronous":
		return h.replica && h.syncStandby
	case "/quorum":
		return h.replica && h.quorumStandby
	case "/async", "/asynchronous":
		return h.replica && !h.syncStandby && !h.quorumStandby
	case "/read-only-sync", "/read-only-synchronous":
		return h.readOnlyLeader || h.replica && h.syncStandby
	case "/read-only-quorum":
		return h.readOnlyLeader || h.replica && h.quorumStandby
	}
	return false
}

// tagsMatch checks every tag_NAME=VALUE of the query.
func tagsMatch(q url.Values, tags cluster.Tags) bool {
	var have map[string]string
	for key, values := range q {
		name, ok := strings.CutPrefix(key, "tag_")
		if !ok || len(values) == 0 || values[0] == "" {
			continue
		}
		if have == nil {
			have = tagTexts(tags)
		}
		if text, ok := have[name]; !ok || text != values[0] {
			return false
		}
	}
	return true
}

// alive answers /liveness: the loop turned in time.
func alive(s Status, now boot.Instant) bool {
	patience := 2 * s.Settings.TTL
	if s.Role == cluster.RolePrimary && s.Postmaster {
		patience = s.Settings.TTL
	}
	return s.Settings.Paused || now.Before(s.NextTurn.Add(patience))
}

// ready answers /readiness: the leader, or a replica that streams and is not
// far behind.
func ready(s Status, now boot.Instant, q url.Values) bool {
	switch {
	case s.Leads(now):
		return true
	case s.State != cluster.StateRunning, s.Server.ReplicationState != "streaming":
		return false
	case !s.StoreKnown(now) && s.Server.LatestEnd == 0:
		return s.FailsafeActive
	}
	at := s.Server.Replayed
	if q.Get("mode") == "write" {
		at = s.Server.Received
	}
	limit, ok := parseBytes(q.Get("lag"))
	if !ok {
		limit = s.Settings.MaxLagOnFailover
	}
	return s.lastKnownEnd().Sub(at) <= limit
}

func codeOf(ok bool) int {
	if ok {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}
