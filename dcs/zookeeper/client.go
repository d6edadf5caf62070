package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

const (
	// aliveFor is how long ago a server must have answered to be sent a write.
	aliveFor = time.Second
	// connectTimeout bounds one attempt to connect to one server.
	connectTimeout = time.Second
)

var errClosed = errors.New("the store was closed")

// client keeps one link at a time, and makes a new one where it is needed.
type client struct {
	cfg     Config
	clk     clock.Clock
	timeout time.Duration // of the session, as asked for
	quiet   bool

	turn    chan struct{} // holds one token: who has it may use the fields below
	current *link
	next    int // index of the server to try first
	inherit *Identity
	expired bool
	closed  bool
}

func newClient(cfg Config, clk clock.Clock, timeout time.Duration, quiet bool) *client {
	c := &client{cfg: cfg, clk: clk, timeout: timeout, quiet: quiet, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

// lock waits for the turn, no longer than the context allows.
func (c *client) lock(ctx context.Context) error {
	select {
	case <-c.turn:
		return nil
	case <-ctx.Done():
		return notSent{ctx.Err()}
	}
}

func (c *client) unlock() { c.turn <- struct{}{} }

// get returns a link that stands, connecting to one server after the other.
func (c *client) get(ctx context.Context) (*link, error) {
	if err := ctx.Err(); err != nil {
		return nil, notSent{err}
	}
	if err := c.lock(ctx); err != nil {
		return nil, err
	}
	defer c.unlock()
	if c.expired {
		return nil, fmt.Errorf("%w: %w", dcs.ErrSessionGone, errExpired)
	}
	if c.closed {
		return nil, notSent{errClosed}
	}
	if c.current != nil && c.current.alive() {
		return c.current, nil
	}
	var errs []error
	for range c.cfg.Hosts {
		addr := c.cfg.Hosts[c.next%len(c.cfg.Hosts)]
		l, err := c.connect(ctx, addr)
		if err == nil {
			c.current = l
			return l, nil
		}
		if errors.Is(err, errExpired) && c.inherit != nil {
			c.expired = true
			return nil, fmt.Errorf("%w: %w", dcs.ErrSessionGone, err)
		}
		if errors.Is(err, zk.ErrAuthFailed) {
			return nil, err
		}
		errs = append(errs, err)
		c.next++
		if ctx.Err() != nil {
			break
		}
	}
	return nil, notSent{errors.Join(errs...)}
}

func (c *client) connect(ctx context.Context, addr string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	l, err := open(ctx, addr, c.cfg, c.clk, c.timeout, c.inherit, c.quiet)
	if err != nil {
		return nil, err
	}
	if c.quiet && c.inherit == nil {
		c.inherit = &l.wire.identity
	}
	return l, nil
}

// drop gives up a link that did not answer; the next call tries another server.
func (c *client) drop(ctx context.Context, l *link) {
	l.kill()
	if c.lock(ctx) != nil {
		return
	}
	defer c.unlock()
	if c.current == l {
		c.current = nil
		c.next++
	}
}

// read makes a harmless call, at another server when one does not answer.
func (c *client) read(ctx context.Context, call func(context.Context, *link) error) error {
	each := max(time.Second, c.cfg.RequestTimeout/time.Duration(len(c.cfg.Hosts)+1))
	var errs []error
	for range len(c.cfg.Hosts) + 1 {
		l, err := c.get(ctx)
		if err != nil {
			return classify(errors.Join(append(errs, err)...), false)
		}
		attempt, cancel := context.WithTimeout(ctx, each)
		err = call(attempt, l)
		cancel()
		if err == nil || answer(err) || classified(err) {
			return classify(err, false)
		}
		c.drop(ctx, l)
		errs = append(errs, err)
	}
	return classify(errors.Join(errs...), false)
}

// write makes a call that changes something, once, at a server that answered a
// moment ago.
func (c *client) write(ctx context.Context, call func(context.Context, *link) error) error {
	l, err := c.get(ctx)
	if err != nil {
		return classify(err, false)
	}
	if !l.fresh() {
		if err := c.read(ctx, func(ctx context.Context, l *link) error { return l.sync(ctx, c.cfg.Prefix) }); err != nil {
			return err
		}
		if l, err = c.get(ctx); err != nil {
			return classify(err, false)
		}
	}
	err = call(ctx, l)
	if err != nil && !answer(err) && !classified(err) {
		c.drop(ctx, l)
	}
	return classify(err, true)
}

// sync waits until the server has seen everything that its leader had confirmed
// before. That is all that a conditional write on the same connection needs,
// since the write itself asks the quorum; who relies on the reading alone must
// prove.
func (l *link) sync(ctx context.Context, path string) error {
	_, err := do(ctx, l, func(c *zk.Conn) (string, error) { return c.Sync(path) })
	return err
}

// prove waits until a quorum of the ensemble has acknowledged a transaction that
// was asked for on this connection. It checks a node, which changes nothing and
// wakes no watch, and yet is proposed like every transaction, also when it fails.
// A sync is not: a leader that was deposed and does not know it answers that by
// itself.
func (l *link) prove(ctx context.Context, path string) error {
	_, err := do(ctx, l, func(c *zk.Conn) ([]zk.MultiResponse, error) {
		return c.Multi(&zk.CheckVersionRequest{Path: path, Version: -1})
	})
	if err == zk.ErrNoNode {
		return nil
	}
	return err
}

// close ends the link, not the session.
func (c *client) close() {
	<-c.turn
	defer c.unlock()
	c.closed = true
	if c.current != nil {
		c.current.kill()
	}
}
