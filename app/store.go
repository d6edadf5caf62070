package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/etcdembed"
	"github.com/matriarch-ha/matriarch/dcs/open"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// OpenStore connects to the cluster's place in the configured store. For the
// embedded kind its process must have been started before.
func OpenStore(ctx context.Context, f *config.File, log *slog.Logger) (dcs.Store, error) {
	return open.Open(ctx, f, clock.Real{}, log)
}

// embeddedConfig is this member's part of the embedded store.
func embeddedConfig(f *config.File, keeper etcdembed.Keeper) etcdembed.Config {
	e := f.Store.Embedded
	c := etcdembed.Config{
		Name: e.Self().Name, Scope: f.Scope,
		ListenPeer: e.ListenPeer, ListenClient: e.ListenClient,
		DataDir: e.DataDir, StateDir: f.Matriarch.StateDir,
		TLS:    etcdembed.TLS{CA: e.CA, Cert: e.Cert, Key: e.Key},
		Keeper: keeper,
	}
	for _, p := range e.Members() {
		c.Members = append(c.Members, etcdembed.Member{Name: p.Name, Peer: p.Peer, Client: p.Client})
	}
	return c
}

// startEmbedded keeps this member's store process running.
func startEmbedded(f *config.File, keeper etcdembed.Keeper, log *slog.Logger, l *lifecycle) (*etcdembed.Supervisor, error) {
	c := embeddedConfig(f, keeper)
	if c.StateDir == "" { // a witness has no data directory that it could lie beside
		c.StateDir = filepath.Dir(c.DataDir)
	}
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the store's state directory: %w", err)
	}
	last := ""
	sup, err := etcdembed.NewSupervisor(c, etcdembed.Options{
		Log:     log,
		HasData: func() bool { return hasData(f.Postgres.DataDir) },
		Changed: func(s etcdembed.State) {
			if text := string(s.Phase) + s.Message; text != last {
				last = text
				log.Info("embedded store: "+s.Message, "phase", s.Phase, "up", s.Up, "of", s.Of)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if err := sup.Start(); err != nil {
		return nil, err
	}
	l.onStop("embedded store", 12*time.Second, sup.Stop)
	return sup, nil
}

// hasData: a PostgreSQL data directory exists here.
func hasData(dir string) bool {
	if dir == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, "PG_VERSION"))
	return err == nil
}

// awaitStore tries until the store answers, saying every few seconds that it
// does not. A refusal (password, certificate) ends it at once.
func awaitStore(ctx context.Context, store dcs.Store, log *slog.Logger) (dcs.Snapshot, error) {
	said := time.Time{}
	for {
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		snap, err := store.Load(try)
		cancel()
		switch {
		case err == nil:
			return snap, nil
		case ctx.Err() != nil:
			return snap, ctx.Err()
		case errors.Is(err, dcs.ErrRefused):
			return snap, fmt.Errorf("the store refuses this member (check its section in the configuration): %w", err)
		}
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			log.Warn("waiting for the store", "error", err)
		}
		select {
		case <-ctx.Done():
			return snap, ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}
