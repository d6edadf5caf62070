package app

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/dcs/open"
	"github.com/matriarch-ha/matriarch/guard"
	"github.com/matriarch-ha/matriarch/ha/fence"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/postgres"
	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/wal"
)

// access is what a guard's helper needs to end a session: where the store is and
// how to log in, and where the stopped server lies. It holds passwords: it passes
// in a sealed memory file and is nowhere else.
type access struct {
	Name, Namespace, Scope string
	StateDir               string
	DataDir, ConfigDir     string
	BinDir, Path           string
	BinName                map[string]string
	ConfigBaseName         string
	Store                  config.StoreSection
}

func accessOf(f *config.File) ([]byte, error) {
	p := f.Postgres
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(access{
		Name: f.Name, Namespace: f.Namespace, Scope: f.Scope, StateDir: f.Matriarch.StateDir,
		DataDir: p.DataDir, ConfigDir: p.ConfigDir, BinDir: p.BinDir, BinName: p.BinName, ConfigBaseName: p.ConfigBaseName,
		Path: os.Getenv("PATH"), Store: f.Store,
	})
	if err != nil {
		return nil, fmt.Errorf("write down how the store is reached: %w", err)
	}
	return b.Bytes(), nil
}

// releaseCommand is the guard's helper.
func releaseCommand(errOut io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: "release", Hidden: true, Args: cobra.NoArgs,
		Short: "End the session of a lease whose server is dead (started by the guard)",
		RunE: func(c *cobra.Command, _ []string) error {
			handle, text, err := guard.ReadRelease()
			if err != nil {
				return err
			}
			var h dcs.Handle
			var a access
			if err := errors.Join(h.UnmarshalBinary(handle), gob.NewDecoder(bytes.NewReader(text)).Decode(&a)); err != nil {
				return err
			}
			if err := os.Setenv("PATH", a.Path); err != nil { // it was started without an environment
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), guard.ReleaseWait)
			defer cancel()
			log := slog.New(slog.NewTextHandler(errOut, nil)).With("helper", "release")
			f := &config.File{Name: a.Name, Namespace: a.Namespace, Scope: a.Scope, Store: a.Store}
			f.Matriarch.StateDir, f.Postgres.DataDir = a.StateDir, a.DataDir
			store, err := open.Open(ctx, f, clock.Real{}, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			defer store.Close()
			r := release{store: store, handle: h, member: a.Name, end: a.cleanEnd(ctx, log), log: log, clock: clock.Real{}}
			return r.run(ctx)
		},
	}
}

// cleanEnd is where the log of a server ends that was shut down in order: what
// the next leader must have. Unknown when it was killed.
func (a access) cleanEnd(ctx context.Context, log *slog.Logger) wal.Position {
	s, err := postgres.New(postgres.Options{Name: a.Name, Scope: a.Scope, DataDir: a.DataDir, ConfigDir: a.ConfigDir,
		BinDir: a.BinDir, BinName: a.BinName, ConfigBaseName: a.ConfigBaseName, StateDir: a.StateDir})
	if err != nil {
		log.Warn("the end of the server's log is not known", "error", err)
		return wal.Position{}
	}
	defer s.Close()
	f := s.Observe(ctx)
	if f.Process != postgres.ProcStopped || f.Dir != postgres.DirPresent || f.Control.State != control.ShutDown {
		return wal.Position{}
	}
	return f.Position
}

// release ends one session and nothing else: a successor's is another one.
type release struct {
	store  dcs.Store
	handle dcs.Handle
	member string
	end    wal.Position // what the next leader must have; unknown: nothing is known
	log    *slog.Logger
	clock  clock.Clock
}

// run tries until it succeeds, the session is over, or ctx ends.
func (r release) run(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, guard.ReleaseWait/3)
		err := r.try(try)
		cancel()
		switch {
		case err == nil, errors.Is(err, dcs.ErrSessionGone):
			return nil
		case errors.Is(err, dcs.ErrRefused):
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (r release) try(ctx context.Context) error {
	s, err := r.store.Resume(ctx, r.handle)
	if err != nil {
		return err
	}
	if r.end.Known() {
		// Without the key there is nothing that the record could bind.
		if err := r.record(ctx, s); err != nil && !errors.Is(err, errNotLeader) {
			return err
		}
	}
	return s.End(ctx)
}

var errNotLeader = errors.New("the leader key is not under this session")

// record writes where the clean stop left off, before the key goes: whoever is
// not there would lose commits. A successor's must not be overwritten, so it is
// written only while the session certainly lives, and holds the key.
func (r release) record(ctx context.Context, s dcs.Session) error {
	c := s.Opened()
	live := fence.Compute(c.Sent, c.Granted, fence.Budget{StoreSlack: s.Slack()}).Hard
	snap, err := r.store.Load(ctx)
	if err != nil {
		return err
	}
	v := layout.Decode(snap)
	if v.Leader.Session != s.ID() {
		return errNotLeader
	}
	text := layout.EncodeHandover(cluster.Handover{Leader: r.member, Term: v.Leader.Version, Timeline: r.end.Timeline, LSN: r.end.LSN})
	if !r.before(live) {
		return dcs.ErrUnavailable
	}
	if _, err := r.store.Put(ctx, layout.KeyHandover, text, dcs.Unchanged(v.Handover.Version)); err != nil {
		return fmt.Errorf("record what the next leader must have: %w", err)
	}
	r.log.Info("the server was shut down cleanly: recorded what the next leader must have", "timeline", r.end.Timeline, "lsn", r.end.LSN)
	return nil
}

func (r release) before(at boot.Instant) bool { return r.clock.Now() < at }
