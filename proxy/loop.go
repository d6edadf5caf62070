package proxy

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loop forwards the sessions that have begun: one thread that sleeps in epoll and
// copies what has come from one end of a link to the other. A session costs no
// goroutine there, and a message no wake-up of one. It is level-triggered, so a
// read that did not fill the buffer need not be followed by one that fails.
//
// Only the loop's own thread touches links; others post what is to be done.
type loop struct {
	epoll, waker int
	buffers      *buffers
	buf          []byte
	ends         []*end // by descriptor; nil where there is none
	links        atomic.Int64

	mu     sync.Mutex
	jobs   []func()
	closed bool
}

// eventsAtOnce is how many events one wait brings at most.
const eventsAtOnce = 256

// readsInARow bounds how long a sender of much keeps the others waiting.
const readsInARow = 4

func newLoop(b *buffers) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an event loop: %w", os.NewSyscallError("epoll_create1", err))
	}
	wk, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wk, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wk)})
	}
	if err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("make an event loop: %w", err)
	}
	return &loop{epoll: ep, waker: wk, buffers: b, buf: make([]byte, chunkSize)}, nil
}

// run serves until stop has been called.
func (l *loop) run() {
	runtime.LockOSThread() // not unlocked: the thread ends with the loop
	events := make([]unix.EpollEvent, eventsAtOnce)
	for {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			panic(os.NewSyscallError("epoll_wait", err)) // the descriptor is ours: it cannot fail
		}
		woken := false
		for i := range max(n, 0) {
			ev := &events[i]
			if int(ev.Fd) == l.waker {
				woken = true
				continue
			}
			if e := l.end(int(ev.Fd)); e != nil {
				e.link.event(e, ev.Events)
			}
		}
		if woken && l.work() {
			return
		}
	}
}

// work does what was posted, and reports whether the loop is to end.
func (l *loop) work() (end bool) {
	var b [8]byte
	unix.Read(l.waker, b[:])
	l.mu.Lock()
	jobs, end := l.jobs, l.closed
	l.jobs = nil
	l.mu.Unlock()
	for _, f := range jobs {
		f()
	}
	return end
}

// post lets the loop's thread do f soon. It reports false when the loop has ended.
func (l *loop) post(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.jobs = append(l.jobs, f)
	l.wake()
	return true
}

func (l *loop) wake() {
	one := [8]byte{1}
	unix.Write(l.waker, one[:]) // full only if it is about to wake anyway
}

// stop ends the loop. All its links must have ended.
func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake()
}

// release gives the descriptors back, after run has returned.
func (l *loop) release() {
	unix.Close(l.epoll)
	unix.Close(l.waker)
}

func (l *loop) end(fd int) *end {
	if fd >= len(l.ends) {
		return nil
	}
	return l.ends[fd]
}

func (l *loop) enter(e *end) {
	for e.fd >= len(l.ends) {
		l.ends = append(l.ends, nil)
	}
	l.ends[e.fd] = e
}

// watch sets what of an end is waited for; of nothing, not even its end, when mask
// is 0.
func (l *loop) watch(e *end, mask uint32) error {
	if mask == e.mask {
		return nil
	}
	op := unix.EPOLL_CTL_MOD
	switch {
	case mask == 0:
		op = unix.EPOLL_CTL_DEL
	case e.mask == 0:
		op = unix.EPOLL_CTL_ADD
	}
	if err := unix.EpollCtl(l.epoll, op, e.fd, &unix.EpollEvent{Events: mask, Fd: int32(e.fd)}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	e.mask = mask
	return nil
}

// rawRead and rawWrite are for descriptors that never block: the runtime need not
// prepare for a thread that sleeps.
func rawRead(fd int, b []byte) (int, error) {
	return rawCall(unix.SYS_READ, fd, b)
}

func rawWrite(fd int, b []byte) (int, error) {
	return rawCall(unix.SYS_WRITE, fd, b)
}

func rawCall(call uintptr, fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// startLoops makes as many event loops as are of use: the servers and the clients of
// a small machine need its processors more.
func (p *Proxy) startLoops() error {
	if p.o.Engine == EngineGoroutines {
		return nil
	}
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		l, err := newLoop(p.buffers)
		if err != nil {
			p.stopLoops()
			return err
		}
		p.loops = append(p.loops, l)
		p.looping.Go(l.run)
	}
	return nil
}

// stopLoops is called when no session is left.
func (p *Proxy) stopLoops() {
	for _, l := range p.loops {
		l.stop()
	}
	p.looping.Wait()
	for _, l := range p.loops {
		l.release()
	}
}

// quietest is the loop with the fewest sessions.
func (p *Proxy) quietest() *loop {
	return slices.MinFunc(p.loops, func(a, b *loop) int { return cmp.Compare(a.links.Load(), b.links.Load()) })
}
