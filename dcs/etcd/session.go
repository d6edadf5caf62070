package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
)

// Session is a lease.
type Session struct {
	store  *Store
	lease  int64
	opened dcs.Confirmation
}

var _ dcs.Session = (*Session)(nil)

// Open implements dcs.Store: it asks for a lease of ttl, in whole seconds
// rounded up.
func (s *Store) Open(ctx context.Context, ttl time.Duration) (dcs.Session, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	req := &pb.LeaseGrantRequest{TTL: int64((ttl + time.Second - 1) / time.Second)}
	n, err := once(ctx, s.pool, s.probe, func(ctx context.Context, e *endpoint) (*Session, error) {
		var resp *pb.LeaseGrantResponse
		sent := s.pool.clk.Now()
		err := e.do(ctx, func(ctx context.Context) (err error) { resp, err = e.lease.LeaseGrant(ctx, req); return err })
		if err != nil {
			return nil, err
		}
		return &Session{store: s, lease: resp.ID, opened: dcs.Confirmation{Sent: sent, Granted: seconds(resp.TTL)}}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("open a session of %v: %w", ttl, err)
	}
	return n, nil
}

// ID implements dcs.Session.
func (n *Session) ID() string { return sessionID(n.lease) }

// Opened implements dcs.Session.
func (n *Session) Opened() dcs.Confirmation { return n.opened }

// Slack implements dcs.Session: etcd never ends a lease early.
func (n *Session) Slack() time.Duration { return 0 }

// Renew implements dcs.Session.
func (n *Session) Renew(ctx context.Context) (dcs.Confirmation, error) {
	ctx, cancel := n.store.bound(ctx)
	defer cancel()
	c, err := hedge(ctx, n.store.pool, n.renewAt)
	if err != nil {
		return dcs.Confirmation{}, fmt.Errorf("renew lease %s: %w", n.ID(), err)
	}
	return c, nil
}

// errTermChanged: the store changed its leader between a keep-alive and the
// read that was to prove it.
var errTermChanged = fmt.Errorf("%w: etcd changed its leader during the renewal", dcs.ErrUnavailable)

// renewAt renews through one server; see the package comment for why a
// keep-alive's own word is not enough.
func (n *Session) renewAt(ctx context.Context, e *endpoint) (dcs.Confirmation, error) {
	var gone, changed bool
	for {
		c, ttl, err := n.keepAlive(ctx, e)
		switch {
		case errors.Is(err, errTermChanged) && !changed:
			changed = true
		case err != nil:
			return dcs.Confirmation{}, err
		case ttl > 0:
			return c, nil
		case gone:
			return dcs.Confirmation{}, dcs.ErrSessionGone
		default:
			gone = true
		}
	}
}

// keepAlive sends one keep-alive and one linearizable read after its reply, and
// demands that both were answered in the same raft term.
func (n *Session) keepAlive(ctx context.Context, e *endpoint) (c dcs.Confirmation, ttl int64, err error) {
	var reply *pb.LeaseKeepAliveResponse
	c.Sent = n.store.pool.clk.Now()
	err = e.do(ctx, func(ctx context.Context) error {
		reply, err = keepAliveOnce(ctx, e.lease, n.lease)
		return err
	})
	if err != nil {
		return c, 0, classify(err, false)
	}
	proof, err := n.store.readAt(ctx, e, n.store.barrier())
	if err != nil {
		return c, 0, err
	}
	if proof.Header.RaftTerm != reply.Header.RaftTerm || proof.Header.ClusterId != reply.Header.ClusterId {
		return c, 0, errTermChanged
	}
	c.Granted = seconds(reply.TTL)
	return c, reply.TTL, nil
}

// keepAliveOnce makes one round trip on a stream of its own.
func keepAliveOnce(ctx context.Context, client pb.LeaseClient, lease int64) (*pb.LeaseKeepAliveResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.LeaseKeepAlive(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: lease}); err != nil {
		// Send only says that the stream ended; why, the stream says.
		_, err = stream.Recv()
		return nil, err
	}
	return stream.Recv()
}

// Put implements dcs.Session.
func (n *Session) Put(ctx context.Context, key, value string, c dcs.Condition) (cluster.Version, error) {
	return n.store.put(ctx, n.lease, key, value, c)
}

// Delete implements dcs.Session: an absent key has no lease, so it conflicts.
func (n *Session) Delete(ctx context.Context, key string) error {
	mine := &pb.Compare{Key: []byte(n.store.prefix + key), Result: pb.Compare_EQUAL,
		Target: pb.Compare_LEASE, TargetUnion: &pb.Compare_Lease{Lease: n.lease}}
	if _, err := n.store.txn(ctx, []*pb.Compare{mine}, n.store.deletion(key, nil)); err != nil {
		return fmt.Errorf("delete %s of lease %s: %w", key, n.ID(), err)
	}
	return nil
}

// End implements dcs.Session by revoking the lease. A lease that is over
// already is no error.
func (n *Session) End(ctx context.Context) error {
	ctx, cancel := n.store.bound(ctx)
	defer cancel()
	_, err := once(ctx, n.store.pool, n.store.probe, func(ctx context.Context, e *endpoint) (struct{}, error) {
		return struct{}{}, e.do(ctx, func(ctx context.Context) error {
			_, err := e.lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: n.lease})
			return err
		})
	})
	if err != nil && !errors.Is(err, dcs.ErrSessionGone) {
		return fmt.Errorf("end lease %s: %w", n.ID(), err)
	}
	return nil
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
