package proxy

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
)

// A backend whose host is gone is noticed within half a minute, a client's in
// some minutes: its silence costs one connection only.
var (
	serverKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}
	clientKeepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}
)

// replicaUserTimeout bounds how long sent bytes may stay unacknowledged.
// Keep-alive does not cover that time.
const replicaUserTimeout = 30 * time.Second

// serverUserTimeout: Linux applies the limit also to a peer that is alive but
// does not read, such as a server with a COPY behind a lock. The sessions to a
// lost primary end with its lease, so only replicas need it, and there nobody
// writes that much.
func serverUserTimeout(g *gate) time.Duration {
	if boot.Instant(g.deadline.Load()) == noDeadline {
		return replicaUserTimeout
	}
	return 0
}

// tune sets the options of a connection, best effort: it works without, slower.
func tune(c *net.TCPConn, ka net.KeepAliveConfig, userTimeout time.Duration) {
	c.SetNoDelay(true)
	c.SetKeepAliveConfig(ka)
	if userTimeout == 0 {
		return
	}
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
		})
	}
}
