package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
)

// link is a session in an event loop. The gate is asked before each system call
// that sends, as in a pipe.
type link struct {
	s              *session
	loop           *loop
	client, server end
	up, down       flow // to the server, to the client
	last           boot.Instant
	bye            bool
	chunks         uint64
	unwatch        func() bool
	over           bool
}

// end is one of a link's two connections.
type end struct {
	link     *link
	fd       int
	mask     uint32 // of epoll; 0: not watched
	out, in  *flow  // what is read from it, what is sent to it
	finished bool   // it sends nothing more
}

// flow is one direction. What the receiver does not take at once is kept, and the
// sender is not read meanwhile.
type flow struct {
	from, to *end
	kept     *[chunkSize]byte // nil: nothing waits
	rest     []byte           // of kept
}

// newLink makes the descriptors of both connections its own, and what up has read and
// not sent. On an error nothing has changed.
func newLink(s *session, l *loop, up *pipe) (*link, error) {
	client, err := duplicate(s.client)
	if err != nil {
		return nil, err
	}
	server, err := duplicate(s.server)
	if err != nil {
		unix.Close(client)
		return nil, err
	}
	k := &link{s: s, loop: l, bye: up.bye.Load(), last: boot.Instant(up.last.Load())}
	k.client, k.server = end{link: k, fd: client, out: &k.up, in: &k.down}, end{link: k, fd: server, out: &k.down, in: &k.up}
	k.up, k.down = flow{from: &k.client, to: &k.server}, flow{from: &k.server, to: &k.client}
	k.up.kept, k.up.rest = up.buf, up.data
	up.buf = nil
	return k, nil
}

// duplicate takes a connection out of the runtime's hands: closing what is left
// there does not end it.
func duplicate(c *net.TCPConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	cerr := raw.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(cerr, os.NewSyscallError("fcntl", err))
}

// begin runs on the loop's thread from here on.
func (k *link) begin() {
	k.loop.enter(&k.client)
	k.loop.enter(&k.server)
	k.unwatch = context.AfterFunc(k.s.gate.ctx, func() { k.loop.post(func() { k.finish(errShut) }) })
	k.watch()
}

// watch waits for what can be gone on with.
func (k *link) watch() {
	for _, e := range []*end{&k.client, &k.server} {
		var mask uint32
		if !e.finished && e.out.kept == nil {
			mask |= unix.EPOLLIN
		}
		if e.in.kept != nil {
			mask |= unix.EPOLLOUT
		}
		if err := k.loop.watch(e, mask); err != nil {
			k.finish(err)
			return
		}
	}
}

// event is what epoll says of an end: readable, writable, or broken, which shows
// when either is tried.
func (k *link) event(e *end, events uint32) {
	broken := events & (unix.EPOLLHUP | unix.EPOLLERR)
	// What it said before it broke comes first.
	if e.mask&unix.EPOLLIN != 0 && (events&unix.EPOLLIN|broken) != 0 {
		k.read(e.out)
	}
	if !k.over && e.mask&unix.EPOLLOUT != 0 && (events&unix.EPOLLOUT|broken) != 0 {
		k.flush(e.in)
	}
}

// read moves what has come.
func (k *link) read(f *flow) {
	for range readsInARow {
		n, err := rawRead(f.from.fd, k.loop.buf)
		switch {
		case err == unix.EAGAIN:
			return
		case err != nil:
			f.from.finished = true
			k.finish(err)
			return
		case n == 0:
			k.ended(f)
			return
		}
		b := k.loop.buf[:n]
		if f == &k.up && n == len(farewell) && [len(farewell)]byte(b) == farewell {
			k.bye = true
		}
		if !k.pass(f, b) || n < len(k.loop.buf) {
			return
		}
	}
}

// pass sends what was just read, keeps what is not taken, and reports whether to go
// on reading.
func (k *link) pass(f *flow, b []byte) bool {
	s := k.s
	var read boot.Instant
	timed := k.chunks%sampleEvery == 0
	k.chunks++
	if timed {
		read = s.gate.clock.Now()
	}
	rest, err := k.send(f, b)
	switch {
	case err != nil:
		k.finish(err)
		return false
	case len(rest) > 0:
		f.kept = k.loop.buffers.pool.Get().(*[chunkSize]byte)
		f.rest = f.kept[:copy(f.kept[:], rest)]
		k.watch()
		return false
	case timed:
		s.port.delay.took(s.gate.clock.Now().Sub(read))
	}
	return true
}

// send returns what the receiver did not take.
func (k *link) send(f *flow, b []byte) ([]byte, error) {
	s := k.s
	for len(b) > 0 {
		now, open := s.gate.pass()
		if !open {
			return nil, errShut
		}
		n, err := rawWrite(f.to.fd, b)
		if err == unix.EAGAIN {
			return b, nil
		}
		if err != nil {
			f.to.finished = true
			return nil, err
		}
		if f == &k.up {
			k.last = now
			s.account.toServer.Add(int64(n))
		} else {
			s.account.toClient.Add(int64(n))
			if !s.opaque {
				s.frames.advance(b[:n])
			}
		}
		b = b[n:]
	}
	return nil, nil
}

// flush sends what was kept.
func (k *link) flush(f *flow) {
	rest, err := k.send(f, f.rest)
	if f.rest = rest; err != nil {
		k.finish(err)
		return
	}
	if len(rest) > 0 {
		return
	}
	k.loop.buffers.pool.Put(f.kept)
	f.kept = nil
	k.watch()
}

// ended: one end sends nothing more. The server's ends the session. A client's is
// passed on.
func (k *link) ended(f *flow) {
	if f == &k.down {
		k.finish(io.EOF)
		return
	}
	k.client.finished = true
	if err := unix.Shutdown(k.server.fd, unix.SHUT_WR); err != nil {
		k.finish(os.NewSyscallError("shutdown", err))
		return
	}
	k.watch()
}

// finish takes the session out of the loop; a goroutine says the last words.
func (k *link) finish(err error) {
	if k.over {
		return
	}
	k.over = true
	k.unwatch()
	for _, e := range []*end{&k.client, &k.server} {
		k.loop.watch(e, 0) // one that is broken is gone from epoll when it is closed
		k.loop.ends[e.fd] = nil
		if e.in.kept != nil {
			k.loop.buffers.pool.Put(e.in.kept)
		}
	}
	k.loop.links.Add(-1)
	k.s.gate.bound(k.server.fd)
	unix.Close(k.server.fd)
	go k.s.unlinked(k, err)
}

// connection gives a descriptor back to the runtime.
func connection(fd int) (*net.TCPConn, error) {
	f := os.NewFile(uintptr(fd), "session")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}
