package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/boot"
)

// chunkSize is how much one read takes at most. Buffers come from a pool and
// are held only while they hold bytes: an idle session has none.
const chunkSize = 32 << 10

// sampleEvery is how many chunks go by for each whose way through here is timed.
const sampleEvery = 16

// farewell is the message with which clients end a session, usually sent alone.
// What comes after it is no loss of the server.
var farewell = [5]byte{'X', 0, 0, 0, 4}

// buffers lends chunks.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{sync.Pool{New: func() any { return new([chunkSize]byte) }}}
}

// errSettled: a pipe ended where it was asked to, with nothing read and unsent.
var errSettled = errors.New("the session has begun")

// pipe copies one direction of a session. It works on raw descriptors, because
// the gate must be asked before each system call that sends, also before the
// second half of a write that had to wait: net.TCPConn's own loop would send the
// rest after a process was stopped, however late.
type pipe struct {
	gate    *gate
	buffers *buffers
	// sent sees the bytes that went out, in order; nil when nobody looks.
	sent func([]byte)
	// check sees the bytes that were read before any of them goes out; with an error
	// only so many still do. nil when nobody looks.
	check func([]byte) (int, error)

	src, dst syscall.RawConn
	// from, to: the TLS of that side ends here; nil where there is none.
	from, to *secured
	buf      *[chunkSize]byte
	data     []byte // what remains to be sent
	err      error
	// fromClient: last is kept, when something was sent to a primary last (a
	// boot.Instant), and bye, that the client's farewell was read.
	fromClient bool
	last       atomic.Int64
	bye        atomic.Bool

	// settled is asked after each chunk whether to end here; nil: never.
	settled func() bool
	// keep is asked after a failed write whether to keep what is unsent; nil: no.
	keep *atomic.Bool

	count  *atomic.Int64 // of the bytes that went out; nil when nobody counts
	delay  *timing       // of a part of the chunks; nil when nobody measures
	chunks uint64
	waited bool // for the destination, since it was last reset
}

func newPipe(g *gate, b *buffers, src, dst *net.TCPConn, sent func([]byte)) (*pipe, error) {
	s, err := src.SyscallConn()
	if err != nil {
		return nil, err
	}
	d, err := dst.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &pipe{gate: g, buffers: b, src: s, dst: d, sent: sent}, nil
}

// run copies until the source ends (nil) or something fails. After errShut
// nothing more was sent.
func (p *pipe) run() error {
	read, write := p.read, p.write // one closure each, not one per chunk
	if p.buf != nil {              // what was kept
		err := p.flush(write)
		p.giveBack()
		if err != nil {
			return err
		}
	}
	for {
		if err := p.src.Read(read); err != nil {
			return err
		}
		if p.err != nil {
			if errors.Is(p.err, io.EOF) {
				return nil
			}
			return p.err
		}
		if p.check != nil {
			if n, err := p.check(p.data); err != nil {
				p.data = p.data[:n]
				err = errors.Join(err, p.flush(write))
				p.giveBack()
				return err
			}
		}
		timed := p.delay != nil && p.chunks%sampleEvery == 0
		p.chunks++
		var read boot.Instant
		if timed {
			read, p.waited = p.gate.clock.Now(), false
		}
		err := p.flush(write)
		if err != nil && p.keep != nil && p.keep.Load() {
			return err // what is unsent stays with the buffer
		}
		p.giveBack()
		if err != nil {
			return err
		}
		if p.settled != nil && p.settled() {
			return errSettled
		}
		if timed && !p.waited { // for a slow receiver
			p.delay.took(p.gate.clock.Now().Sub(read))
		}
	}
}

// send sends b through the gate.
func (p *pipe) send(b []byte) error {
	p.data, p.err = b, nil
	return p.flush(p.write)
}

// flush sends the data; write is p.write.
func (p *pipe) flush(write func(uintptr) bool) error {
	if p.to != nil {
		return p.seal()
	}
	return errors.Join(p.dst.Write(write), p.err)
}

// seal sends the data in TLS records. The gate is asked before a record is made, too:
// after one that was made and not sent, the client could not read last words.
func (p *pipe) seal() error {
	for len(p.data) > 0 {
		if !p.gate.open() {
			return errShut
		}
		part := p.data[:min(len(p.data), maxRecord)]
		p.to.waited.Store(false)
		if _, err := p.to.tls.Write(part); err != nil {
			return err
		}
		p.waited = p.waited || p.to.waited.Load()
		p.went(part)
		p.data = p.data[len(part):]
	}
	return nil
}

// went notes what was sent.
func (p *pipe) went(b []byte) {
	if p.count != nil {
		p.count.Add(int64(len(b)))
	}
	if p.sent != nil {
		p.sent(b)
	}
}

func (p *pipe) giveBack() {
	if p.buf != nil {
		p.buffers.pool.Put(p.buf)
		p.buf = nil
	}
}

// read is called when the source may be readable; false waits for it.
func (p *pipe) read(fd uintptr) bool {
	p.buf = p.buffers.pool.Get().(*[chunkSize]byte)
	n, err := p.take(int(fd), p.buf[:])
	switch {
	case err == unix.EAGAIN:
		p.giveBack()
		return false
	case err != nil:
		p.giveBack()
		p.err = err
	case n == 0:
		p.giveBack()
		p.err = io.EOF
	default:
		p.data, p.err = p.buf[:n], nil
		if p.fromClient && n == len(farewell) && [len(farewell)]byte(p.data) == farewell {
			p.bye.Store(true)
		}
	}
	return true
}

func (p *pipe) take(fd int, b []byte) (int, error) {
	if p.from != nil {
		return p.from.take(fd, b)
	}
	return ignoringEINTR(unix.Read, fd, b)
}

// write is called when the destination may be writable; false waits for it.
func (p *pipe) write(fd uintptr) bool {
	for len(p.data) > 0 {
		now, open := p.gate.pass()
		if !open {
			p.err = errShut
			return true
		}
		if p.fromClient {
			p.last.Store(int64(now))
		}
		n, err := ignoringEINTR(unix.Write, int(fd), p.data)
		if err == unix.EAGAIN {
			p.waited = true
			return false
		}
		if err != nil {
			p.err = err
			return true
		}
		p.went(p.data[:n])
		p.data = p.data[n:]
	}
	return true
}

func ignoringEINTR(f func(int, []byte) (int, error), fd int, b []byte) (int, error) {
	for {
		n, err := f(fd, b)
		if err != unix.EINTR {
			return n, err
		}
	}
}
