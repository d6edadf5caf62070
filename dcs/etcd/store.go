package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

var _ dcs.Store = (*Store)(nil)

// Store implements dcs.Store.
type Store struct {
	pool    *pool
	prefix  string // with a slash at the end
	timeout time.Duration
}

// Open connects to etcd and logs in. It does not wait for a quorum: when no
// server can be reached it still returns a store, whose calls then fail as
// unavailable. Only a wrong configuration and a refused login are errors.
func Open(ctx context.Context, cfg Config, clk clock.Clock) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Store{pool: &pool{clk: clk, log: log, store: identity{log: log}, belongs: cfg.Belongs}, prefix: cfg.Prefix + "/", timeout: cfg.RequestTimeout}
	if s.timeout <= 0 {
		s.timeout = DefaultRequestTimeout
	}
	for _, ep := range cfg.Endpoints {
		e, err := dial(ep, cfg)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.pool.endpoints = append(s.pool.endpoints, e)
	}
	if cfg.Username == "" {
		return s, nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := hedge(ctx, s.pool, func(ctx context.Context, e *endpoint) (struct{}, error) { return struct{}{}, e.login(ctx, "") })
	if errors.Is(err, dcs.ErrRefused) {
		return nil, errors.Join(fmt.Errorf("etcd: user %s: %w: check username and password", cfg.Username, err), s.Close())
	}
	return s, nil
}

// bound gives a call its deadline.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// Load implements dcs.Store.
func (s *Store) Load(ctx context.Context) (dcs.Snapshot, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	snap, err := hedge(ctx, s.pool, func(ctx context.Context, e *endpoint) (dcs.Snapshot, error) {
		resp, at, err := s.readAt(ctx, e, s.all())
		if err != nil {
			return dcs.Snapshot{}, err
		}
		return s.snapshot(resp, at), nil
	})
	if err != nil {
		return dcs.Snapshot{}, fmt.Errorf("load: %w", err)
	}
	return snap, nil
}

// all asks for every key of the cluster.
func (s *Store) all() *pb.RangeRequest {
	return &pb.RangeRequest{Key: []byte(s.prefix), RangeEnd: prefixEnd(s.prefix)}
}

// barrier asks for nothing much: what counts is that a quorum answers.
func (s *Store) barrier() *pb.RangeRequest {
	return &pb.RangeRequest{Key: []byte(s.prefix + "leader"), CountOnly: true}
}

// readAt makes one linearizable read at one server, and says which store it was
// of.
func (s *Store) readAt(ctx context.Context, e *endpoint, req *pb.RangeRequest) (*pb.RangeResponse, mark, error) {
	var resp *pb.RangeResponse
	var at mark
	err := e.do(ctx, func(ctx context.Context) (err error) {
		at = s.pool.store.now()
		resp, err = e.kv.Range(ctx, req)
		return err
	})
	if err != nil {
		return nil, at, classify(err, false)
	}
	err = s.pool.accept(e, resp.Header, at)
	at.cluster = resp.Header.GetClusterId() // the first answer ever tells it
	return resp, at, err
}

func (s *Store) snapshot(resp *pb.RangeResponse, at mark) dcs.Snapshot {
	snap := dcs.Snapshot{StoreID: at.id(), Revision: resp.Header.Revision}
	for _, kv := range resp.Kvs { // in the order of their keys
		snap.Keys = append(snap.Keys, s.kv(kv))
	}
	return snap
}

func (s *Store) kv(kv *mvccpb.KeyValue) dcs.KV {
	return dcs.KV{Key: string(kv.Key[len(s.prefix):]), Value: string(kv.Value),
		Version: version(kv.ModRevision), Revision: kv.ModRevision, Session: sessionID(kv.Lease)}
}

// Put implements dcs.Store.
func (s *Store) Put(ctx context.Context, key, value string, c dcs.Condition) (cluster.Version, error) {
	return s.put(ctx, 0, key, value, c)
}

func (s *Store) put(ctx context.Context, lease int64, key, value string, c dcs.Condition) (cluster.Version, error) {
	compare, err := s.compare(key, c)
	if err != nil {
		return "", fmt.Errorf("put %s: %w", key, err)
	}
	op := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{
		Key: []byte(s.prefix + key), Value: []byte(value), Lease: lease}}}
	resp, err := s.txn(ctx, compare, op)
	if err != nil {
		return "", fmt.Errorf("put %s: %w", key, err)
	}
	return version(resp.Header.Revision), nil
}

// Delete implements dcs.Store.
func (s *Store) Delete(ctx context.Context, key string, c dcs.Condition) error {
	compare, err := s.compare(key, c)
	if err == nil {
		_, err = s.txn(ctx, compare, s.deletion(key, nil))
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// DeleteAll implements dcs.Store.
func (s *Store) DeleteAll(ctx context.Context) error {
	if _, err := s.txn(ctx, nil, s.deletion("", prefixEnd(s.prefix))); err != nil {
		return fmt.Errorf("delete everything below %s: %w", s.prefix, err)
	}
	return nil
}

func (s *Store) deletion(key string, end []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
		RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte(s.prefix + key), RangeEnd: end}}}
}

// compare says a condition in etcd's terms. A revision belongs to one write for
// ever, so a key that was removed and written again never fits an old version.
func (s *Store) compare(key string, c dcs.Condition) ([]*pb.Compare, error) {
	cmp := &pb.Compare{Key: []byte(s.prefix + key), Result: pb.Compare_EQUAL}
	if c.IsAbsent() {
		cmp.Target, cmp.TargetUnion = pb.Compare_CREATE, &pb.Compare_CreateRevision{CreateRevision: 0}
		return []*pb.Compare{cmp}, nil
	}
	v, ok := c.Version()
	if !ok {
		return nil, nil
	}
	rev, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || rev <= 0 {
		return nil, fmt.Errorf("%w: version %q is none of this store's", dcs.ErrConflict, v)
	}
	cmp.Target, cmp.TargetUnion = pb.Compare_MOD, &pb.Compare_ModRevision{ModRevision: rev}
	return []*pb.Compare{cmp}, nil
}

// txn carries out op if everything in compare holds; ErrConflict if not.
func (s *Store) txn(ctx context.Context, compare []*pb.Compare, op *pb.RequestOp) (*pb.TxnResponse, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	req := &pb.TxnRequest{Compare: compare, Success: []*pb.RequestOp{op}}
	resp, err := once(ctx, s.pool, s.probe, func(ctx context.Context, e *endpoint) (resp *pb.TxnResponse, err error) {
		var at mark
		err = e.do(ctx, func(ctx context.Context) error { at = s.pool.store.now(); resp, err = e.kv.Txn(ctx, req); return err })
		if err != nil {
			return nil, err
		}
		if changes(resp) {
			at.revision++
		}
		return resp, wroteElsewhere(s.pool.accept(e, resp.Header, at))
	})
	if err != nil {
		return nil, err
	}
	if !resp.Succeeded {
		return nil, dcs.ErrConflict
	}
	return resp, nil
}

// changes reports whether the transaction made a revision of its own.
func changes(resp *pb.TxnResponse) bool {
	for _, r := range resp.Responses {
		if r.GetResponsePut() != nil || r.GetResponseDeleteRange().GetDeleted() > 0 {
			return true
		}
	}
	return false
}

// probe finds out whether a server is alive and in touch with a quorum.
func (s *Store) probe(ctx context.Context, e *endpoint) error {
	_, _, err := s.readAt(ctx, e, s.barrier())
	return err
}

// Close implements dcs.Store. No lease is revoked.
func (s *Store) Close() error {
	var errs []error
	for _, e := range s.pool.endpoints {
		errs = append(errs, e.conn.Close())
	}
	return errors.Join(errs...)
}

func version(revision int64) cluster.Version {
	return cluster.Version(strconv.FormatInt(revision, 10))
}

// sessionID is the text of a lease id, as etcd's own tools print it.
func sessionID(lease int64) string {
	if lease == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(lease), 16)
}

// prefixEnd is the first key after all that begin with prefix, which ends in a
// slash.
func prefixEnd(prefix string) []byte {
	end := []byte(prefix)
	end[len(end)-1]++
	return end
}
