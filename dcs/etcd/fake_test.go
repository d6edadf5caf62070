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
}

// scripted is a server that says what a test wants; used by one call at a time.
type scripted struct {
	pb.UnimplementedKVServer
	pb.UnimplementedLeaseServer
	rounds []round
	now    round
	asked  int
}

func (s *scripted) Range(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) {
	if s.now.readFails {
		return nil, status.Error(codes.Unavailable, "etcdserver: request timed out")
	}
	return &pb.RangeResponse{Header: &pb.ResponseHeader{ClusterId: 7, RaftTerm: uint64(s.now.readTerm), Revision: 1}}, nil
}

func (s *scripted) LeaseGrant(context.Context, *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	return &pb.LeaseGrantResponse{Header: &pb.ResponseHeader{ClusterId: 7, RaftTerm: uint64(s.now.readTerm)}, ID: 9, TTL: 10}, nil
}

func (s *scripted) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	s.now, s.rounds = s.rounds[0], s.rounds[1:]
	s.asked++
	return stream.Send(&pb.LeaseKeepAliveResponse{ID: req.ID, TTL: s.now.ttl,
		Header: &pb.ResponseHeader{ClusterId: 7, RaftTerm: uint64(s.now.term)}})
}

// TestKeepAliveNeedsProof: what a keep-alive says counts only after a read in
// the same raft term.
func TestKeepAliveNeedsProof(t *testing.T) {
	for _, c := range []struct {
		name   string
		rounds []round
		want   error
	}{
		{"same term", []round{{5, 10, 5, false}}, nil},
		{"a former leader answered, the second one counts", []round{{5, 10, 6, false}, {6, 10, 6, false}}, nil},
		{"leaders change all the time", []round{{5, 10, 6, false}, {6, 10, 7, false}}, dcs.ErrUnavailable},
		{"no quorum behind the answer", []round{{5, 10, 0, true}}, dcs.ErrUnavailable},
		{"a new leader did not know the lease yet", []round{{5, 0, 5, false}, {5, 10, 5, false}}, nil},
		{"the lease is gone", []round{{5, 0, 5, false}, {5, 0, 5, false}}, dcs.ErrSessionGone},
		{"a former leader says that it is gone", []round{{5, 0, 6, false}, {6, 10, 6, false}}, nil},
		{"a server that has fallen behind", []round{{4, 10, 4, false}}, dcs.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := &scripted{rounds: c.rounds, now: round{readTerm: 5}}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			g := grpc.NewServer()
			pb.RegisterKVServer(g, server)
			pb.RegisterLeaseServer(g, server)
			go g.Serve(l)
			defer g.Stop()
			st := open(t, "/x", l.Addr().String())
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
