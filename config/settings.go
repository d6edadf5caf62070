package config

import (
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
)

// maxSeconds bounds times so that they fit a time.Duration with room to spare.
const maxSeconds = 1 << 31

// refuse reports the settings whose meaning is a promise that we cannot keep
// yet: going on without them would be unsafe or would serve the wrong data.
func (r *report) refuse(at string, n *node) {
	d := reader{n}
	if d.flag("synchronous_mode_strict", false) {
		r.problem(join(at, "synchronous_mode_strict"), n.get("synchronous_mode_strict"),
			"strict synchronous mode is not supported yet: commits would go on without a synchronous standby",
			"remove it, or write false")
	}
	if m := n.get("synchronous_mode"); m != nil && m.kind != null {
		switch _, err := ParseBool(m.scalarText()); {
		case strings.EqualFold(m.scalar, string(cluster.SyncQuorum)):
			r.problem(join(at, "synchronous_mode"), m, "quorum commit is not supported yet",
				"write on for one synchronous standby, or off")
		case m.isScalar() && err != nil:
			r.problem(join(at, "synchronous_mode"), m, "must be on or off", "")
		}
	}
	if s := n.get("standby_cluster"); s != nil && s.kind == mapping {
		for _, k := range []string{"host", "port", "restore_command"} {
			if v := s.fields[k]; v != nil && truthy(v) {
				r.problem(join(at, "standby_cluster"), v,
					"a standby cluster is not supported yet: this member would be a primary of its own",
					"remove standby_cluster")
				break
			}
		}
	}
}

// truthy is how the reference decides whether a standby cluster is active.
func truthy(n *node) bool {
	switch n.kind {
	case null:
		return false
	case boolean:
		return n.scalar == "true"
	case integer, real:
		return strings.Trim(n.scalar, "0.-") != ""
	case text:
		return n.scalar != ""
	}
	return len(n.items) > 0 || len(n.keys) > 0
}

// leastStall leaves room for two questions a second apart: an idle primary that was
// asked in time must not be taken for a stalled one.
const leastStall = 5 * time.Second

// settings reads what decisions depend on; at is where n stands, for warnings.
func (r *report) settings(at string, n *node) cluster.Settings {
	d := reader{n}
	s := cluster.DefaultSettings()
	secs := func(def, least time.Duration, keys ...string) time.Duration {
		for _, key := range keys {
			if _, err := ParseInt(d.number(key), "s"); d.has(key) && err == nil {
				v := r.atLeast(join(at, key), n.get(key), "s", int64(least/time.Second))
				return time.Duration(min(v, maxSeconds)) * time.Second
			}
		}
		return def
	}
	s.TTL = secs(s.TTL, 20*time.Second, "ttl")
	s.LoopWait = secs(s.LoopWait, time.Second, "loop_wait")
	s.RetryTimeout = secs(s.RetryTimeout, 3*time.Second, "retry_timeout")
	r.timing(at, n, &s)
	s.PrimaryStartTimeout = secs(s.PrimaryStartTimeout, 0, "primary_start_timeout", "master_start_timeout")
	s.PrimaryStopTimeout = secs(s.PrimaryStopTimeout, 0, "primary_stop_timeout", "master_stop_timeout")
	if s.PrimaryStallTimeout = secs(s.PrimaryStallTimeout, 0, "primary_stall_timeout"); s.PrimaryStallTimeout != 0 {
		s.PrimaryStallTimeout = secs(s.PrimaryStallTimeout, leastStall, "primary_stall_timeout")
	}
	s.UnguardedVeto = secs(s.UnguardedVeto, 0, "unguarded_veto")
	s.LoseLastRecord = d.text("missing_last_record", "wait") == "lose"
	s.SlotsTTL = secs(s.SlotsTTL, 0, "member_slots_ttl")
	if d.has("maximum_lag_on_failover") {
		s.MaxLagOnFailover = uint64(r.atLeast(join(at, "maximum_lag_on_failover"), n.get("maximum_lag_on_failover"), "B", 0))
	}
	if d.has("max_timelines_history") {
		s.MaxHistory = int(min(1<<31, r.atLeast(join(at, "max_timelines_history"), n.get("max_timelines_history"), "", 0)))
	}
	s.CheckTimeline = d.flag("check_timeline", false)
	s.Paused = d.flag("pause", false)
	s.Failsafe = d.flag("failsafe_mode", false)
	if b, err := ParseBool(d.text("synchronous_mode", "off")); err == nil && b {
		s.SyncMode = cluster.SyncOn
	}
	s.UseSlots = d.flag("postgresql.use_slots", true)
	s.UsePgRewind = d.flag("postgresql.use_pg_rewind", false)
	s.RecloneOnRewindFailure = d.flag("postgresql.remove_data_directory_on_rewind_failure", false)
	s.RecloneOnDivergence = d.flag("postgresql.remove_data_directory_on_diverged_timelines", false)
	return s
}

// atLeast reads a number and raises it to a minimum.
func (r *report) atLeast(path string, n *node, base string, least int64) int64 {
	v, err := ParseInt(n.scalar, base)
	if err != nil {
		return least // reported by the schema check; the document is rejected
	}
	if v < least {
		r.warn(WarnAdjusted, path, n, "%s is too small; the least, %d, is used", clip(n.scalar), least)
		return least
	}
	return v
}

// timing enforces that one reading and one renewal, each up to retry_timeout,
// and the sleep between turns fit into a lease. Every program that shares the
// cluster adjusts in the same way, so that all reckon with the same numbers.
func (r *report) timing(at string, n *node, s *cluster.Settings) {
	switch {
	case time.Second+2*s.RetryTimeout > s.TTL:
		s.LoopWait = time.Second
		s.RetryTimeout = (s.TTL - time.Second) / 2 / time.Second * time.Second
	case s.LoopWait+2*s.RetryTimeout > s.TTL:
		s.LoopWait = s.TTL - 2*s.RetryTimeout
	default:
		return
	}
	r.warn(WarnAdjusted, join(at, "ttl"), n.get("ttl"),
		"loop_wait + 2 * retry_timeout must not exceed ttl (%s); loop_wait %s and retry_timeout %s are used",
		s.TTL, s.LoopWait, s.RetryTimeout)
}
