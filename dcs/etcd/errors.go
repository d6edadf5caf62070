package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/raft/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/matriarch-ha/matriarch/dcs"
)

// loginError is a failure to log in: the call itself was never made.
type loginError struct{ err error }

func (e loginError) Error() string { return "log in: " + e.err.Error() }
func (e loginError) Unwrap() error { return e.err }

// errReplaced: the answer came from another store than the question was for.
// What it says counts for nothing.
var errReplaced = fmt.Errorf("%w: etcd is another store than before, or was restored from an older state", dcs.ErrUnavailable)

// errForeign: the answer came from a store that Config.Belongs refuses.
var errForeign = fmt.Errorf("%w: another store", dcs.ErrUnavailable)

// wroteElsewhere is errReplaced or errForeign for a write: it may have happened,
// in a store that the condition was not meant for.
func wroteElsewhere(err error) error {
	if errors.Is(err, errReplaced) || errors.Is(err, errForeign) {
		return fmt.Errorf("%w: %s", dcs.ErrUnknown, err)
	}
	return err
}

// classify puts a call's error into one of the contract's classes. maybeSent
// says that the request changes something and may have reached the server.
func classify(err error, maybeSent bool) error {
	if err == nil || classified(err) {
		return err
	}
	return fmt.Errorf("%w: %w", class(err, maybeSent), plain(err))
}

func classified(err error) bool {
	for _, c := range []error{dcs.ErrConflict, dcs.ErrUnavailable, dcs.ErrUnknown, dcs.ErrSessionGone, dcs.ErrRefused} {
		if errors.Is(err, c) {
			return true
		}
	}
	return false
}

func class(err error, maybeSent bool) error {
	lost := dcs.ErrUnavailable
	if maybeSent && !errors.As(err, new(loginError)) {
		lost = dcs.ErrUnknown
	}
	switch code := status.Code(unwrapLogin(err)); code {
	case codes.NotFound:
		if same(err, rpctypes.ErrGRPCLeaseNotFound) {
			return dcs.ErrSessionGone
		}
		return dcs.ErrRefused
	case codes.ResourceExhausted:
		if same(err, rpctypes.ErrGRPCRequestTooManyRequests) {
			return dcs.ErrUnavailable // refused before it was proposed
		}
		return dcs.ErrRefused
	case codes.FailedPrecondition:
		if same(err, rpctypes.ErrGRPCNotLeader) {
			return lost
		}
		if same(err, rpctypes.ErrGRPCNotSupportedForLearner) {
			return dcs.ErrUnavailable // a member that is coming back; it has passed nothing on
		}
		return dcs.ErrRefused
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented, codes.OutOfRange, codes.AlreadyExists:
		return dcs.ErrRefused
	case codes.Unknown:
		if dropped(err) {
			return dcs.ErrUnavailable
		}
		return lost
	default:
		// Unavailable, DeadlineExceeded, Canceled, Internal, … and errors
		// that did not come from gRPC: the request may have been carried out.
		return lost
	}
}

// plain turns gRPC's word for the context's end into the context's own error.
func plain(err error) error {
	switch status.Code(unwrapLogin(err)) {
	case codes.DeadlineExceeded:
		return errors.Join(context.DeadlineExceeded, err)
	case codes.Canceled:
		return errors.Join(context.Canceled, err)
	}
	return err
}

func unwrapLogin(err error) error {
	var l loginError
	if errors.As(err, &l) {
		return l.err
	}
	return err
}

// dropped: the server did not take a proposal into its log, because it hands the
// leadership on or has no leader; see undropped.
func dropped(err error) bool {
	err = unwrapLogin(err)
	return status.Code(err) == codes.Unknown && rpctypes.ErrorDesc(err) == raft.ErrProposalDropped.Error()
}

func same(err, want error) bool {
	return rpctypes.ErrorDesc(unwrapLogin(err)) == rpctypes.ErrorDesc(want)
}

// badLogin reports that a token is not valid any more.
func badLogin(err error) bool {
	return same(err, rpctypes.ErrGRPCInvalidAuthToken) || same(err, rpctypes.ErrGRPCAuthOldRevision) || same(err, rpctypes.ErrGRPCUserEmpty)
}

// final reports that no other server would answer otherwise.
func final(err error) bool {
	return errors.Is(err, dcs.ErrRefused) || errors.Is(err, dcs.ErrSessionGone)
}
