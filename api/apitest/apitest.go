// Package apitest is a make-believe cluster for tests of what serves or speaks
// the REST interface: a shared view in memory instead of a store, and one Source
// per member. It keeps the promises of api.Source (compare-and-set, a request
// that changes the view), but runs no rules: what becomes of a request is what
// the test says in OnFailover.
package apitest

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/wal"
)

// Now is the boot-clock instant of every fake.
const Now = boot.Instant(1_000_000_000_000)

// wall is the wall time of every fake.
var wall = time.Date(2026, 11, 22, 23, 5, 46, 0, time.UTC)

// Clock stands still.
type Clock struct{}

// Now returns Now.
func (Clock) Now() boot.Instant { return Now }

// Wall returns a fixed time.
func (Clock) Wall() time.Time { return wall }

// Cluster is the shared store.
type Cluster struct {
	mu       sync.Mutex
	view     cluster.View
	version  int
	settings cluster.Settings
	// Down makes every access to the store fail.
	down bool

	// OnFailover is called, without the lock, after a request was written.
	OnFailover func(c *Cluster, f cluster.Failover)
	// OnConfig likewise after the configuration changed.
	OnConfig func(c *Cluster, json string)
}

// ErrDown is what the store answers while it is down.
var ErrDown = errors.New("the store is down")

// New makes a cluster that holds the view.
func New(v cluster.View, s cluster.Settings) *Cluster {
	return &Cluster{view: v, settings: s, version: 100}
}

// Change edits the view; versions of changed keys are the test's business.
func (c *Cluster) Change(edit func(v *cluster.View)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	edit(&c.view)
}

// SetDown makes the store fail or work again.
func (c *Cluster) SetDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// View returns the view now.
func (c *Cluster) View() cluster.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view
	v.Members = slices.Clone(v.Members)
	return v
}

// MoveLeader makes name the leader and clears the request, as a successful
// switchover does.
func (c *Cluster) MoveLeader(name string) {
	c.Change(func(v *cluster.View) {
		for i := range v.Members {
			m := &v.Members[i]
			m.Role = cluster.RoleReplica
			m.ReplicationState = "streaming"
			if m.Name == name {
				m.Role, m.ReplicationState = cluster.RolePrimary, ""
			}
		}
		v.Leader = cluster.Leader{Name: name, Session: "s-" + name}
		v.Failover = cluster.Failover{}
	})
}

func (c *Cluster) next() cluster.Version {
	c.version++
	return cluster.Version(strconv.Itoa(c.version))
}

// Member is the Source of one member of the cluster.
type Member struct {
	Name string
	C    *Cluster
	// Edit changes the status before it is served; nil leaves it.
	Edit func(*api.Status)
	// Refuse is why a member cannot lead, by name.
	Refuse map[string]string
	// OnRestart and OnReinitialize are what becomes of the request; nil: it
	// succeeds.
	OnRestart      func(ctx context.Context, c cluster.RestartConditions) error
	OnReinitialize func(force, fromLeader bool) error
	// OnAccept is what a leader without the store is answered; nil: it is accepted.
	OnAccept func(leader string, promise time.Duration) (wal.LSN, error)
	// OnReload is what Reload finds; nil: all is well.
	OnReload func() error

	mu        sync.Mutex
	reloads   int
	wakes     int
	restarts  int
	reinits   int
	scheduled cluster.ScheduledRestart
}

// Reloads counts the calls of Reload.
func (m *Member) Reloads() int { m.mu.Lock(); defer m.mu.Unlock(); return m.reloads }

// Wakes counts the calls of Wake.
func (m *Member) Wakes() int { m.mu.Lock(); defer m.mu.Unlock(); return m.wakes }

// Restarts counts the calls of Restart.
func (m *Member) Restarts() int { m.mu.Lock(); defer m.mu.Unlock(); return m.restarts }

// Reinits counts the calls of Reinitialize.
func (m *Member) Reinits() int { m.mu.Lock(); defer m.mu.Unlock(); return m.reinits }

// Scheduled is the restart that waits for its time.
func (m *Member) Scheduled() cluster.ScheduledRestart {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.scheduled
}

// Status implements api.Source.
func (m *Member) Status() api.Status {
	v := m.C.View()
	m.C.mu.Lock()
	settings := m.C.settings
	m.C.mu.Unlock()
	self, _ := v.Member(m.Name)
	s := api.Status{
		Scope: "lab", Name: m.Name, Version: "4.1.5", Matriarch: "0.1.0",
		State: self.State, Role: self.Role, Postmaster: true, SystemID: v.Initialize.SystemID,
		Facts: true, Tags: self.Tags, Pending: self.PendingRestartReason,
		Server: api.ServerFacts{
			Version: 150018, Started: time.Date(2026, 11, 22, 23, 5, 37, 339069000, time.UTC),
			Timeline: self.Timeline, Location: self.XLog, Received: self.Received, Replayed: self.Replayed,
			ReplicationState: self.ReplicationState,
		},
		Settings: api.SettingsOf(v, settings),
		View:     v, ViewSeen: Now, StoreSeen: wall, NextTurn: Now,
		ScheduledRestart: m.Scheduled(),
		Guarded:          self.Guarded, Eligible: self.Role == cluster.RoleReplica,
	}
	if v.Leader.Name == m.Name {
		s.Lease = api.Lease{Held: true, Session: v.Leader.Session,
			Deadlines: fence.Compute(Now, settings.TTL, fence.DefaultBudget())}
	}
	if m.Edit != nil {
		m.Edit(&s)
	}
	return s
}

// Fresh implements api.Source.
func (m *Member) Fresh(context.Context) api.Status { return m.Status() }

// Accept implements api.Source.
func (m *Member) Accept(_ context.Context, leader string, promise time.Duration) (wal.LSN, error) {
	if m.OnAccept == nil {
		return m.Status().Position(), nil
	}
	return m.OnAccept(leader, promise)
}

// Cluster implements api.Source.
func (m *Member) Cluster(context.Context) (cluster.View, error) {
	m.C.mu.Lock()
	down := m.C.down
	m.C.mu.Unlock()
	if down {
		return cluster.View{}, ErrDown
	}
	return m.C.View(), nil
}

// WriteConfig implements api.Source.
func (m *Member) WriteConfig(_ context.Context, json string, was cluster.Version) error {
	c := m.C
	c.mu.Lock()
	switch {
	case c.down:
		c.mu.Unlock()
		return ErrDown
	case c.view.Config.Version != was:
		c.mu.Unlock()
		return fmt.Errorf("write config: %w", api.ErrConflict)
	}
	c.view.Config = cluster.Config{Present: true, JSON: json, Version: c.next()}
	hook := c.OnConfig
	c.mu.Unlock()
	if hook != nil {
		hook(c, json)
	}
	return nil
}

// WriteFailover implements api.Source.
func (m *Member) WriteFailover(_ context.Context, f cluster.Failover) error {
	c := m.C
	c.mu.Lock()
	if c.down {
		c.mu.Unlock()
		return ErrDown
	}
	f.Version = c.next()
	c.view.Failover = f
	hook := c.OnFailover
	c.mu.Unlock()
	if hook != nil {
		hook(c, f)
	}
	return nil
}

// ClearFailover implements api.Source.
func (m *Member) ClearFailover(_ context.Context, was cluster.Version) error {
	c := m.C
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return ErrDown
	}
	if c.view.Failover.Version != was {
		return api.ErrConflict
	}
	c.view.Failover = cluster.Failover{Version: c.next()}
	return nil
}

// CanLead implements api.Source.
func (m *Member) CanLead(_ context.Context, o cluster.Member) error {
	if why := m.Refuse[o.Name]; why != "" {
		return errors.New(why)
	}
	if !o.Tags.MayLead() {
		return errors.New("tagged nofailover")
	}
	return nil
}

// Restart implements api.Source.
func (m *Member) Restart(ctx context.Context, c cluster.RestartConditions) error {
	m.mu.Lock()
	m.restarts++
	m.mu.Unlock()
	if m.OnRestart != nil {
		return m.OnRestart(ctx, c)
	}
	return nil
}

// ScheduleRestart implements api.Source.
func (m *Member) ScheduleRestart(_ context.Context, r cluster.ScheduledRestart) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.scheduled.Present() {
		return api.ErrConflict
	}
	m.scheduled = r
	return nil
}

// CancelRestart implements api.Source.
func (m *Member) CancelRestart(context.Context) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	had := m.scheduled.Present()
	m.scheduled = cluster.ScheduledRestart{}
	return had, nil
}

// Reinitialize implements api.Source.
func (m *Member) Reinitialize(_ context.Context, force, fromLeader bool) error {
	m.mu.Lock()
	m.reinits++
	m.mu.Unlock()
	if m.OnReinitialize != nil {
		return m.OnReinitialize(force, fromLeader)
	}
	return nil
}

// Reload implements api.Source.
func (m *Member) Reload() error {
	m.mu.Lock()
	m.reloads++
	m.mu.Unlock()
	if m.OnReload != nil {
		return m.OnReload()
	}
	return nil
}

// Wake implements api.Source.
func (m *Member) Wake() { m.mu.Lock(); m.wakes++; m.mu.Unlock() }

// Lab is the cluster of the recorded answers: n2 leads, n1 and n3 stream, or
// after a switchover n3 leads.
func Lab() *Cluster {
	s := cluster.DefaultSettings()
	v := cluster.View{
		Initialize: cluster.Initialize{Present: true, SystemID: "7711135894370550733"},
		Leader:     cluster.Leader{Name: "n2", Session: "s-n2"},
		Status:     cluster.Status{Optime: 67108864},
		History:    cluster.History{Present: true},
		Config: cluster.Config{Present: true, Version: "7",
			JSON: `{"ttl":30,"loop_wait":10,"retry_timeout":10,"maximum_lag_on_failover":1048576,"postgresql":{"use_pg_rewind":true,"parameters":{"max_connections":200}}}`},
	}
	for i, name := range []string{"n1", "n2", "n3"} {
		host := fmt.Sprintf("10.77.0.%d", 11+i)
		m := cluster.Member{
			Name: name, ConnURL: "postgres://" + host + ":5432/postgres", APIURL: "http://" + host + ":8008/patroni",
			State: cluster.StateRunning, Role: cluster.RoleReplica, Version: "4.1.5", Timeline: 1,
			ReplicationState: "streaming", XLog: 67108864, Received: 67108864, Replayed: 67108864,
		}
		if name == "n2" {
			m.Role, m.ReplicationState, m.Received, m.Replayed = cluster.RolePrimary, "", 0, 0
		}
		v.Members = append(v.Members, m)
	}
	return New(v, s)
}

// Serve starts a REST server for a member on a loopback port and makes that
// port the member's api_url. It ends with the test.
func Serve(t testing.TB, m *Member, edit func(*api.Options)) *httptest.Server {
	t.Helper()
	opts := api.Options{Source: m, Clock: Clock{}}
	if edit != nil {
		edit(&opts)
	}
	srv, err := api.New(opts)
	if err != nil {
		t.Fatalf("api.New: %v", err)
	}
	hs := httptest.NewServer(srv)
	t.Cleanup(hs.Close)
	m.C.Change(func(v *cluster.View) {
		for i := range v.Members {
			if v.Members[i].Name == m.Name {
				v.Members[i].APIURL = hs.URL + "/patroni"
			}
		}
	})
	return hs
}
