package etcd

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// round is what a scripted server answers to one keep-alive and the read after
// it; reads without a keep-alive before them take the last round's answer.
type round struct {
	term, ttl int64
	readTerm  int64
	readFails bool
	// rev and readRev are the revisions, 5 where nothing is said; cluster is 7.
	rev, readRev int64
	cluster      uint64
}

func (r round) header(term, rev int64) *pb.ResponseHeader {
	h := &pb.ResponseHeader{ClusterId: r.cluster, RaftTerm: uint64(term), Revision: rev}
	if h.ClusterId == 0 {
		h.ClusterId = 7
	}
	if h.Revision == 0 {
		h.Revision = 5
	}
	return h
}

// scripted is a server that says what a test wants; used by one call at a time.
type scripted struct {
	pb.UnimplementedKVServer
	pb.UnimplementedLeaseServer
	rounds []round
	now    round
	did    []*pb.ResponseOp // what a write's answer says that it did
	asked  int
	drops  int // of the writes, before one is taken in
}

func (s *scripted) Range(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) {
	if s.now.readFails {
		return nil, status.Error(codes.Unavailable, "etcdserver: request timed out")
	}
	return &pb.RangeResponse{Header: s.now.header(s.now.readTerm, s.now.readRev)}, nil
}

func (s *scripted) LeaseGrant(context.Context, *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	return &pb.LeaseGrantResponse{Header: s.now.header(s.now.readTerm, s.now.readRev), ID: 9, TTL: 10}, nil
}

func (s *scripted) Txn(context.Context, *pb.TxnRequest) (*pb.TxnResponse, error) {
	if s.drops > 0 {
		s.drops--
		return nil, status.Error(codes.Unknown, "raft proposal dropped")
	}
	return &pb.TxnResponse{Header: s.now.header(s.now.readTerm, s.now.readRev), Succeeded: true, Responses: s.did}, nil
}

func (s *scripted) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	s.now, s.rounds = s.rounds[0], s.rounds[1:]
	s.asked++
	return stream.Send(&pb.LeaseKeepAliveResponse{ID: req.ID, TTL: s.now.ttl,
		Header: s.now.header(s.now.term, s.now.rev)})
}

// serve runs the scripted server until the test ends.
func (s *scripted) serve(t *testing.T) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	pb.RegisterKVServer(g, s)
	pb.RegisterLeaseServer(g, s)
	go g.Serve(l)
	t.Cleanup(g.Stop)
	return l.Addr().String()
}

// TestKeepAliveNeedsProof: what a keep-alive says counts only after a read in
// the same raft term.
func TestKeepAliveNeedsProof(t *testing.T) {
	for _, c := range []struct {
		name   string
		rounds []round
		want   error
	}{
		{"same term", []round{{term: 5, ttl: 10, readTerm: 5}}, nil},
		{"a former leader answered, the second one counts", []round{{term: 5, ttl: 10, readTerm: 6}, {term: 6, ttl: 10, readTerm: 6}}, nil},
		{"leaders change all the time", []round{{term: 5, ttl: 10, readTerm: 6}, {term: 6, ttl: 10, readTerm: 7}}, dcs.ErrUnavailable},
		{"no quorum behind the answer", []round{{term: 5, ttl: 10, readTerm: 0, readFails: true}}, dcs.ErrUnavailable},
		{"a new leader did not know the lease yet", []round{{term: 5, ttl: 0, readTerm: 5}, {term: 5, ttl: 10, readTerm: 5}}, nil},
		{"the lease is gone", []round{{term: 5, ttl: 0, readTerm: 5}, {term: 5, ttl: 0, readTerm: 5}}, dcs.ErrSessionGone},
		{"a former leader says that it is gone", []round{{term: 5, ttl: 0, readTerm: 6}, {term: 6, ttl: 10, readTerm: 6}}, nil},
		{"another store, at a lower term", []round{{term: 4, ttl: 10, readTerm: 4}}, dcs.ErrSessionGone},
		{"another store, at a lower revision", []round{{term: 5, ttl: 10, readTerm: 5, readRev: 4}}, dcs.ErrSessionGone},
		{"another store, of another cluster id", []round{{term: 5, ttl: 10, readTerm: 5, cluster: 8}}, dcs.ErrSessionGone},
		{"a server that lagged behind, the second one counts", []round{{term: 5, ttl: 10, readTerm: 5, rev: 4}, {term: 5, ttl: 10, readTerm: 5}}, nil},
		{"a server that lags behind", []round{{term: 5, ttl: 10, readTerm: 5, rev: 4}, {term: 5, ttl: 10, readTerm: 5, rev: 4}}, dcs.ErrUnavailable},
		{"a proof from before the answer", []round{{term: 5, ttl: 10, readTerm: 5, rev: 7}, {term: 5, ttl: 10, readTerm: 5, rev: 7}}, dcs.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := &scripted{rounds: c.rounds, now: round{readTerm: 5}}
			st := open(t, "/x", server.serve(t))
			defer st.Close()
			n, err := st.Open(t.Context(), 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			before := clock.Real{}.Now()
			got, err := n.Renew(t.Context())
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && (got.Sent < before || got.Granted != 10*time.Second) {
				t.Errorf("confirmation %+v", got)
			}
			if server.asked != len(c.rounds) {
				t.Errorf("%d keep-alives, want %d", server.asked, len(c.rounds))
			}
		})
	}
}

// TestWriteIsAnsweredByAnotherStore: a write whose answer shows that it went to
// another store is no success, and the session is over for good, also when the
// former store answers again.
func TestWriteIsAnsweredByAnotherStore(t *testing.T) {
	for name, other := range map[string]round{
		"lower revision": {readTerm: 5, readRev: 4}, "revision of its own write": {readTerm: 5, readRev: 5}, "lower term": {readTerm: 4, readRev: 9}, "other cluster": {readTerm: 5, cluster: 8},
	} {
		t.Run(name, func(t *testing.T) {
			was := round{readTerm: 5}
			for what, write := range map[string]func(*Store, dcs.Session) (error, error){
				"take": func(_ *Store, n dcs.Session) (error, error) {
					_, err := n.Put(t.Context(), "leader", "a", dcs.Absent())
					return err, dcs.ErrSessionGone
				},
				"release": func(_ *Store, n dcs.Session) (error, error) {
					return n.Delete(t.Context(), "leader"), dcs.ErrSessionGone
				},
				"config": func(st *Store, _ dcs.Session) (error, error) {
					_, err := st.Put(t.Context(), "config", "{}", dcs.Always())
					return err, dcs.ErrUnknown
				},
			} {
				put := &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{}}}
				server := &scripted{now: was, did: []*pb.ResponseOp{put}}
				st := open(t, "/x", server.serve(t))
				n, err := st.Open(t.Context(), 10*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				before, err := st.Load(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				server.now = other
				err, want := write(st, n)
				if !errors.Is(err, want) {
					t.Errorf("%s: got %v, want %v", what, err, want)
				}
				server.now = round{readTerm: 9, readRev: 9}
				if _, err := n.Put(t.Context(), "leader", "a", dcs.Absent()); !errors.Is(err, dcs.ErrSessionGone) {
					t.Errorf("%s: a put afterwards: %v", what, err)
				}
				if _, err := n.Renew(t.Context()); !errors.Is(err, dcs.ErrSessionGone) || server.asked > 0 {
					t.Errorf("%s: a renewal afterwards: %v", what, err)
				}
				if after := loadTwice(t, st); after.StoreID == before.StoreID {
					t.Errorf("%s: the store is still called %s", what, after.StoreID)
				}
				if _, err := st.Open(t.Context(), 10*time.Second); err != nil {
					t.Errorf("%s: a new session: %v", what, err)
				}
				st.Close()
			}
		})
	}
}

// loadTwice reads the store; the reading that notices another store fails.
func loadTwice(t *testing.T, st *Store) dcs.Snapshot {
	t.Helper()
	snap, err := st.Load(t.Context())
	if errors.Is(err, dcs.ErrUnavailable) {
		snap, err = st.Load(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// A server that hands its leadership on drops what it is asked: nothing has happened,
// and it is asked again; one that goes on so has done nothing either.
func TestDroppedProposal(t *testing.T) {
	server := &scripted{now: round{readTerm: 5}, drops: 3}
	st := open(t, "/x", server.serve(t))
	defer st.Close()
	if _, err := st.Put(t.Context(), "config", "{}", dcs.Always()); err != nil || server.drops != 0 {
		t.Errorf("%v, %d drops are left", err, server.drops)
	}
	server.drops = 1 << 30
	ctx, cancel := context.WithTimeout(t.Context(), 4*droppedDelay)
	defer cancel()
	if _, err := st.Put(ctx, "config", "{}", dcs.Always()); !errors.Is(err, dcs.ErrUnavailable) || errors.Is(err, dcs.ErrUnknown) {
		t.Errorf("dropped for ever: %v", err)
	}
}
