package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/matriarch-ha/matriarch/agent"
	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/logging"
	"github.com/matriarch-ha/matriarch/postgres"
)

// source shows the agent to the REST server.
type source struct {
	file   atomic.Pointer[config.File] // the configuration in force
	logs   *logging.Logs
	agent  *agent.Agent
	store  dcs.Store
	peers  *http.Client
	clock  clock.Clock
	reload func() error

	started time.Time
}

var _ api.Source = (*source)(nil)

// Status is the last turn, with the lease as it is now.
func (s *source) Status() api.Status { return s.status(s.agent.Snapshot()) }

// Fresh asks the server again.
func (s *source) Fresh(ctx context.Context) api.Status { return s.status(s.agent.Fresh(ctx)) }

func (s *source) status(n agent.Snapshot) api.Status {
	o, f, file := n.Observation, n.Facts, s.file.Load()
	view, seen := s.agent.Seen()
	lease := s.agent.Lease()
	st := api.Status{
		Scope: file.Scope, Name: file.Name, Version: CompatVersion, Matriarch: Version, AgentStarted: s.started,
		State: n.State, Role: n.Role, Postmaster: f.Process != postgres.ProcStopped && f.Process != "",
		SystemID: f.SystemID, Facts: f.Process == postgres.ProcRunning && f.SQLError == "",
		Lease:    api.Lease{Held: lease.Held, Session: lease.Session, Deadlines: lease.Until()},
		Settings: o.Settings, Tags: file.Tags, Pending: o.Server.Pending,
		View: view, ViewSeen: seen, FailsafeActive: s.agent.FailsafeActive(),
		Voting:   n.Decision.Memory.Promised && !f.Receiver.Running,
		Eligible: n.Decision.Memory.Eligible, WhyNot: n.Decision.Memory.WhyNot,
		Guarded: o.Guard.Required && o.Guard.Running, KernelFence: o.Guard.Kernel,
		Watchdog: o.Guard.Device, WatchdogFailed: o.Guard.Required && o.Guard.Watchdog != "",
		NextTurn: n.Next, Task: string(o.Task.Kind), Progress: o.Task.Progress,
		ScheduledRestart: s.agent.ScheduledRestart(),
	}
	if st.Settings.TTL == 0 {
		st.Settings = cluster.DefaultSettings()
	}
	if !seen.IsZero() {
		st.StoreSeen = s.clock.Wall().Add(-s.clock.Now().Sub(seen))
	}
	if n.State == cluster.StateRunning && !st.Facts {
		st.State = cluster.StateUnknown
	}
	logs := s.logs.Stats()
	st.LogQueue, st.LogLost = logs.Queued, logs.Lost
	st.Server, st.Kept = serverFacts(f), kept(f, keepReplaced(file))
	return st
}

// kept lists what lies beside the data directory.
func kept(f postgres.Facts, enough time.Duration) []api.KeptDoc {
	var out []api.KeptDoc
	for _, k := range f.Kept {
		d := api.KeptDoc{Path: k.Path}
		if k.Spare {
			left := int64(max(0, enough-k.Served) / time.Second)
			d.RemovedAfter = &left
		}
		out = append(out, d)
	}
	return out
}

func serverFacts(f postgres.Facts) api.ServerFacts {
	out := api.ServerFacts{Version: f.ServerVersion, Started: f.PostmasterStart, Timeline: f.Position.Timeline,
		Replayed: f.Replayed, Received: f.Received, ReplayPaused: f.ReplayPaused, ReplayedAt: f.ReplayedAt, LatestEnd: f.Receiver.LatestEnd}
	switch {
	case f.Role == postgres.RolePrimary:
		out.Location = f.Flushed
	case f.Receiver.Status == "streaming":
		out.ReplicationState = "streaming"
	case f.Upstream.Host != "":
		out.ReplicationState = "in archive recovery"
	}
	for _, w := range f.WalSenders {
		out.Replication = append(out.Replication, api.Walsender{Usename: w.User, ApplicationName: w.Application, ClientAddr: w.Addr,
			State: w.State, SyncState: w.SyncState, SyncPriority: w.SyncPriority,
			Replay: w.Replay, ReplayLag: w.ReplayLag})
	}
	return out
}

// Cluster reads the store.
func (s *source) Cluster(ctx context.Context) (cluster.View, error) { return s.agent.Cluster(ctx) }

// WriteConfig replaces the dynamic configuration, if this member can use it.
func (s *source) WriteConfig(ctx context.Context, json string, was cluster.Version) error {
	if _, _, err := config.ParseDynamic(json); err != nil {
		return &api.Refusal{Code: http.StatusBadRequest, Text: err.Error()}
	}
	return s.put(ctx, layout.KeyConfig, json, dcs.Unchanged(was))
}

// WriteFailover puts a request for another leader.
func (s *source) WriteFailover(ctx context.Context, f cluster.Failover) error {
	return s.put(ctx, layout.KeyFailover, layout.EncodeFailover(f), dcs.Always())
}

// ClearFailover withdraws a request.
func (s *source) ClearFailover(ctx context.Context, was cluster.Version) error {
	return s.put(ctx, layout.KeyFailover, layout.EncodeFailover(cluster.Failover{}), dcs.Unchanged(was))
}

func (s *source) put(ctx context.Context, key, value string, c dcs.Condition) error {
	_, err := s.store.Put(ctx, key, value, c)
	if errors.Is(err, dcs.ErrConflict) {
		return api.ErrConflict
	}
	if err == nil {
		s.agent.Wake()
	}
	return err
}

// CanLead asks the member itself.
func (s *source) CanLead(ctx context.Context, m cluster.Member) error {
	p, err := agent.Question(ctx, s.peers, m)
	switch {
	case err != nil:
		return fmt.Errorf("%s does not answer: %w", m.Name, err)
	case !p.Tags.MayLead():
		return fmt.Errorf("%s is tagged nofailover", m.Name)
	case p.WatchdogFailed:
		return fmt.Errorf("the watchdog of %s does not work", m.Name)
	}
	return nil
}

// Reload reads the configuration again.
func (s *source) Reload() error { return s.reload() }

// Wake makes the loop look again.
func (s *source) Wake() { s.agent.Wake() }

// apiURL is how others reach this member's REST interface.
func apiURL(f *config.File) string {
	scheme := "http"
	if f.RestAPI.CertFile != "" {
		scheme = "https"
	}
	return scheme + "://" + f.RestAPI.ConnectAddress + "/patroni"
}

// connURL is how others reach this member's server.
func connURL(f *config.File) string {
	db := f.Postgres.Database
	if db == "" {
		db = "postgres"
	}
	return "postgres://" + f.Postgres.ConnectAddress + "/" + strings.TrimPrefix(db, "/")
}
