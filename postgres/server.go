package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/postgres/postmaster"
	"github.com/matriarch-ha/matriarch/postgres/probe"
	"github.com/matriarch-ha/matriarch/postgres/runas"
	"github.com/matriarch-ha/matriarch/wal"
)

// Server is the local PostgreSQL server. Observe may be called while an action
// runs; of the actions one runs at a time, except Stop, which may interrupt.
type Server struct {
	opt  Options
	log  *slog.Logger
	user runas.User

	// task is held by actions that change files or the process.
	task sync.Mutex
	// keepMu guards what is kept beside the data, with the count in replaced.json. It
	// is held across writes and so apart from task, which the turns wait for.
	keepMu sync.Mutex
	// formerWait bounds how long a start waits for what is left of a killed server.
	formerWait time.Duration

	mu       sync.Mutex // guards what follows, and opt.Roles
	cfg      Config
	renew    bool // the next ApplyConfig renews the connection string, and reloads in any case
	recovery recoveryState
	syncMine bool   // synchronous_standby_names is managed
	syncText string // its value while managed
	keepWAL  bool   // no log may be removed: a stop that may be followed by a rewind
	forkWAL  bool   // likewise: what was a primary runs as a standby and has not streamed yet
	proc     *postmaster.Process
	askedPID int     // the postmaster that Stop told to end
	ended    procKey // the one whose end was told last
	startErr string
	logStart int64 // where the last start began in the server log
	identity map[wal.Timeline]cluster.TimelineIdentity
	cache    observed
	search   *search           // for the end of a stopped server's log, under way
	bad      map[string]string // settings refused by the server program, with the reason
	unread   bool              // the files changed since the running server read them
	rules    map[string]ruleFile
	atStart  map[string]string // what settings that wait for a restart will be

	procMu  sync.Mutex // one search for the postmaster at a time
	probeMu sync.Mutex
	heart   *probe.Conn

	proveMu   sync.Mutex
	prover    *probe.Conn   // for ProveCommit
	proveTook time.Duration // the latest attempt

	events chan Event
	done   chan struct{}
	wg     sync.WaitGroup
}

// recoveryState is the upstream as it stands in postgresql.conf.
type recoveryState struct {
	conninfo string
	slot     string
}

// observed keeps what is expensive to find and changes rarely.
type observed struct {
	controlKey  string
	control     control.Data
	stoppedKey  string
	stopped     wal.Position
	stoppedHist wal.History
	bestTL      wal.Timeline // newest timeline seen of the postmaster bestPID
	bestPID     int
	verified    map[wal.Timeline]bool // identities compared with the log since the start
}

// Event tells that a postmaster ended. Each end is told once.
type Event struct {
	PID int
	// Asked: Stop had told it to.
	Asked bool
	// Bootstrap: it was one of those that initdb and the making of a database run.
	Bootstrap bool
	postmaster.Exit
}

// eventsKept is how many ends may wait to be read.
const eventsKept = 32

// New prepares the server's handle; it starts nothing and connects to nothing.
// A postmaster that runs already is found and watched.
func New(opt Options) (*Server, error) {
	if opt.Name == "" || opt.DataDir == "" {
		return nil, errors.New("postgres: member name and data directory are required")
	}
	if !filepath.IsAbs(opt.DataDir) {
		return nil, errors.New("postgres: data_dir " + opt.DataDir + " is not absolute")
	}
	opt = withDefaults(opt)
	user, err := runas.For(opt.DataDir)
	if err != nil {
		return nil, err
	}
	s := &Server{
		opt: opt, log: opt.Logger, user: user, formerWait: formerWait,
		identity: map[wal.Timeline]cluster.TimelineIdentity{},
		bad:      map[string]string{},
		rules:    map[string]ruleFile{},
		atStart:  map[string]string{},
		events:   make(chan Event, eventsKept),
		done:     make(chan struct{}),
		unread:   true, // whoever wrote them before us may not have come to telling the server
	}
	if err := user.MkdirAll(opt.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory (matriarch.state_dir names another place): %w", err)
	}
	s.loadIdentities()
	s.adoptFiles()
	s.process()
	return s, nil
}

func withDefaults(opt Options) Options {
	opt.DataDir = filepath.Clean(opt.DataDir)
	set := func(p *string, def string) {
		if *p == "" {
			*p = def
		}
	}
	set(&opt.ConfigDir, opt.DataDir)
	set(&opt.StateDir, opt.DataDir+".matriarch")
	set(&opt.Database, "postgres")
	set(&opt.ConfigBaseName, "postgresql")
	set(&opt.ServerLog, filepath.Join(opt.StateDir, "postgres.log"))
	set(&opt.PgPass, filepath.Join(opt.StateDir, "pgpass"))
	if opt.Port == 0 {
		opt.Port = 5432
	}
	if len(opt.ListenHosts) == 0 {
		opt.ListenHosts = []string{"localhost"}
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Clock == nil {
		opt.Clock = clock.Real{}
	}
	opt.ListenHosts = trimAll(opt.ListenHosts)
	return opt
}

func trimAll(in []string) []string {
	out := make([]string, 0, len(in))
	for _, s := range in {
		out = append(out, strings.TrimSpace(s))
	}
	return out
}

// Close stops watching and closes connections; it leaves the server running.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.done:
	default:
		close(s.done)
	}
	s.mu.Unlock()
	s.probeMu.Lock()
	s.dropHeart()
	s.probeMu.Unlock()
	s.DropProof()
	s.wg.Wait()
}

// Events tells, at once, when a postmaster ends. The channel is never closed.
func (s *Server) Events() <-chan Event { return s.events }

// SetConfig gives the settings for the next start or ApplyConfig.
func (s *Server) SetConfig(c Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !reflect.DeepEqual(s.cfg, c) {
		clear(s.bad) // what the server refused may be right now
	}
	s.cfg = c
}

// SetRoles gives the credentials for all connections from now on. The next
// ApplyConfig writes them into the connection string of a standby, and makes the
// server read its files again even if none of them differs.
func (s *Server) SetRoles(r Roles) {
	s.mu.Lock()
	su := !reflect.DeepEqual(s.opt.Superuser, r.Superuser)
	s.opt.Roles, s.renew = r, true
	s.mu.Unlock()
	if su {
		s.probeMu.Lock()
		s.dropHeart() // the new ones must prove themselves now, not after the next restart
		s.probeMu.Unlock()
	}
}

func (s *Server) roles() Roles {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opt.Roles
}

// config returns the settings.
func (s *Server) config() Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg
}

// say reports progress and logs at debug.
func (s *Server) say(p Progress, text string) {
	if p != nil {
		p(text)
	}
	s.log.Debug("postgres", "progress", text)
}

// bounded returns a context that survives the caller's end, for the last steps
// of an action that must not be left half-done.
func bounded(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }
