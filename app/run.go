package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/agent"
	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/etcdembed"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/internal/vmgen"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/lease"
	"github.com/matriarch-ha/matriarch/logging"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/proxy"
)

// Version is our own version, CompatVersion the level of the compatible
// interfaces, which is what other programs read.
const (
	Version       = "0.1.0"
	CompatVersion = "4.1.4"
)

// RunAgent runs one member until ctx ends (a request to stop: the server is
// settled and the lease handed over first) or a rule ends it.
func RunAgent(ctx context.Context, p Program) error {
	f, log := p.File, p.Log
	if err := f.Check(config.ForAgent); err != nil {
		return err
	}
	m := &member{program: p, file: f, log: log, logs: p.Logs, clock: clock.Real{}, stats: newStatistics(f.Scope, f.Name)}
	m.life.log = log
	defer m.life.stop()
	if err := m.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before there was anything to settle
		}
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		log.Info("told to stop: settling the server and handing the lease over")
		m.agent.Stop("told to stop: " + context.Cause(ctx).Error())
	})
	defer stop()
	m.life.background("reload", time.Second, m.hearHangups)
	err := m.agent.Run(context.Background())
	var exit *agent.ErrExit
	if errors.As(err, &exit) && exit.Code == 0 {
		return nil
	}
	return err
}

// member holds the parts of one agent process.
type member struct {
	program Program
	file    *config.File // as at the start; what is in force is with the source
	log     *slog.Logger
	logs    *logging.Logs
	clock   clock.Clock
	life    lifecycle

	store   dcs.Store
	server  *postgres.Server
	major   int
	keeper  *lease.Keeper
	watch   *watch
	journal *journal.Journal
	peers   *http.Client
	// transport is what peers uses; a reload replaces it.
	transport *replaceable
	agent     *agent.Agent
	access    *etcdembed.Access
	stats     *statistics
	source    *source
	rest      *restPort
	// kernelTrouble is what was said of the kernel-timed fence last; the goroutine
	// that starts guards has it.
	kernelTrouble string
	// inherited is the guard of a former agent, until this one relies on it.
	inherited *guard.Inherited
	mute      *guard.MuteError // or one that does not answer
	reload    sync.Mutex       // one reload at a time
}

// start makes and starts the parts, in order; what was started is on the stack.
func (m *member) start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		m.claimGuard, m.openServer, m.endMute, m.openState, m.openStore, m.checkName, m.makeAgent, m.inherit, m.serveREST, m.serveProxy,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) openState(context.Context) error {
	j, err := journal.Open(journal.Options{Dir: m.file.Matriarch.Journal.Dir, FileBytes: m.file.Matriarch.Journal.FileSize,
		Files: m.file.Matriarch.Journal.FileNum, RingSize: m.file.Matriarch.Journal.Memory, Log: m.log})
	if err != nil {
		return err
	}
	m.journal = j
	m.life.background("journal", 2*time.Second, j.Run)
	transport, err := peerTransport(m.file)
	if err != nil {
		return err
	}
	m.transport = &replaceable{}
	m.transport.replace(transport)
	m.peers = peerClient(m.transport)
	return nil
}

func (m *member) openServer(ctx context.Context) error {
	o := serverOptions(m.file)
	o.Logger, o.Clock = m.log, m.clock
	o.Kill = func(ctx context.Context, dir string) error {
		_, err := guard.Kill(ctx, dir, m.clock)
		return err
	}
	s, err := postgres.New(o)
	if err != nil {
		return err
	}
	m.server = s
	m.life.onStop("local server's handle", time.Second, func(context.Context) error { s.Close(); return nil })
	if err := s.CheckBinaries(ctx); err != nil {
		return err
	}
	m.major, err = s.BinaryMajor(ctx)
	return err
}

func (m *member) openStore(ctx context.Context) error {
	if m.file.Store.Embedded != nil {
		if _, err := startEmbedded(m.file, etcdembed.KeptByAgent, m.log, &m.life); err != nil {
			return err
		}
		access := embeddedConfig(m.file, etcdembed.KeptByAgent).Access()
		m.access = &access
	}
	store, err := awaitOpen(ctx, m.file, m.log)
	if err != nil {
		return err
	}
	m.store = m.stats.measured(store)
	m.life.onStop("store connection", 2*time.Second, func(context.Context) error { return store.Close() })
	return nil
}

// checkName refuses to run beside another live agent of this name.
func (m *member) checkName(ctx context.Context) error {
	snap, err := awaitStore(ctx, m.store, m.log)
	if err != nil {
		return err
	}
	other, ok := layout.Decode(snap).Member(m.file.Name)
	if !ok || other.APIURL == "" {
		return nil
	}
	ask, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if agent.Alive(ask, m.peers, other) {
		return fmt.Errorf("a member named %q of cluster %q already runs and answers at %s: two agents must not share a name; "+
			"give this one another name, or stop the other", m.file.Name, m.file.Scope, other.APIURL)
	}
	return nil
}

func (m *member) makeAgent(context.Context) error {
	f := m.file
	budget := fence.Budget{Fence: f.Matriarch.Guard.FenceBudget, CleanStop: f.Matriarch.Guard.CleanStop}
	m.watch = newWatch(f, budget, m.log)
	m.keeper = lease.New(lease.Options{
		Store: m.store, Clock: m.clock, Budget: budget, Member: f.Name, Logger: m.log,
		Interval: func() time.Duration { return m.settings().LoopWait },
		TTL:      func() time.Duration { return m.settings().TTL },
		Renewed:  m.stats.renewed,
		Watchdog: m.watch.margin,
		Told:     func(e lease.Event) { m.agent.Leased(e) }, // nothing is held before the agent runs
	})
	m.life.background("kernel events", time.Second, func(ctx context.Context) error {
		err := vmgen.Watch(ctx, func() { m.keeper.Doubt("this virtual machine was restored or copied (its generation id changed)") })
		if err != nil {
			m.log.Debug("a virtual machine that is restored from a snapshot would not be noticed by its generation id", "error", err)
		}
		return nil
	})
	o := agent.Options{
		Name: f.Name, Version: CompatVersion, Own: Version, StateDir: f.Matriarch.StateDir,
		Reloadable: m.reloadable(f), Remember: m.server.KeepDynamic,
		Store: m.store, Keeper: m.keeper, Postgres: m.server,
		StartGuard: m.startGuard, Watchdog: m.watch.trouble,
		Kill:  func(ctx context.Context) error { _, err := guard.Kill(ctx, f.Postgres.DataDir, m.clock); return err },
		Peers: m.peers, Journal: m.journal, Clock: m.clock, Logger: m.log,
		Writable: func(ctx context.Context, host, port string) (bool, error) {
			return m.server.Writable(ctx, postgres.Source{Name: host, Host: host, Port: port})
		},
		Recorder: m.stats, Heartbeat: m.logs.Heartbeat,
	}
	if m.access != nil {
		o.OnLead = m.moveStoreLeader
	}
	m.agent = agent.New(o)
	m.stats.watch(m.agent, m.clock)
	return nil
}

// settings are those in force.
func (m *member) settings() cluster.Settings {
	if m.agent != nil {
		if s := m.agent.Settings(); s.TTL > 0 {
			return s
		}
	}
	return m.initialSettings()
}

// canBootstrap: this member may found a cluster. A method other than initdb is
// somebody's restore: founding an empty cluster in its place would be wrong.
func (m *member) canBootstrap(f *config.File) bool {
	b := f.Bootstrap
	if b == nil || !f.Tags.MayLead() {
		return false
	}
	if b.Method != "" && b.Method != "initdb" {
		m.log.Error("bootstrap.method is not supported yet: this member will not found a cluster", "method", b.Method)
		return false
	}
	return true
}

// initialSettings hold until the first turn: from the store if it says so.
func (m *member) initialSettings() cluster.Settings {
	json := m.initialConfig(m.file)
	if view, err := m.load(); err == nil && view.Config.JSON != "" {
		json = view.Config.JSON
	}
	c, err := configurer(m.file, m.major)(json, "replica")
	if err != nil {
		return cluster.DefaultSettings()
	}
	return c.Settings
}

func (m *member) load() (cluster.View, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := m.store.Load(ctx)
	return layout.Decode(s), err
}

// sayKernelFence tells once when the kernel-timed fence is not to be had.
func (m *member) sayKernelFence(k guard.KernelState, d guard.Duty) {
	if k.Trouble == m.kernelTrouble {
		return
	}
	if m.kernelTrouble = k.Trouble; k.Trouble != "" {
		m.log.Info("the kernel-timed fence is not active: should this whole host stand still past the end of its lease, the guard process alone stops the server when it goes on",
			"port", d.Port, "reason", k.Trouble)
	}
}

// moveStoreLeader keeps the store's own leader off the primary's host: losing
// both at once would lengthen a failover by the store's election.
func (m *member) moveStoreLeader(ctx context.Context) {
	// A write under way while the store's leadership moves can be dropped without
	// an answer; its writer then waits five seconds. A promotion is when most is
	// written, so the move comes after it.
	select {
	case <-ctx.Done():
		return
	case <-time.After(2 * time.Second):
	}
	to, err := etcdembed.MoveLeaderAway(ctx, *m.access, m.file.Store.Embedded.Self().Name)
	switch {
	case err != nil:
		m.log.Debug("the embedded store's leadership could not be moved away", "error", err)
	case to != "":
		m.log.Info("moved the embedded store's leadership off this host, which has the primary", "to", to)
	}
}

func (m *member) serveREST(context.Context) error {
	m.source = &source{logs: m.logs, agent: m.agent, store: m.store, peers: m.peers, clock: m.clock, reload: m.Reload, started: m.clock.Wall()}
	m.source.file.Store(m.file)
	policy := accessPolicy(m.file)
	srv, err := api.New(api.Options{Source: m.source, Journal: m.journal, Clock: m.clock, Log: m.log, Metrics: m.stats.Write,
		Requested: m.agent.Requested, Policy: policy})
	if err != nil {
		return err
	}
	m.rest = &restPort{server: srv, log: m.log}
	m.life.onStop("REST server", 3*time.Second, m.rest.stop)
	if err := m.rest.change(policy, m.file.RestAPI.Listen); err != nil {
		return err
	}
	m.life.background("REST address", time.Second, m.rest.follow)
	return nil
}

// accessPolicy is who may do what over REST.
func accessPolicy(f *config.File) api.Policy {
	r := f.RestAPI
	return api.Policy{
		Username: r.Username, Password: r.Password.Reveal(),
		AllowList: r.Allowlist, AllowMembers: r.AllowlistIncludeMembers,
		TLS:     api.TLS{CertFile: r.CertFile, KeyFile: r.KeyFile, KeyPassword: r.KeyFilePassword.Reveal(), CAFile: r.CAFile, VerifyClient: r.VerifyClient},
		Headers: headers(r.ExtraHeaders), TLSHeaders: headers(r.HTTPSExtraHeaders), ServerTokens: r.ServerTokens,
	}
}

func (m *member) serveProxy(ctx context.Context) error {
	if m.file.Proxy == nil {
		return nil
	}
	o := proxyOptions(m.file, m.store, m.peers, m.log)
	o.Name = "entrypoint@" + m.file.Name
	o.Journal = entrypointJournal(m.file, m.log, &m.life)
	p, err := proxy.New(o)
	if err != nil {
		return err
	}
	if err := p.Start(context.Background()); err != nil {
		return err
	}
	m.stats.entrypoint(p.Stats)
	m.rest.server.SetEntrypoint(api.Entrypoint{Stats: p.StatsAddr(), Pages: p.Pages()})
	m.life.onStop("entrypoint", 6*time.Second, p.Stop)
	return nil
}

// RunWitness runs a voting member of the embedded store, without PostgreSQL,
// until ctx ends.
func RunWitness(ctx context.Context, p Program) error {
	f := p.File
	p.ignoreHangups()
	if err := f.Check(config.ForWitness); err != nil {
		return err
	}
	if dir := f.Postgres.DataDir; dir != "" {
		return fmt.Errorf("postgresql.data_dir %s: this file describes a member with a server, whose agent runs its vote; "+
			"a witness needs a file of its own, without a section postgresql", dir)
	}
	return runStore(ctx, f, p.Log)
}

// runStore keeps this file's member of the embedded store running.
func runStore(ctx context.Context, f *config.File, log *slog.Logger) error {
	life := lifecycle{log: log}
	defer life.stop()
	sup, err := startEmbedded(f, etcdembed.KeptByAgent, log, &life)
	if err != nil {
		return err
	}
	if err := sup.Ready(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	log.Info("the witness votes", "member", f.Store.Embedded.Self().Name)
	<-ctx.Done()
	return nil
}

func headers(in []config.Param) map[string]string {
	out := map[string]string{}
	for _, p := range in {
		out[p.Name] = p.Value
	}
	return out
}
