package etcd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/metadata"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/internal/feed"
)

const (
	// askEvery is how often a watched server is asked for a sign of life, and
	// silentFor how long it may say nothing at all: a hung server keeps its
	// connection and would be trusted for ever.
	askEvery  = 500 * time.Millisecond
	silentFor = 2 * time.Second

	retryFirst, retryMost = 50 * time.Millisecond, time.Second
)

// Watch implements dcs.Store. It loads, follows the changes from that revision
// on, and begins again whenever the following breaks off.
func (s *Store) Watch(ctx context.Context) <-chan dcs.Update {
	f, out := feed.New()
	go func() {
		defer f.Close()
		s.watch(ctx, f)
	}()
	return out
}

func (s *Store) watch(ctx context.Context, f *feed.Feed) {
	delay := retryFirst
	for ctx.Err() == nil {
		snap, err := s.Load(ctx)
		if err == nil {
			f.Send(snap)
			begun := s.pool.clk.Now()
			_ = s.follow(ctx, snap, f)
			if s.pool.clk.Now().Sub(begun) > silentFor {
				delay = retryFirst
			}
		} else if ctx.Err() == nil {
			f.Interrupt(fmt.Errorf("watch: %w", err))
		}
		pause(ctx, delay)
		delay = min(2*delay, retryMost)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// follow sends a snapshot for every change after snap until the stream breaks.
func (s *Store) follow(ctx context.Context, snap dcs.Snapshot, f *feed.Feed) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := s.pool.order()[0]
	stream, err := s.subscribe(ctx, e, snap.Revision+1)
	if err != nil {
		return err
	}
	responses := make(chan *pb.WatchResponse)
	done := make(chan error, 1)
	go func() { done <- receive(ctx, stream, responses) }()
	defer func() { cancel(); <-done }()

	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	heard := s.pool.clk.Now()
	for {
		select {
		case err := <-done:
			done <- err
			return err
		case <-ask.C:
			if s.pool.clk.Now().Sub(heard) > silentFor {
				s.pool.distrust(e)
				return fmt.Errorf("%w: %s has been silent for %v", dcs.ErrUnavailable, e.addr, silentFor)
			}
			// A stream that cannot take the question is ended by receive.
			_ = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
		case resp := <-responses:
			if resp.Header.GetRevision() >= snap.Revision {
				// A server that stays behind what was read is as good as silent: it
				// may be one of another store, where no change ever comes.
				heard = s.pool.clk.Now()
			}
			changed, err := s.apply(e, &snap, resp)
			if err != nil {
				return err
			}
			if changed {
				f.Send(cloneSnapshot(snap))
			}
		}
	}
}

// subscribe opens the stream. A server without a leader must end it.
func (s *Store) subscribe(ctx context.Context, e *endpoint, from int64) (pb.Watch_WatchClient, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
	if err := e.login(ctx, ""); err != nil {
		return nil, err
	}
	stream, err := e.watch.Watch(ctx)
	if err != nil {
		return nil, err
	}
	return stream, stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte(s.prefix), RangeEnd: prefixEnd(s.prefix), StartRevision: from, ProgressNotify: true}}})
}

// receive passes responses on until the stream or the context ends.
func receive(ctx context.Context, stream pb.Watch_WatchClient, out chan<- *pb.WatchResponse) error {
	for {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		select {
		case out <- resp:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// apply brings snap up to date with a response, and says whether a key changed.
func (s *Store) apply(e *endpoint, snap *dcs.Snapshot, resp *pb.WatchResponse) (changed bool, err error) {
	if resp.Canceled {
		if resp.CancelReason != "" && strings.Contains(resp.CancelReason, "auth") {
			e.setToken("") // the login ran out: the next attempt makes a new one
		}
		return false, fmt.Errorf("%w: watch ended by %s: %s (compacted at %d)", dcs.ErrUnavailable, e.addr, resp.CancelReason, resp.CompactRevision)
	}
	if err := s.pool.store.heard(e.addr, resp.Header, snap.StoreID); err != nil {
		return false, err
	}
	e.answeredAt(s.pool.clk.Now())
	for _, ev := range resp.Events {
		if ev.Kv.ModRevision <= snap.Revision {
			continue
		}
		s.applyEvent(snap, ev)
		changed = true
	}
	if changed {
		snap.Revision = max(snap.Revision, resp.Events[len(resp.Events)-1].Kv.ModRevision)
	}
	return changed, nil
}

func (s *Store) applyEvent(snap *dcs.Snapshot, ev *mvccpb.Event) {
	kv := s.kv(ev.Kv)
	i, there := slices.BinarySearchFunc(snap.Keys, kv.Key, func(k dcs.KV, key string) int { return strings.Compare(k.Key, key) })
	switch {
	case ev.Type == mvccpb.Event_DELETE && there:
		snap.Keys = slices.Delete(snap.Keys, i, i+1)
	case ev.Type == mvccpb.Event_DELETE:
	case there:
		snap.Keys[i] = kv
	default:
		snap.Keys = slices.Insert(snap.Keys, i, kv)
	}
}

// cloneSnapshot keeps the reader's copy apart from the one that changes on.
func cloneSnapshot(s dcs.Snapshot) dcs.Snapshot {
	s.Keys = slices.Clone(s.Keys)
	return s
}
