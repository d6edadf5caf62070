package etcd

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/matriarch-ha/matriarch/dcs"
)

// overBinding is dcs.Handle.Store of a session that ended because the store was
// replaced or restored: no store fits it.
const overBinding = "over"

// Handle implements dcs.Session. etcd asks for no secret: whoever may log in and
// knows the id of a lease can end it. The binding is what is known of the store
// now, by which a copy, or the store restored from an older state, is told from
// it.
func (n *Session) Handle() dcs.Handle {
	h := dcs.Handle{ID: n.ID(), Granted: n.opened.Granted, Store: overBinding}
	if now := n.store.pool.store.now(); now.generation == n.generation {
		h.Store = now.binding()
	}
	return h
}

// binding says cluster, raft term and revision in hexadecimal.
func (m mark) binding() string {
	return fmt.Sprintf("%x.%x.%x", m.cluster, m.term, m.revision)
}

// parseBinding reads what binding wrote.
func parseBinding(s string) (m mark, err error) {
	fields := strings.Split(s, ".")
	if len(fields) != 3 {
		return m, fmt.Errorf("%w: %q is not where etcd keeps a session", dcs.ErrRefused, s)
	}
	var n [3]uint64
	for i, f := range fields {
		// Base 16 with 63 bits where a revision must fit.
		if n[i], err = strconv.ParseUint(f, 16, 64); err != nil || n[i] == 0 || i == 2 && int64(n[i]) < 0 {
			return m, fmt.Errorf("%w: %q is not where etcd keeps a session", dcs.ErrRefused, s)
		}
	}
	return mark{cluster: n[0], term: n[1], revision: int64(n[2])}, nil
}

// Resume implements dcs.Store: one read tells which store answers, a keep-alive
// whether the lease lives in it.
func (s *Store) Resume(ctx context.Context, h dcs.Handle) (dcs.Session, error) {
	n, err := s.resume(ctx, h)
	if err != nil {
		return nil, fmt.Errorf("resume session %s: %w", h.ID, err)
	}
	return n, nil
}

func (s *Store) resume(ctx context.Context, h dcs.Handle) (*Session, error) {
	lease, err := strconv.ParseUint(h.ID, 16, 64)
	if err != nil || int64(lease) <= 0 || len(h.Secret) > 0 {
		return nil, fmt.Errorf("%w: %q with a secret of %d bytes is no lease of etcd", dcs.ErrRefused, h.ID, len(h.Secret))
	}
	if h.Store == overBinding {
		return nil, fmt.Errorf("%w: its store was replaced or restored while it was held", dcs.ErrSessionGone)
	}
	known, err := parseBinding(h.Store)
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	n := &Session{store: s, lease: int64(lease)}
	if n.generation, err = s.is(ctx, known); err != nil {
		return nil, err
	}
	if n.opened, err = n.Renew(ctx); err != nil {
		return nil, err
	}
	return n, nil
}

// is finds out whether the store that answers now is the one that was known to
// have come to the mark, and returns its generation here. The handle proves
// nothing by itself: what it says is held against an answer, and is never taken
// for what this process knows.
func (s *Store) is(ctx context.Context, known mark) (generation int, err error) {
	type answer struct {
		header *pb.ResponseHeader
		at     mark
	}
	a, err := hedge(ctx, s.pool, func(ctx context.Context, e *endpoint) (answer, error) {
		resp, at, err := s.readAt(ctx, e, s.barrier())
		if err != nil {
			return answer{}, err
		}
		return answer{resp.Header, at}, nil
	})
	if err != nil {
		return 0, err
	}
	got := a.header
	if got.GetClusterId() != known.cluster || got.GetRaftTerm() < known.term || got.GetRevision() < known.revision {
		return 0, fmt.Errorf("%w: it was opened in another store: cluster %x at raft term %d and revision %d answers, where it was cluster %x, term %d, revision %d",
			dcs.ErrSessionGone, got.GetClusterId(), got.GetRaftTerm(), got.GetRevision(), known.cluster, known.term, known.revision)
	}
	return a.at.generation, nil
}
