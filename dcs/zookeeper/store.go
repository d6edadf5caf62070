package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

var _ dcs.Store = (*Store)(nil)

// ownTimeout is the length of the session of a store's own connection. It holds
// nothing; its pings tell within two thirds of it that a server hangs.
const ownTimeout = 6 * time.Second

// Store implements dcs.Store.
type Store struct {
	client *client
	clk    clock.Clock
	acl    []zk.ACL

	mu          sync.Mutex
	sessions    map[*Session]bool
	closed      bool
	tickChecked bool
}

// Open prepares a store. It does not wait for ZooKeeper: when no server can be
// reached, calls fail as unavailable. Only a wrong configuration and a refused
// login are errors.
func Open(ctx context.Context, cfg Config, clk clock.Clock) (*Store, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	acl, err := cfg.acl()
	if err != nil {
		return nil, err
	}
	s := &Store{client: newClient(cfg, clk, ownTimeout, false), clk: clk, acl: acl, sessions: map[*Session]bool{}}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if _, err := s.client.get(ctx); errors.Is(err, zk.ErrAuthFailed) {
		s.client.close()
		return nil, fmt.Errorf("zookeeper: %w: check auth_data: %w", dcs.ErrRefused, err)
	}
	return s, nil
}

// bound gives a call its deadline.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.client.cfg.RequestTimeout)
}

func (s *Store) path(key string) string { return s.client.cfg.Prefix + "/" + key }

// Load implements dcs.Store.
func (s *Store) Load(ctx context.Context) (snap dcs.Snapshot, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	err = s.client.read(ctx, func(ctx context.Context, l *link) error {
		if err := l.prove(ctx, s.client.cfg.Prefix); err != nil {
			return err
		}
		snap, err = collect(ctx, l, s.client.cfg.Prefix, nil)
		return err
	})
	if err != nil {
		return dcs.Snapshot{}, fmt.Errorf("load: %w", err)
	}
	return snap, nil
}

// Put implements dcs.Store.
func (s *Store) Put(ctx context.Context, key, value string, c dcs.Condition) (v cluster.Version, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	err = s.client.write(ctx, func(ctx context.Context, l *link) error {
		v, err = owned{link: l, acl: s.acl}.put(ctx, s.path(key), value, c)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("put %s: %w", key, err)
	}
	return v, nil
}

// Delete implements dcs.Store.
func (s *Store) Delete(ctx context.Context, key string, c dcs.Condition) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	err := s.client.write(ctx, func(ctx context.Context, l *link) error {
		o := owned{link: l}
		if v, ok := c.Version(); ok {
			stat, err := o.unchanged(ctx, s.path(key), v)
			if err != nil {
				return err
			}
			if stat.EphemeralOwner == 0 {
				return o.removePermanent(ctx, s.path(key), s.acl, stat.Version)
			}
			return o.remove(ctx, s.path(key), stat.Version)
		}
		if c.IsAbsent() {
			stat, err := o.stat(ctx, s.path(key))
			if stat != nil {
				err = dcs.ErrConflict
			}
			return err
		}
		if err := o.remove(ctx, s.path(key), -1); err != zk.ErrNoNode {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// DeleteAll implements dcs.Store. The cluster's own node stays, so that the
// revision does not go back.
func (s *Store) DeleteAll(ctx context.Context) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	root := s.client.cfg.Prefix
	err := s.client.write(ctx, func(ctx context.Context, l *link) error {
		if err := l.sync(ctx, root); err != nil {
			return err
		}
		for range maxReadings {
			err := deleteBelow(ctx, l, root)
			if err != zk.ErrNotEmpty {
				return err
			}
			// Somebody made a node meanwhile.
		}
		return fmt.Errorf("%w: nodes keep coming back: stop all members first", dcs.ErrConflict)
	})
	if err != nil {
		return fmt.Errorf("delete everything below %s: %w", root, err)
	}
	return nil
}

func deleteBelow(ctx context.Context, l *link, path string) error {
	names, err := children(ctx, l, path, nil)
	if err == zk.ErrNoNode {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := deleteBelow(ctx, l, child(path, name)); err != nil {
			return err
		}
		if err := (owned{link: l}).remove(ctx, child(path, name), -1); err != nil && err != zk.ErrNoNode {
			return err
		}
	}
	return nil
}

// Close implements dcs.Store: all connections end, sessions live on until they
// run out.
func (s *Store) Close() error {
	s.client.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for n := range s.sessions {
		n.client.close()
	}
	return nil
}
