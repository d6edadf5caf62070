package api

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
)

// getMetrics writes the compatible metrics in their fixed order, then ours.
func (s *Server) getMetrics(w http.ResponseWriter, r *http.Request) {
	st, now := s.fresh(r), s.clock.Now()
	m := metrics{labels: fmt.Sprintf(`{scope="%s",name="%s"}`, escapeLabel(st.Scope), escapeLabel(st.Name))}
	m.compatible(st, now)
	m.ours(st, now)
	m.replay(st, s.clock.Wall())
	if s.opts.Metrics != nil {
		if err := s.opts.Metrics(&m.Buffer); err != nil {
			s.log.Warn("some metrics could not be read", "err", err)
		}
	}
	s.reply(w, http.StatusOK, "text/plain", m.Bytes())
}

// metrics collects samples in the text format.
type metrics struct {
	bytes.Buffer
	labels string
}

func escapeLabel(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}

func (m *metrics) sample(kind, name, help, value string) {
	fmt.Fprintf(m, "# HELP %[1]s %[2]s\n# TYPE %[1]s %[3]s\n%[1]s%[4]s %[5]s\n", name, help, kind, m.labels, value)
}

func (m *metrics) gauge(name, help, value string) { m.sample("gauge", name, help, value) }

func (m *metrics) flag(name, help string, on bool) {
	value := "0"
	if on {
		value = "1"
	}
	m.gauge(name, help+", 0 otherwise.", value)
}

func (m *metrics) counter(name, help string, n uint64) {
	m.sample("counter", name, help, strconv.FormatUint(n, 10))
}

// compatible writes the metrics that existing boards read; names, order and the
// texts of the help are those they know.
func (m *metrics) compatible(s Status, now boot.Instant) {
	f := s.Server
	switch {
	case !s.Facts:
		f = ServerFacts{}
	case s.InRecovery():
		f.Location = 0
	default: // a primary may still know what it once received
		f.Received, f.Replayed, f.ReplayedAt, f.ReplicationState = 0, 0, time.Time{}, ""
	}
	m.gauge("patroni_version", "Patroni semver without periods.", versionNumber(s.Version))
	m.flag("patroni_postgres_running", "Value is 1 if Postgres is running", s.State == cluster.StateRunning)
	m.gauge("patroni_postmaster_start_time", "Epoch seconds since Postgres started.", epoch(f.Started))
	m.flag("patroni_primary", "Value is 1 if this node is the leader", s.Role == cluster.RolePrimary)
	m.counter("patroni_xlog_location", "Current location of the Postgres transaction log, 0 if this node is not the leader.", uint64(f.Location))
	m.flag("patroni_standby_leader", "Value is 1 if this node is the standby_leader", s.Role == cluster.RoleStandbyLeader)
	m.flag("patroni_replica", "Value is 1 if this node is a replica", s.Role == cluster.RoleReplica)
	m.flag("patroni_sync_standby", "Value is 1 if this node is a sync standby", s.SyncStandby())
	m.flag("patroni_quorum_standby", "Value is 1 if this node is a quorum standby", s.QuorumStandby())
	m.counter("patroni_xlog_received_location", "Current location of the received Postgres transaction log, 0 if this node is not a replica.", uint64(f.Received))
	m.counter("patroni_xlog_replayed_location", "Current location of the replayed Postgres transaction log, 0 if this node is not a replica.", uint64(f.Replayed))
	m.gauge("patroni_xlog_replayed_timestamp", "Current timestamp of the replayed Postgres transaction log, 0 if null.", epoch(f.ReplayedAt))
	m.flag("patroni_xlog_paused", "Value is 1 if the Postgres xlog is paused", f.ReplayPaused)
	if f.Version >= 90600 {
		m.flag("patroni_postgres_streaming", "Value is 1 if Postgres is streaming", f.ReplicationState == "streaming")
		m.flag("patroni_postgres_in_archive_recovery", "Value is 1 if Postgres is replicating from archive", f.ReplicationState == "in archive recovery")
	}
	m.gauge("patroni_postgres_server_version", "Version of Postgres (if running), 0 otherwise.", strconv.Itoa(f.Version))
	m.gauge("patroni_cluster_unlocked", "Value is 1 if the cluster is unlocked, 0 if locked.", bit(s.Unlocked(now)))
	m.gauge("patroni_failsafe_mode_is_active", "Value is 1 if failsafe mode is active, 0 if inactive.", bit(s.FailsafeActive))
	m.gauge("patroni_failsafe_mode_enabled", "Value is 1 if failsafe mode is enabled, 0 if disabled.", bit(s.Settings.Failsafe))
	m.flag("patroni_failsafe_member", "Value is 1 if this node is recorded as a failsafe member", s.failsafeMember())
	m.gauge("patroni_postgres_timeline", "Postgres timeline of this node (if running), 0 otherwise.", strconv.Itoa(int(f.Timeline)))
	m.gauge("patroni_dcs_last_seen", "Epoch timestamp when DCS was last contacted successfully by Patroni.", strconv.FormatInt(seconds(s.StoreSeen), 10))
	m.flag("patroni_pending_restart", "Value is 1 if the node needs a restart", len(s.Pending) > 0)
	m.flag("patroni_is_paused", "Value is 1 if auto failover is disabled", s.Settings.Paused)
	m.state(s.State)
	m.gauge("patroni_failover_priority", "Failover priority of this node, 0 if it may never lead.", strconv.Itoa(s.failoverPriority()))
}

// failoverPriority is as configured, negative values too.
func (s Status) failoverPriority() int {
	if !s.Tags.NoFailover && s.Tags.FailoverPriority != nil {
		return *s.Tags.FailoverPriority
	}
	return s.Tags.FailoverPriorityOr1()
}

func (s Status) failsafeMember() bool {
	for _, m := range s.View.Failsafe {
		if m.Name == s.Name {
			return true
		}
	}
	return false
}

// states are in the order of their frozen numbers.
var states = [...]struct {
	name  string
	state cluster.State
}{
	{"initdb", cluster.StateInitializing},
	{"initdb_failed", cluster.StateInitFailed},
	{"custom_bootstrap", "running custom bootstrap script"},
	{"custom_bootstrap_failed", "custom bootstrap failed"},
	{"creating_replica", cluster.StateCreatingReplica},
	{"running", cluster.StateRunning},
	{"starting", cluster.StateStarting},
	{"bootstrap_starting", "starting after custom bootstrap"},
	{"start_failed", cluster.StateStartFailed},
	{"restarting", cluster.StateRestarting},
	{"restart_failed", cluster.StateRestartFailed},
	{"stopping", cluster.StateStopping},
	{"stopped", cluster.StateStopped},
	{"stop_failed", cluster.StateStopFailed},
	{"crashed", cluster.StateCrashed},
}

// state writes the state as a number, with the legend between help and type.
func (m *metrics) state(s cluster.State) {
	number := -1
	var legend []string
	for i, e := range states {
		legend = append(legend, fmt.Sprintf("%d=%s", i, e.name))
		if e.state == s {
			number = i
		}
	}
	const name = "patroni_postgres_state"
	fmt.Fprintf(m, "# HELP %s Numeric representation of Postgres state.\n# Values: %s\n# TYPE %s gauge\n%s%s %d\n",
		name, strings.Join(legend, ", "), name, name, m.labels, number)
}

// ours writes what the compatible set lacks.
func (m *metrics) ours(s Status, now boot.Instant) {
	m.gauge("matriarch_lease_remaining_seconds", "Seconds that this node may still write by its lease, 0 without a live lease.",
		secondsText(s.Lease.Remaining(now)))
	m.flag("matriarch_guarded", "Value is 1 if a guard process stops the server when its lease ends", s.Guarded)
	m.flag("matriarch_kernel_fence", "Value is 1 if the kernel closes the server's port when its lease ends, also when no process can run", s.KernelFence)
	m.flag("matriarch_watchdog_active", "Value is 1 if the watchdog device resets this host unless the lease is renewed", s.Watchdog)
	m.flag("matriarch_watchdog_failed", "Value is 1 if the watchdog device is required and does not work", s.WatchdogFailed)
	m.flag("matriarch_eligible", "Value is 1 if this node could take over", s.Eligible)
	m.gauge("matriarch_log_queue_size", "Log records that wait to be written.", strconv.Itoa(s.LogQueue))
	m.counter("matriarch_log_records_lost_total", "Log records that were lost because too many waited.", s.LogLost)
	age := "-1"
	if !s.ViewSeen.IsZero() {
		age = secondsText(now.Sub(s.ViewSeen))
	}
	m.gauge("matriarch_view_age_seconds", "Age of the last view of the store, -1 before the first.", age)
	m.lags(s)
}

// replay writes, on a standby, how old its newest data are: zero when all that
// was received is replayed.
func (m *metrics) replay(s Status, wall time.Time) {
	f := s.Server
	if !s.Facts || !s.InRecovery() || f.ReplayedAt.IsZero() {
		return
	}
	var age time.Duration
	if f.Received > f.Replayed {
		age = max(0, wall.Sub(f.ReplayedAt))
	}
	m.gauge("matriarch_replay_age_seconds", "Age of the last replayed commit while received WAL waits for replay, 0 otherwise.", secondsText(age))
}

// lags writes, on the primary, how far the other members are behind it: by their
// connections, or where one has none by what it published last.
func (m *metrics) lags(s Status) {
	if !s.Facts || s.Role != cluster.RolePrimary {
		return
	}
	var bytes, seconds []string
	for _, r := range s.View.Members {
		if r.Name == s.Name {
			continue
		}
		at, lag := r.Replayed, time.Duration(-1)
		if w, ok := s.walsender(r.Name); ok && w.Replay > 0 {
			at, lag = w.Replay, w.ReplayLag
			if at >= s.Server.Location {
				lag = 0
			}
		}
		labels := fmt.Sprintf(`{scope="%s",name="%s",replica="%s"}`, escapeLabel(s.Scope), escapeLabel(s.Name), escapeLabel(r.Name))
		if at > 0 {
			bytes = append(bytes, fmt.Sprintf("%s %d", labels, s.Server.Location.Sub(at)))
		}
		if lag >= 0 {
			seconds = append(seconds, labels+" "+secondsText(lag))
		}
	}
	m.family("matriarch_replica_lag_bytes", "Bytes of WAL that a replica has not replayed yet, as this primary sees it.", bytes)
	m.family("matriarch_replica_lag_seconds", "Time until a replica had replayed the WAL that it confirmed last, as this primary sees it.", seconds)
}

func (m *metrics) family(name, help string, samples []string) {
	if len(samples) == 0 {
		return
	}
	fmt.Fprintf(m, "# HELP %[1]s %[2]s\n# TYPE %[1]s gauge\n", name, help)
	for _, text := range samples {
		fmt.Fprintf(m, "%s%s\n", name, text)
	}
}

// walsender finds the connection of a member's server.
func (s Status) walsender(member string) (Walsender, bool) {
	for _, w := range s.Server.Replication {
		if strings.EqualFold(w.ApplicationName, member) {
			return w, true
		}
	}
	return Walsender{}, false
}

func secondsText(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

func bit(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// versionNumber pads each component to two digits: 4.1.4 is 040104.
func versionNumber(v string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(v, ".") {
		n, _ := strconv.Atoi(part) // what is no number counts as 0
		fmt.Fprintf(&b, "%02d", n)
	}
	return b.String()
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// epoch writes seconds with microseconds as the shortest float, 0 for none.
func epoch(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	text := strconv.FormatFloat(float64(t.UnixMicro())/1e6, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
