package memory

import (
	"context"
	"errors"
	"fmt"

	"github.com/matriarch-ha/matriarch/dcs"
)

// Op is a kind of call.
type Op string

// The kinds of calls that faults are chosen by.
const (
	OpLoad   Op = "load"
	OpPut    Op = "put"
	OpDelete Op = "delete"
	OpOpen   Op = "open"
	OpResume Op = "resume"
	OpRenew  Op = "renew"
	OpEnd    Op = "end"
)

// Call is one call that a fault may befall.
type Call struct {
	Op  Op
	Key string // of a put or delete; empty otherwise
}

// Fault is what happens to one call.
type Fault int

// The faults of a call.
const (
	FaultNone Fault = iota
	// FaultUnavailable: the call fails and certainly had no effect.
	FaultUnavailable
	// FaultLoseRequest: the request is lost after it was sent: no effect, and
	// the caller does not know.
	FaultLoseRequest
	// FaultLoseReply: the call has its effect and the caller does not know.
	FaultLoseReply
	// FaultHang: nothing comes back until the caller's context ends.
	FaultHang
)

// FailNext gives the next calls these faults, one each, in this order.
func (s *Store) FailNext(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// SetHook asks hook for the fault of every call that FailNext left alone; nil
// removes it.
func (s *Store) SetHook(hook func(Call) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Cut cuts this connection's network, or mends it. While it is cut every call
// fails as unavailable and watches are interrupted.
func (s *Store) Cut(cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isCut == cut || !cut && s.closed {
		return
	}
	s.isCut = cut
	close(s.cut)
	s.cut = make(chan struct{})
}

// network returns whether the network is cut and a channel that closes when
// that changes.
func (s *Store) network() (cut bool, switched <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isCut, s.cut
}

// fault chooses what befalls one call.
func (s *Store) fault(call Call) Fault {
	s.mu.Lock()
	hook, cut := s.hook, s.isCut
	if cut {
		s.mu.Unlock()
		return FaultUnavailable
	}
	if len(s.faults) > 0 {
		f := s.faults[0]
		s.faults = s.faults[1:]
		s.mu.Unlock()
		return f
	}
	s.mu.Unlock()
	if hook != nil {
		return hook(call) // without the lock: a hook may call back
	}
	return FaultNone
}

// call runs one call against the state, through the faults.
func (s *Store) call(ctx context.Context, call Call, do func(*Core) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", call.Op, call.Key, errors.Join(err, dcs.ErrUnavailable))
	}
	switch s.fault(call) {
	case FaultUnavailable:
		return fmt.Errorf("%s %s: %w", call.Op, call.Key, dcs.ErrUnavailable)
	case FaultLoseRequest:
		return lost(call, nil)
	case FaultLoseReply:
		s.server.Do(func(c *Core) { _ = do(c) }) // the caller learns nothing of it
		return lost(call, nil)
	case FaultHang:
		<-ctx.Done()
		return lost(call, ctx.Err())
	}
	var err error
	s.server.Do(func(c *Core) { err = do(c) })
	return err
}

// lost is the error of a call that was sent and not answered: for a read that
// is the same as if it had never been sent.
func lost(call Call, cause error) error {
	class := dcs.ErrUnknown
	if call.Op == OpLoad {
		class = dcs.ErrUnavailable
	}
	return fmt.Errorf("%s %s: no answer: %w", call.Op, call.Key, errors.Join(cause, class))
}
