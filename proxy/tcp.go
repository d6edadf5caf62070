package proxy

import (
	"cmp"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
)

// TCP is how lost peers are noticed. Zero values mean the defaults: a backend whose host
// is gone is noticed within half a minute, a client's in some minutes: its silence costs
// one connection only.
type TCP struct {
	Client, Server KeepAlive
	// ReplicaUserTimeout bounds how long bytes sent to a replica may stay
	// unacknowledged; keep-alive does not cover that time. 30 s.
	ReplicaUserTimeout time.Duration
}

// KeepAlive is how a silent peer is asked whether it is there.
type KeepAlive struct {
	Idle     time.Duration // silence before the first probe; client 60 s, server 15 s
	Interval time.Duration // between two probes; client 15 s, server 5 s
	Count    int           // unanswered probes that end it; client 4, server 3
}

func (k KeepAlive) withDefaults(idle, interval time.Duration, count int) KeepAlive {
	return KeepAlive{cmp.Or(k.Idle, idle), cmp.Or(k.Interval, interval), cmp.Or(k.Count, count)}
}

func (t TCP) withDefaults() TCP {
	return TCP{Client: t.Client.withDefaults(time.Minute, 15*time.Second, 4), Server: t.Server.withDefaults(15*time.Second, 5*time.Second, 3),
		ReplicaUserTimeout: cmp.Or(t.ReplicaUserTimeout, 30*time.Second)}
}

// serverUserTimeout: Linux applies the limit also to a peer that is alive but
// does not read, such as a server with a COPY behind a lock. The sessions to a
// lost primary end with its lease, so only replicas need it, and there nobody
// writes that much.
func (t TCP) serverUserTimeout(g *gate) time.Duration {
	if boot.Instant(g.deadline.Load()) == noDeadline {
		return t.ReplicaUserTimeout
	}
	return 0
}

// tune sets the options of a connection, best effort: it works without, slower.
func tune(c *net.TCPConn, ka KeepAlive, userTimeout time.Duration) {
	c.SetNoDelay(true)
	c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: ka.Idle, Interval: ka.Interval, Count: ka.Count})
	if userTimeout == 0 {
		return
	}
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
		})
	}
}

// closedByPeer reports whether the end of the stream has come, also behind data that
// was not read yet.
func closedByPeer(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}
