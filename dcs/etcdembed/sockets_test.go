package etcdembed

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestConnectionsBetweenVotesAreBounded: those at a vote's port are, on both sides,
// and no others.
func TestConnectionsBetweenVotesAreBounded(t *testing.T) {
	votes, other := listener(t), listener(t)
	ports := map[int]bool{votes.Addr().(*net.TCPAddr).Port: true}
	dialled, accepted := connect(t, votes)
	otherDialled, otherAccepted := connect(t, other)

	known, err := boundSockets(ports, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(known) != 2 {
		t.Errorf("%d sockets are known, want both ends", len(known))
	}
	_, later := connect(t, votes)
	if again, err := boundSockets(ports, known); err != nil || len(again) != 4 {
		t.Errorf("%d sockets are known at the second look, %v", len(again), err)
	}
	for name, c := range map[string]struct {
		conn net.Conn
		want int
	}{
		"dialled": {dialled, 5000}, "accepted": {accepted, 5000}, "accepted later": {later, 5000},
		"another's, dialled": {otherDialled, 0}, "another's, accepted": {otherAccepted, 0},
	} {
		if got := option(t, c.conn, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); got != c.want {
			t.Errorf("%s: given up after %d ms of silence, want %d", name, got, c.want)
		}
	}
	if option(t, dialled, unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 1 || option(t, dialled, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE) != 2 {
		t.Error("a side that only listens sends no probes")
	}
	dialled.Close()
	accepted.Close()
	if gone, err := boundSockets(ports, known); err != nil || len(gone) != 2 {
		t.Errorf("%d sockets are known after two were closed, %v", len(gone), err)
	}
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func connect(t *testing.T, l net.Listener) (dialled, accepted net.Conn) {
	t.Helper()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err == nil {
		accepted, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return dialled, accepted
}

func option(t *testing.T, c net.Conn, level, name int) (value int) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return value
}
