package etcd

import (
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// An answer that Belongs refuses says nothing; a write may have happened there.
func TestAForeignAnswerCountsForNothing(t *testing.T) {
	p := &pool{clk: clock.Real{}, belongs: func(uint64) error { return errors.New("of another generation") }}
	err := p.accept(&endpoint{addr: "e1"}, &pb.ResponseHeader{ClusterId: 7}, mark{})
	if !errors.Is(err, dcs.ErrUnavailable) || !errors.Is(wroteElsewhere(err), dcs.ErrUnknown) {
		t.Errorf("read: %v, write: %v", err, wroteElsewhere(err))
	}
	if p.store.now() != (mark{}) {
		t.Errorf("it changed what is known of the store: %+v", p.store.now())
	}
}

// A member that has just been added answers no questions yet. That is no reason
// not to ask the others, and none to give up.
func TestALearnerIsNotThere(t *testing.T) {
	for _, sent := range []bool{false, true} {
		err := classify(rpctypes.ErrGRPCNotSupportedForLearner, sent)
		if !errors.Is(err, dcs.ErrUnavailable) || final(err) {
			t.Errorf("sent %v: %v", sent, err)
		}
	}
}
