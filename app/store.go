package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	if c.StateDir == "" { // a witness has no data directory that it could lie beside
		c.StateDir = filepath.Dir(c.DataDir)
	}
	return c
}

// startEmbedded keeps this member's store process running.
func startEmbedded(f *config.File, keeper etcdembed.Keeper, log *slog.Logger, l *lifecycle) (*etcdembed.Supervisor, error) {
	c := embeddedConfig(f, keeper)
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the store's state directory: %w", err)
	}
	sup, err := etcdembed.NewSupervisor(c, etcdembed.Options{
		Log:     log,
		HasData: func() bool { return hasData(f.Postgres.DataDir) },
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

// awaitOpen is OpenStore that waits for a store that must be asked something
// before it may be used and does not answer yet.
func awaitOpen(ctx context.Context, f *config.File, log *slog.Logger) (store dcs.Store, err error) {
	err = untilStore(ctx, log, func(context.Context) (more bool, err error) {
		store, err = OpenStore(ctx, f, log)
		return errors.Is(err, dcs.ErrUnavailable), err
	})
	return store, err
}

// awaitStore tries until the store answers, saying that it does not and why. A refusal (password, certificate) ends it at once.
func awaitStore(ctx context.Context, store dcs.Store, log *slog.Logger) (snap dcs.Snapshot, err error) {
	err = untilStore(ctx, log, func(try context.Context) (more bool, err error) {
		snap, err = store.Load(try)
		if errors.Is(err, dcs.ErrRefused) {
			return false, fmt.Errorf("the store refuses this member (check its section in the configuration): %w", err)
		}
		return true, err
	})
	return snap, err
}

// remindAfter is when a trouble that lasts is told again.
const remindAfter = 10 * time.Minute

// storeRemedy says what to look at when the store cannot be used, and what makes
// one trouble the same as the next.
func storeRemedy(why string) (remedy, about string) {
	for _, r := range []struct{ word, remedy string }{
		{"certificate signed by unknown authority", "give the authority of its certificate as cacert"},
		{"certificate has expired", "renew the certificate, or correct the clock"},
		{"certificate is valid for", "name it as its certificate does, or give it a certificate for this name"},
		{"certificate", "see that the certificates of both sides fit together"},
		{"TLS:", "does it speak TLS? If not, configure protocol: http"},
		{"no such host", "correct the host's name, or the resolver"},
	} {
		if strings.Contains(why, r.word) {
			return r.remedy, r.remedy
		}
	}
	// Several addresses are tried in an order that changes.
	parts := strings.Split(strings.TrimPrefix(why, dcs.ErrUnavailable.Error()+": "), "; ")
	slices.Sort(parts)
	return "see that it runs and that the addresses are right", strings.Join(parts, "; ")
}

// untilStore tries again, as long as that makes sense, until ctx ends.
func untilStore(ctx context.Context, log *slog.Logger, attempt func(context.Context) (more bool, err error)) error {
	said := map[string]time.Time{}
	for {
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		more, err := attempt(try)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !more:
			return err
		}
		brief := dcs.Brief(err)
		remedy, about := storeRemedy(brief)
		if at, ok := said[about]; !ok || time.Since(at) > remindAfter {
			said[about] = time.Now()
			log.Warn("waiting for the store; "+remedy, "error", brief)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}
