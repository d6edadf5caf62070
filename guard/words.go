package guard

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/ha/fence"
)

// listen takes all words that have arrived.
func (c *child) listen() {
	for c.sock >= 0 {
		n, fd, err := c.receive()
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil || n == 0:
			c.lost()
			return
		}
		// A handle stays where it is: no copy of it is left behind, nor any memory.
		text := c.in[min(n, headSize):n]
		whole := n
		if kind(c.in[0]) == kindArm {
			whole = n - len(text)
		}
		m, err := decode(c.in[:whole])
		if err == nil && m.kind == kindAccess {
			c.releases.use(fd)
			fd = -1
		}
		if fd >= 0 {
			unix.Close(fd)
		}
		if err == nil { // else not acknowledged: the agent must not rely on it
			c.hear(m, text)
		}
		clear(text)
	}
}

// receive takes one message. An agent that has taken over may pass a descriptor
// with it, until it arms.
func (c *child) receive() (n, fd int, err error) {
	if !c.watch.Claimed {
		n, err = unix.Read(c.sock, c.in[:])
		return n, -1, err
	}
	var oob [64]byte
	n, oobn, _, _, err := unix.Recvmsg(c.sock, c.in[:], oob[:], unix.MSG_CMSG_CLOEXEC)
	return n, passed(oob[:max(oobn, 0)]), err
}

// lost notes that the agent's end is closed: nobody extends the lease now.
func (c *child) lost() {
	unix.Close(c.sock)
	c.sock = -1
	c.watch.Alone, c.watch.Claimed, c.watch.Since = true, false, c.clock.Now()
}

// hear obeys one word and acknowledges it; text is the handle of an Arm.
func (c *child) hear(m message, text []byte) {
	switch m.kind {
	case kindArm:
		if !c.watch.MayArm(c.clock.Now()) {
			return // the server is about to end: the agent is told when that is done
		}
		if !c.watch.Armed {
			c.killer.pin()
		}
		c.watch.Armed, c.watch.Soft, c.watch.Hard, c.watch.Claimed = true, boot.Instant(m.a), boot.Instant(m.b), false
		c.session = append(c.session[:0], text...)
		if c.clock.Now() >= c.watch.Hard {
			// Too late: act fences, and says so instead of an acknowledgement. The kernel
			// closes the port meanwhile, also if this process does not live to the kill.
			if c.kern >= 0 {
				c.tellKernel(m)
			}
			return
		}
		// Acknowledged when the element stands, and the device runs.
		c.owed = owed{nonce: m.nonce, kernel: c.kern >= 0, dog: c.feed(m)}
		if c.owed.kernel {
			c.tellKernel(m)
		}
		c.grant()
		return
	case kindDisarm:
		c.disarm()
		defer c.lift()
	case kindEnd:
		c.watch.Fencing = c.watch.Armed
		return
	default:
		return
	}
	c.say(message{kind: kindAck, nonce: m.nonce})
}

// disarm forgets the lease, and what would end it; not who its agent is.
func (c *child) disarm() {
	c.watch = fence.Watch{Alone: c.watch.Alone, Since: c.watch.Since}
	clear(c.session[:cap(c.session)])
	c.session = c.session[:0]
	if c.asking != nil {
		c.asking.Store(false)
	}
}
