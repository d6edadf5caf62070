package memory

import (
	"context"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
)

// Session implements dcs.Session.
type Session struct {
	store  *Store
	id     string
	opened dcs.Confirmation
}

// ID implements dcs.Session.
func (n *Session) ID() string { return n.id }

// Handle implements dcs.Session.
func (n *Session) Handle() dcs.Handle {
	return dcs.Handle{ID: n.id, Secret: secretOf(n.id), Granted: n.opened.Granted, Store: n.store.server.binding()}
}

// Opened implements dcs.Session.
func (n *Session) Opened() dcs.Confirmation { return n.opened }

// Slack implements dcs.Session: this store never ends a session early.
func (n *Session) Slack() time.Duration { return 0 }

// Renew implements dcs.Session.
func (n *Session) Renew(ctx context.Context) (dcs.Confirmation, error) {
	got := dcs.Confirmation{Sent: n.store.server.clk.Now()}
	err := n.store.call(ctx, Call{Op: OpRenew}, func(c *Core) (err error) {
		got.Granted, err = c.Renew(n.id)
		return err
	})
	if err != nil {
		return dcs.Confirmation{}, err
	}
	return got, nil
}

// Put implements dcs.Session.
func (n *Session) Put(ctx context.Context, key, value string, c dcs.Condition) (cluster.Version, error) {
	return n.store.put(ctx, n.id, key, value, c)
}

// Delete implements dcs.Session.
func (n *Session) Delete(ctx context.Context, key string) error {
	return n.store.call(ctx, Call{Op: OpDelete, Key: key}, func(c *Core) error { return c.DeleteOwned(n.id, key) })
}

// End implements dcs.Session. Ending a session that is over already succeeds.
func (n *Session) End(ctx context.Context) error {
	return n.store.call(ctx, Call{Op: OpEnd}, func(c *Core) error { c.EndSession(n.id); return nil })
}
