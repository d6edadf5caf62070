package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
)

// Session is a ZooKeeper session on a connection of its own.
type Session struct {
	store    *Store
	client   *client
	identity Identity
	opened   dcs.Confirmation

	// writes are made one at a time: see Delete.
	writes sync.Mutex
}

var _ dcs.Session = (*Session)(nil)

// Open implements dcs.Store.
func (s *Store) Open(ctx context.Context, ttl time.Duration) (dcs.Session, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	n := &Session{store: s, client: newClient(s.client.cfg, s.clk, ttl, true)}
	l, err := n.client.get(ctx)
	if err != nil {
		// At worst a session without keys was made; it runs out.
		return nil, fmt.Errorf("open a session of %v: %w", ttl, classify(err, false))
	}
	n.identity = l.wire.identity
	n.opened = dcs.Confirmation{Sent: l.wire.sent, Granted: l.wire.granted}
	if err := s.keep(n); err != nil {
		return nil, fmt.Errorf("open a session of %v: %w", ttl, err)
	}
	s.checkTick(ctx, l.addr)
	return n, nil
}

// keep notes a session whose connection Close has to end; in a store that was
// closed meanwhile it ends at once. The session itself lives on.
func (s *Store) keep(n *Session) error {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.sessions[n] = true
	}
	s.mu.Unlock()
	if closed {
		n.client.close()
		return fmt.Errorf("%w: %w", dcs.ErrUnavailable, errClosed)
	}
	return nil
}

// ID implements dcs.Session.
func (n *Session) ID() string { return sessionID(n.identity.ID) }

// Opened implements dcs.Session.
func (n *Session) Opened() dcs.Confirmation { return n.opened }

// Slack implements dcs.Session: Sent already counts from what the ensemble's
// leader certainly heard.
func (n *Session) Slack() time.Duration { return 0 }

// Renew implements dcs.Session. See the package comment for what Sent is; when
// the newest proof is old, Renew takes one tick longer than a round trip.
func (n *Session) Renew(ctx context.Context) (dcs.Confirmation, error) {
	ctx, cancel := n.store.bound(ctx)
	defer cancel()
	tick := n.client.cfg.TickTime
	for {
		sent, c, err := n.ask(ctx)
		if err != nil {
			return dcs.Confirmation{}, fmt.Errorf("renew session %s: %w", n.ID(), err)
		}
		// Renewed often enough, each request proves the one before.
		if sent.Sub(c.Sent) < 2*tick || !affords(ctx, tick+tick/2) {
			return c, nil
		}
		pause(ctx, tick) // from the answer on, not from the question
	}
}

// ask has a transaction acknowledged by a quorum.
func (n *Session) ask(ctx context.Context) (sent boot.Instant, c dcs.Confirmation, err error) {
	err = n.client.read(ctx, func(ctx context.Context, l *link) error {
		sent = n.store.clk.Now()
		if err := l.prove(ctx, n.store.client.cfg.Prefix); err != nil {
			return err
		}
		c = dcs.Confirmation{Sent: l.confirm(sent, n.store.clk.Now(), n.client.cfg.TickTime), Granted: l.wire.granted}
		return nil
	})
	return sent, c, gone(err)
}

// affords reports whether the context leaves that much time.
func affords(ctx context.Context, d time.Duration) bool {
	end, limited := ctx.Deadline()
	return !limited || time.Until(end) > d
}

// gone recognises a refusal because the session has expired.
func gone(err error) error {
	if errors.Is(err, zk.ErrSessionExpired) && !errors.Is(err, dcs.ErrSessionGone) {
		return fmt.Errorf("%w: %s", dcs.ErrSessionGone, zk.ErrSessionExpired)
	}
	return err
}

// write makes one change through the session's connection.
func (n *Session) write(ctx context.Context, call func(context.Context, owned) error) error {
	ctx, cancel := n.store.bound(ctx)
	defer cancel()
	n.writes.Lock()
	defer n.writes.Unlock()
	return gone(n.client.write(ctx, func(ctx context.Context, l *link) error {
		return call(ctx, owned{link: l, acl: n.store.acl, owner: n.identity.ID})
	}))
}

// Put implements dcs.Session.
func (n *Session) Put(ctx context.Context, key, value string, c dcs.Condition) (v cluster.Version, err error) {
	err = n.write(ctx, func(ctx context.Context, o owned) error {
		v, err = o.put(ctx, n.store.path(key), value, c)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("put %s in session %s: %w", key, n.ID(), err)
	}
	return v, nil
}

// Delete implements dcs.Session. A node cannot be removed on condition of its
// owner, and versions begin again at 0 with each life of a node. It is still
// safe to look first and remove then: the removal is refused once this session
// has ended, and while it lives its nodes vanish only by this session's own
// writes, which are made one at a time, or because somebody removes another's
// lock by name, which no program of this contract does.
func (n *Session) Delete(ctx context.Context, key string) error {
	path := n.store.path(key)
	err := n.write(ctx, func(ctx context.Context, o owned) error {
		if err := o.link.prove(ctx, path); err != nil {
			return notSent{err}
		}
		stat, err := o.stat(ctx, path)
		if err != nil {
			return notSent{err}
		}
		if stat == nil || stat.EphemeralOwner != o.owner {
			return dcs.ErrConflict
		}
		return o.remove(ctx, path, stat.Version)
	})
	if err != nil {
		return fmt.Errorf("delete %s of session %s: %w", key, n.ID(), err)
	}
	return nil
}

// End implements dcs.Session: it closes the session, and then presents it once
// more to see it refused.
func (n *Session) End(ctx context.Context) error {
	ctx, cancel := n.store.bound(ctx)
	defer cancel()
	for {
		l, err := n.client.get(ctx)
		if errors.Is(err, dcs.ErrSessionGone) {
			n.forget()
			return nil
		}
		if err != nil {
			return fmt.Errorf("end session %s: %w", n.ID(), classify(err, true))
		}
		l.wire.allowClose()
		closed := make(chan struct{})
		go func() { l.conn.Close(); close(closed) }()
		select {
		case <-closed:
		case <-ctx.Done():
		}
		l.kill()
	}
}

func (n *Session) forget() {
	n.client.close()
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	delete(n.store.sessions, n)
}
