package memory

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/internal/feed"
)

var _ dcs.Store = (*Store)(nil)

// Store is one member's connection to a Server.
type Store struct {
	server *Server

	mu     sync.Mutex
	hook   func(Call) Fault
	faults []Fault
	isCut  bool
	cut    chan struct{} // closed when isCut changes, and replaced
	closed bool
}

// Load implements dcs.Store.
func (s *Store) Load(ctx context.Context) (snap dcs.Snapshot, err error) {
	err = s.call(ctx, Call{Op: OpLoad}, func(c *Core) error { snap = c.Snapshot(); return nil })
	if err != nil {
		return dcs.Snapshot{}, err
	}
	return snap, nil
}

// Put implements dcs.Store.
func (s *Store) Put(ctx context.Context, key, value string, c dcs.Condition) (cluster.Version, error) {
	return s.put(ctx, "", key, value, c)
}

func (s *Store) put(ctx context.Context, session, key, value string, cond dcs.Condition) (v cluster.Version, err error) {
	err = s.call(ctx, Call{Op: OpPut, Key: key}, func(c *Core) error {
		v, err = c.Put(session, key, value, cond)
		return err
	})
	if err != nil {
		return "", err
	}
	return v, nil
}

// Delete implements dcs.Store.
func (s *Store) Delete(ctx context.Context, key string, cond dcs.Condition) error {
	return s.call(ctx, Call{Op: OpDelete, Key: key}, func(c *Core) error { return c.Delete(key, cond) })
}

// DeleteAll implements dcs.Store.
func (s *Store) DeleteAll(ctx context.Context) error {
	return s.call(ctx, Call{Op: OpDelete}, func(c *Core) error { c.DeleteAll(); return nil })
}

// Open implements dcs.Store.
func (s *Store) Open(ctx context.Context, ttl time.Duration) (dcs.Session, error) {
	n := &Session{store: s}
	n.opened.Sent = s.server.clk.Now()
	err := s.call(ctx, Call{Op: OpOpen}, func(c *Core) error {
		n.id, n.opened.Granted = c.OpenSession(ttl)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// Resume implements dcs.Store.
func (s *Store) Resume(ctx context.Context, h dcs.Handle) (dcs.Session, error) {
	if !strings.HasPrefix(h.Store, bindingPrefix) {
		return nil, fmt.Errorf("resume a session: %w: not a handle of a store in memory", dcs.ErrRefused)
	}
	if h.Store != s.server.binding() {
		return nil, fmt.Errorf("resume session %s of another store: %w", h.ID, dcs.ErrSessionGone)
	}
	n := &Session{store: s, id: h.ID}
	n.opened.Sent = s.server.clk.Now()
	err := s.call(ctx, Call{Op: OpResume}, func(c *Core) (err error) {
		n.opened.Granted, err = c.Resume(h.ID, h.Secret)
		return err
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// Close implements dcs.Store. Sessions live on until they run out.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.Cut(true)
	return nil
}

// Watch implements dcs.Store.
func (s *Store) Watch(ctx context.Context) <-chan dcs.Update {
	f, out := feed.New()
	go func() {
		defer f.Close()
		s.watch(ctx, f)
	}()
	return out
}

func (s *Store) watch(ctx context.Context, f *feed.Feed) {
	var sent dcs.Snapshot
	fresh := true // the reader has not seen the present state
	for ctx.Err() == nil {
		cut, switched := s.network()
		if cut {
			fresh = true
			f.Interrupt(fmt.Errorf("watch: the network is cut: %w", dcs.ErrUnavailable))
			wait(ctx, switched, nil, time.Hour)
			continue
		}
		snap, changed, again := s.server.observe()
		if fresh || snap.Revision != sent.Revision || snap.StoreID != sent.StoreID {
			fresh, sent = false, snap
			f.Send(snap)
		}
		wait(ctx, switched, changed, again)
	}
}

// wait returns when any of these happens.
func wait(ctx context.Context, a, b <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-a:
	case <-b:
	case <-t.C:
	}
}
