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

// Session is a lease in one store. When that store turns out to be another one,
// or to have gone back, the session is over, for good: a copy of the store knows
// the lease, too, and would go on confirming it.
type Session struct {
	store      *Store
	lease      int64
	generation int
	opened     dcs.Confirmation
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
		var at mark
		sent := s.pool.clk.Now()
		err := e.do(ctx, func(ctx context.Context) (err error) {
			at = s.pool.store.now()
			resp, err = e.lease.LeaseGrant(ctx, req)
			return err
		})
		if err == nil {
			err = wroteElsewhere(s.pool.accept(e, resp.Header, at))
		}
		if err != nil {
			return nil, err
		}
		return &Session{store: s, lease: resp.ID, generation: at.generation,
			opened: dcs.Confirmation{Sent: sent, Granted: seconds(resp.TTL)}}, nil
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
	if err = n.over(err); err != nil {
		return dcs.Confirmation{}, fmt.Errorf("renew lease %s: %w", n.ID(), err)
	}
	return c, nil
}

// over turns whatever a call came to into the session's end when the store is
// not the one any more in which the session was opened. The lease may live on in
// the former store for its length; nobody renews it.
func (n *Session) over(err error) error {
	if n.store.pool.store.now().generation == n.generation {
		return err
	}
	return fmt.Errorf("%w: lease %s belongs to the store as it was before it was replaced or restored", dcs.ErrSessionGone, n.ID())
}

// errUnproven: the keep-alive was answered by a server that was behind, or the
// store changed its leader between the keep-alive and the read that was to prove
// it.
var errUnproven = fmt.Errorf("%w: the keep-alive's answer was not current", dcs.ErrUnavailable)

// renewAt renews through one server; see the package comment for why a
// keep-alive's own word is not enough.
func (n *Session) renewAt(ctx context.Context, e *endpoint) (dcs.Confirmation, error) {
	var gone, again bool
	for {
		if err := n.over(nil); err != nil {
			return dcs.Confirmation{}, err
		}
		c, ttl, err := n.keepAlive(ctx, e)
		switch {
		case errors.Is(err, errUnproven) && !again:
			again = true // the read has brought the server up to date
		case err != nil:
			return dcs.Confirmation{}, n.over(err)
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
// demands that both come from one raft term of the session's store, and from no
// state before the one that was known.
func (n *Session) keepAlive(ctx context.Context, e *endpoint) (c dcs.Confirmation, ttl int64, err error) {
	var reply *pb.LeaseKeepAliveResponse
	var at mark
	c.Sent = n.store.pool.clk.Now()
	err = e.do(ctx, func(ctx context.Context) error {
		at = n.store.pool.store.now()
		reply, err = keepAliveOnce(ctx, e.lease, n.lease)
		return err
	})
	if err != nil {
		return c, 0, classify(err, false)
	}
	proof, read, err := n.store.readAt(ctx, e, n.store.barrier())
	if err != nil {
		return c, 0, err
	}
	h := reply.Header
	if at.generation != n.generation || read.generation != n.generation || h.GetClusterId() != proof.Header.GetClusterId() ||
		h.GetRaftTerm() != proof.Header.GetRaftTerm() || h.GetRevision() < at.revision || h.GetRevision() > proof.Header.GetRevision() {
		return c, 0, errUnproven
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
	if err := n.over(nil); err != nil {
		return "", fmt.Errorf("put %s: %w", key, err)
	}
	v, err := n.store.put(ctx, n.lease, key, value, c)
	if err = n.over(err); err != nil {
		return "", err
	}
	return v, nil
}

// Delete implements dcs.Session: an absent key has no lease, so it conflicts.
func (n *Session) Delete(ctx context.Context, key string) error {
	err := n.over(nil)
	if err == nil {
		mine := &pb.Compare{Key: []byte(n.store.prefix + key), Result: pb.Compare_EQUAL,
			Target: pb.Compare_LEASE, TargetUnion: &pb.Compare_Lease{Lease: n.lease}}
		_, err = n.store.txn(ctx, []*pb.Compare{mine}, n.store.deletion(key, nil))
	}
	if err = n.over(err); err != nil {
		return fmt.Errorf("delete %s of lease %s: %w", key, n.ID(), err)
	}
	return nil
}

// End implements dcs.Session by revoking the lease. A lease that is over
// already is no error. It does not matter which store answers: nobody else ever
// has a lease of this id.
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
