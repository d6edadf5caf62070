package dcs

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestBrief(t *testing.T) {
	dialing := func(why string) error {
		return fmt.Errorf("%w: rpc error: code = Unavailable desc = connection error: desc = %q", ErrUnavailable, why)
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("load: %w", errors.Join(dialing("transport: Error while dialing: dial tcp 127.0.0.1:23791: connect: connection refused"),
			dialing("transport: Error while dialing: dial tcp: lookup nohost.invalid on 10.0.0.53:53: no such host"),
			dialing("error reading server preface: raw-read tcp 127.0.0.1:54278->127.0.0.1:23795: use of closed network connection"))),
			"the store is unavailable: 127.0.0.1:23791: connection refused; nohost.invalid: no such host; 127.0.0.1:23795: no answer in time"},
		{fmt.Errorf("load: %w: %w", ErrUnavailable, errors.Join(errors.New("127.0.0.1:23795: context deadline exceeded"),
			errors.New("dial tcp 127.0.0.1:23791: connect: connection refused"))),
			"the store is unavailable: 127.0.0.1:23795: no answer in time; 127.0.0.1:23791: connection refused"},
		{dialing("transport: authentication handshake failed: tls: failed to verify certificate: x509: certificate signed by unknown authority"),
			"the store is unavailable: TLS: failed to verify certificate: x509: certificate signed by unknown authority"},
		{fmt.Errorf("%w: %w", ErrUnknown, errors.Join(context.DeadlineExceeded, errors.New("rpc error: code = DeadlineExceeded desc = context deadline exceeded"))),
			"the outcome is unknown: no answer in time"},
		{fmt.Errorf("renew: %w", ErrSessionGone), "the session has ended"},
		{fmt.Errorf("%w: rpc error: code = Unauthenticated desc = etcdserver: user name is empty", ErrRefused),
			"the store refused the request: etcdserver: user name is empty"},
		{errors.New("something else"), "something else"},
	} {
		if got := Brief(c.err); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
