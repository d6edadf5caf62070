package guard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// HandoverName is the handover socket's name in the state directory.
const HandoverName = "guard.sock"

// handover is the guard's side of the handover socket.
type handover struct {
	listener int // -1 when there is none
	dir      int // the directory that holds it
	inode    uint64
	// turned away are the ends of agents that came while the server was being
	// stopped: they learn that it is done when this process ends.
	turnedAway []int
}

// flagStopping: no agent came in time, and the server is being stopped. Wait for
// the guard's end.
const flagStopping = 1

// mostTurnedAway bounds them.
const mostTurnedAway = 8

// openHandover makes the socket on which another agent takes over, in the place
// of one that a former guard has left. Mode 0600, and never by its path: the
// directory may belong to the server's user, and its path may be longer than a
// socket's address.
func (c *child) openHandover() error {
	c.handover = handover{listener: -1, dir: -1}
	c.releases = newReleases()
	path := c.duty.Handover
	if path == "" {
		return nil
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("guard: directory of the handover socket %s: %w", path, err)
	}
	c.handover.dir = dir
	name := filepath.Base(path)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("guard: make the handover socket: %w", err)
	}
	// A fresh name, moved over the old one: an agent that looks meanwhile finds
	// one of the two, and never a socket that nobody listens on.
	fresh := name + "." + strconv.Itoa(os.Getpid())
	_ = unix.Unlinkat(dir, fresh, 0)
	old := unix.Umask(0o177)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: inDir(dir, fresh)})
	unix.Umask(old)
	if err == nil {
		err = unix.Listen(fd, mostTurnedAway)
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstatat(dir, fresh, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = unix.Renameat(dir, fresh, dir, name)
	}
	if err != nil {
		unix.Close(fd)
		unix.Close(dir)
		c.handover.dir = -1
		return fmt.Errorf("guard: bind the handover socket %s: %w", path, err)
	}
	c.handover.listener, c.handover.inode = fd, st.Ino
	return nil
}

// inDir is a path to a name in an open directory that fits into a socket's address.
func inDir(dir int, name string) string { return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name }

// closeHandover removes the socket, unless it is another guard's by now.
func (c *child) closeHandover() {
	h := &c.handover
	if h.listener < 0 {
		return
	}
	var st unix.Stat_t
	name := filepath.Base(c.duty.Handover)
	if unix.Fstatat(h.dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Ino == h.inode {
		_ = unix.Unlinkat(h.dir, name, 0)
	}
	unix.Close(h.listener)
	unix.Close(h.dir)
	h.listener = -1
}

// accept takes agents that want to take over. One agent is served at a time: a
// new one only when the former one's end is closed.
func (c *child) accept() {
	for c.handover.listener >= 0 {
		fd, _, err := unix.Accept4(c.handover.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return // EAGAIN, or one that is gone again
		}
		switch {
		case !trusted(fd):
			unix.Close(fd)
		case !c.watch.Alone:
			send1(fd, message{kind: kindRefuse})
			unix.Close(fd)
		case !c.watch.MayClaim(c.clock.Now()):
			// Nothing to take over any more. The end of this process, which follows,
			// closes the connection.
			if len(c.handover.turnedAway) >= mostTurnedAway {
				unix.Close(fd)
				continue
			}
			send1(fd, message{kind: kindRefuse, flags: flagStopping})
			c.handover.turnedAway = append(c.handover.turnedAway, fd)
		default:
			c.serve(fd)
		}
	}
}

// serve makes the one that connected this guard's agent.
func (c *child) serve(fd int) {
	c.sock, c.watch.Alone, c.watch.Claimed = fd, false, true
	c.say(message{kind: kindKernel, flags: c.kernel.flags(), text: c.kernel.Trouble})
	c.told = c.kernel
	c.say(message{kind: kindReady, flags: c.abilities.flags(), text: c.abilities.Refused})
	if c.dog != nil {
		c.tellDog()
	}
	m := message{kind: kindTrust, a: int64(c.watch.Soft), b: int64(c.watch.Hard), text: string(c.session)}
	if ms, err := c.killer.find(); err == nil {
		for _, p := range ms {
			if p.root && !p.done() && m.count == 0 {
				m.count, m.nonce = uint32(p.pid), p.start
			}
		}
	}
	c.say(m)
	c.say(message{kind: kindHello, text: c.program.Version})
}

// send1 sends a message to an end that is not the agent's.
func send1(fd int, m message) {
	var buf [maxMessage]byte
	_ = unix.Sendto(fd, m.encode(buf[:]), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, nil)
}

// trusted: the other end belongs to root or to the user of this process.
func trusted(fd int) bool {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid())
}
