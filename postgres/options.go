package postgres

import (
	"context"
	"log/slog"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/wal"
)

// Credentials, Param, Option and Secret are conf's, for callers that should not
// need to know that package.
type (
	Credentials = conf.Credentials
	Param       = conf.Param
	Option      = conf.Option
	Secret      = conf.Secret
)

// Roles are how the database roles log in.
type Roles struct {
	Superuser   Credentials
	Replication Credentials
	Rewind      Credentials // empty user name: Superuser is used
}

// Options are what stays the same while the agent runs.
type Options struct {
	Name  string // member name: application_name of its replication, base of its slot name
	Scope string // cluster name

	DataDir   string
	ConfigDir string            // empty: DataDir
	BinDir    string            // empty: PATH, then the usual distribution places
	BinName   map[string]string // program → file name, for renamed programs

	ListenHosts []string // as configured; "*", names and addresses
	Port        int

	Roles // until SetRoles

	PgPass         string // base name of the password files, one is made per target
	Database       string // for local connections; empty: postgres
	UseUnixSocket  bool
	ConfigBaseName string // empty: postgresql
	KrbSrvName     string

	StateDir  string // the agent's own directory; empty: <DataDir>.matriarch
	ServerLog string // where the server's standard error goes; empty: <StateDir>/postgres.log

	Logger *slog.Logger
	Clock  clock.Clock // nil: the real one

	// Kill ends every process of the server of a data directory and proves it;
	// the last resort of Stop. nil: SIGKILL to the postmaster and its children.
	Kill func(ctx context.Context, dataDir string) error
}

// Config is what may change while the agent runs: the effective settings for
// the current role, already merged by the caller.
type Config struct {
	// Parameters are all settings for postgresql.conf, without the controlled
	// ones; recovery settings among them count as Recovery.
	Parameters []Param
	// Controlled are the settings under the manager's control, in the order in
	// which they are passed on the postmaster's command line, except
	// listen_addresses, port and cluster_name, which come from Options.
	Controlled []Param
	HBA        []string // nil: pg_hba.conf is not managed
	Ident      []string // nil: pg_ident.conf is not managed
	Recovery   []Param  // restore_command, recovery_min_apply_delay, …
	CustomConf string   // included instead of <base>.base.conf

	UseSlots           bool
	BaseBackup         []Option
	PgRewind           []Option
	StartTimeout       time.Duration // pg_ctl_timeout; 0: 60 s
	HotStandbyFeedback bool          // forced on, where logical slots must survive
}

// Progress is told what a long action is doing, in words; it must not block.
type Progress func(string)

// Upstream is the server to replicate from.
type Upstream struct {
	Name   string // member name, for messages
	Host   string // may be a comma list for a remote primary
	Port   string
	DBName string // empty: Options.Database
	// Slot is primary_slot_name; empty means the member's own slot when
	// Config.UseSlots, and "-" means none.
	Slot string
}

// Source is a server to copy or rewind from.
type Source struct {
	Name   string
	Host   string
	Port   string
	DBName string
	// Diverged: by what the store knows, the data here are on another branch than the
	// source's, which their files alone may not show.
	Diverged bool
	// Timelines tells which branch of each number is the cluster's, as far as that is
	// registered.
	Timelines cluster.Timelines
}

// BootstrapOptions say how a new cluster is founded.
type BootstrapOptions struct {
	InitDB   []Option // forbidden ones are refused
	HBA      []string // appended to pg_hba.conf when Config.HBA is nil
	PostInit string   // command; gets a conninfo as last argument
	// Claim names the claim under which it is founded; it is kept with the mark of
	// an unfinished bootstrap, so that an agent that died knows its own again.
	Claim    string
	Progress Progress
}

// StopMode is how a server is asked to stop.
type StopMode string

// The modes of pg_ctl.
const (
	StopSmart     StopMode = "smart"
	StopFast      StopMode = "fast"
	StopImmediate StopMode = "immediate"
)

// StopOptions refine Stop.
type StopOptions struct {
	// Keep names the standbys (application_name) that must receive the shutdown
	// checkpoint; others that do not answer are disconnected instead of being
	// waited for.
	Keep []string
	// Checkpoint before the stop, so that the shutdown checkpoint is short.
	Checkpoint bool
	// KeepWAL keeps the shutdown checkpoint from removing old log, for a server
	// that may have diverged: pg_rewind needs it back to the last common
	// checkpoint.
	KeepWAL bool
	// EndArchiver ends an archiver that is still at work when the last record is
	// written, for a server that is started again at once: what it did not copy
	// stays marked for it.
	EndArchiver bool
	// OnShutdownCheckpoint is called, once, when the control file says "shut
	// down" and standby.signal is in place, perhaps long before the postmaster
	// ends: this server has acknowledged its last commit (Facts.ShutDown).
	OnShutdownCheckpoint func()
	// Force is how long the end may take once the context's deadline has passed
	// and the server is being killed; 0: 10 s.
	Force    time.Duration
	Progress Progress
}

// StopReport says how a stop went.
type StopReport struct {
	Clean     bool         // the control file says "shut down"
	Position  wal.Position // end of the last record, when known
	Confirmed []string     // those of Keep that had confirmed everything
	Killed    bool         // it had to be killed
}

// Promotion is the outcome of Promote.
type Promotion struct {
	Timeline wal.Timeline
	Identity cluster.TimelineIdentity
	History  wal.History // ancestors of Timeline
}

// Slot is a physical replication slot that should exist, at least at LSN.
type Slot struct {
	Name string
	LSN  wal.LSN // 0: wherever it is
}
