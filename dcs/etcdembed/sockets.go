package etcdembed

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Between two votes a connection is given up when nothing came back for that long.
//
// etcd means to do so itself, but its 3.7 sets the deadlines on a function for
// dialling that net/http does not call when there is another one for contexts
// (NewTimeoutTransport over NewTransport in its client/pkg/transport). So after a
// partition that drops packets both sides would keep their old connections, until
// TCP sends again by itself: that waits twice as long each time, so a vote would
// come back only after about as long again as it was away. Were another lost
// meanwhile, nobody could lead although a majority is there.
const (
	peerSilence     = 5 * time.Second
	peerSocketsLook = time.Second
)

// boundPeerSockets bounds the connections to other votes until the context ends.
// Nothing gives the sockets away as they are made, so the process looks at its own
// descriptors again and again.
func boundPeerSockets(ctx context.Context, ports map[int]bool, log *zap.Logger) {
	known, said := map[uint64]bool{}, ""
	for tick := time.NewTicker(peerSocketsLook); ; {
		var err error
		if known, err = boundSockets(ports, known); err != nil && err.Error() != said {
			said = err.Error()
			log.Warn("after a partition this vote may come back late", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// peerPorts are the ports at which the votes listen for each other.
func (c Config) peerPorts() map[int]bool {
	ports := map[int]bool{}
	add := func(u url.URL) {
		if n, err := strconv.Atoi(u.Port()); err == nil {
			ports[n] = true
		}
	}
	add(c.mustURL(c.ListenPeer))
	for _, m := range c.Members {
		add(c.mustURL(m.Peer))
	}
	return ports
}

// boundSockets bounds this process's sockets of the ports that are not known yet,
// and returns all of those that are there.
func boundSockets(ports map[int]bool, known map[uint64]bool) (map[uint64]bool, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return known, fmt.Errorf("look for the connections between votes: %w", err)
	}
	now := map[uint64]bool{}
	var errs []error
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		inode, err := boundSocket(fd, ports, known)
		if err != nil {
			errs = append(errs, err)
		} else if inode != 0 {
			now[inode] = true
		}
	}
	return now, errors.Join(errs...)
}

// boundSocket bounds one, and returns its inode if it is of the ports. The
// descriptor may be closed by its owner and its number given to another at any
// time, so it is looked at through a copy.
func boundSocket(fd int, ports map[int]bool, known map[uint64]bool) (uint64, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return 0, nil // closed meanwhile
	}
	defer unix.Close(own)
	var st unix.Stat_t
	if unix.Fstat(own, &st) != nil || !isPeerSocket(own, ports) {
		return 0, nil
	}
	if known[st.Ino] {
		return st.Ino, nil
	}
	for _, o := range []struct{ level, name, value int }{
		// Probes, so that a side that only listens notices, too.
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 2},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, int(peerSilence / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(peerSilence.Milliseconds())},
	} {
		if err := unix.SetsockoptInt(own, o.level, o.name, o.value); err != nil {
			return 0, fmt.Errorf("bound the silence of a connection between votes: %w", err)
		}
	}
	return st.Ino, nil
}

// isPeerSocket: a TCP connection one of whose ends is at one of the ports. (What
// listens is another kind: Go takes MPTCP where it can be had.)
func isPeerSocket(fd int, ports map[int]bool) bool {
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || kind != unix.IPPROTO_TCP {
		return false
	}
	there, err := unix.Getpeername(fd)
	if err != nil {
		return false // it listens, or does not stand yet
	}
	here, err := unix.Getsockname(fd)
	return ports[portOf(there)] || err == nil && ports[portOf(here)]
}

func portOf(a unix.Sockaddr) int {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return a.Port
	case *unix.SockaddrInet6:
		return a.Port
	}
	return 0
}
