package etcd

import (
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/matriarch-ha/matriarch/dcs"
)

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
