package zookeeper

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/matriarch-ha/matriarch/dcs"
)

// Handle implements dcs.Session: the id and the password of the session, as the
// connect reply told them.
func (n *Session) Handle() dcs.Handle {
	return dcs.Handle{ID: n.ID(), Secret: append([]byte(nil), n.identity.Password...), Granted: n.opened.Granted, Store: binding(n.identity)}
}

// bindingPrefix begins dcs.Handle.Store.
const bindingPrefix = "zookeeper-"

// binding ties id and password together. A server answers a wrong password like
// an ended session, so one that was damaged on its way must be noticed here. It
// does not name the ensemble: another one knows no such session.
func binding(i Identity) string {
	sum := sha256.Sum256(append(strconv.AppendInt(nil, i.ID, 16), i.Password...))
	return bindingPrefix + hex.EncodeToString(sum[:8])
}

// parseHandle returns the identity in a handle.
func parseHandle(h dcs.Handle) (Identity, error) {
	id, err := strconv.ParseUint(h.ID, 16, 64)
	if err != nil || id == 0 || len(h.Secret) != passwordSize || h.Granted < time.Millisecond {
		return Identity{}, fmt.Errorf("%w: %q of %v with a secret of %d bytes is no session of ZooKeeper", dcs.ErrRefused, h.ID, h.Granted, len(h.Secret))
	}
	i := Identity{ID: int64(id), Password: append([]byte(nil), h.Secret...)}
	if h.Store != binding(i) {
		return Identity{}, fmt.Errorf("%w: the handle was damaged, or is of another kind of store: its id, secret and binding do not fit", dcs.ErrRefused)
	}
	return i, nil
}

// Resume implements dcs.Store: it presents the session on a new connection, to
// which the servers move it, and has a transaction acknowledged there. It asks
// for the length that the session has: a connect request sets it anew.
func (s *Store) Resume(ctx context.Context, h dcs.Handle) (dcs.Session, error) {
	n, err := s.resume(ctx, h)
	if err != nil {
		return nil, fmt.Errorf("resume session %s: %w", h.ID, err)
	}
	return n, nil
}

func (s *Store) resume(ctx context.Context, h dcs.Handle) (*Session, error) {
	i, err := parseHandle(h)
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	n := &Session{store: s, client: newClient(s.client.cfg, s.clk, h.Granted, true), identity: i}
	n.client.inherit = &i
	if _, n.opened, err = n.ask(ctx); err != nil {
		n.client.close()
		return nil, err
	}
	if err := s.keep(n); err != nil {
		return nil, err
	}
	return n, nil
}
