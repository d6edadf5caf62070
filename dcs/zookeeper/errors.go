package zookeeper

import (
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"github.com/matriarch-ha/matriarch/dcs"
)

// notSent is the error of a request that certainly never left this host.
type notSent struct{ err error }

func (e notSent) Error() string { return e.err.Error() }
func (e notSent) Unwrap() error { return e.err }

// answer reports whether an error is a server's word about one request, after
// which the connection is as good as before.
func answer(err error) bool {
	for _, e := range []error{zk.ErrNoNode, zk.ErrNodeExists, zk.ErrBadVersion, zk.ErrNotEmpty, zk.ErrNoChildrenForEphemerals,
		zk.ErrNoAuth, zk.ErrAuthFailed, zk.ErrInvalidACL, zk.ErrInvalidPath, zk.ErrBadArguments, zk.ErrSessionExpired} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func classified(err error) bool {
	for _, c := range []error{dcs.ErrConflict, dcs.ErrUnavailable, dcs.ErrUnknown, dcs.ErrSessionGone, dcs.ErrRefused} {
		if errors.Is(err, c) {
			return true
		}
	}
	return false
}

// classify puts an error into one of the contract's classes. write says that
// the call changes something.
func classify(err error, write bool) error {
	if err == nil || classified(err) {
		return err
	}
	if errors.Is(err, zk.ErrNoAuth) || errors.Is(err, zk.ErrAuthFailed) {
		err = fmt.Errorf("%w: auth_data in the section zookeeper must be what the nodes of the cluster are protected with (set_acls)", err)
	}
	return fmt.Errorf("%w: %w", class(err, write), err)
}

func class(err error, write bool) error {
	switch {
	case errors.Is(err, zk.ErrSessionExpired):
		// The server refused the request. Whether that matters is for the caller:
		// the session of a store's own connection holds nothing.
		return dcs.ErrUnavailable
	case errors.Is(err, zk.ErrSessionMoved):
		return dcs.ErrUnavailable // refused, too: the session has a newer connection
	case errors.Is(err, zk.ErrNoNode), errors.Is(err, zk.ErrNodeExists), errors.Is(err, zk.ErrBadVersion):
		return dcs.ErrConflict
	case answer(err):
		return dcs.ErrRefused
	case write && !errors.As(err, new(notSent)):
		return dcs.ErrUnknown
	default:
		return dcs.ErrUnavailable
	}
}
