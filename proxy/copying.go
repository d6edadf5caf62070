package proxy

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

// copying moves a session's bytes in two goroutines. Every session begins so; one
// whose engine is an event loop is given to it when the server is ready for the
// first query.
type copying struct {
	s        *session
	up, down *pipe
	upDone   chan error
	upEnded  atomic.Bool
	settling atomic.Bool
	started  bool
}

func (s *session) newCopying() (*copying, error) {
	var sent func([]byte)
	if !s.opaque {
		sent = s.frames.advance
	}
	down, err := newPipe(s.gate, s.p.buffers, s.server, s.client, sent)
	up, err2 := newPipe(s.gate, s.p.buffers, s.client, s.server, nil)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	up.fromClient = true
	up.count, down.count = &s.account.toServer, &s.account.toClient
	up.delay, down.delay = &s.port.delay, &s.port.delay
	c := &copying{s: s, up: up, down: down, upDone: make(chan error, 1)}
	if s.secure != nil {
		s.secure.gate.Store(s.gate)
		up.from, down.to = s.secure, s.secure
		return c, nil // crypto/tls may have to wait, which an event loop must not
	}
	if len(s.p.loops) > 0 {
		down.settled = func() bool { return s.opaque || s.frames.started && s.frames.atBoundary() }
	}
	return c, nil
}

// run copies until the server's direction ends (nil), something fails, or, if that
// was asked for, the session has begun (errSettled): then nobody copies any more,
// and nothing that was read is unsent.
func (c *copying) run() error {
	s := c.s
	if !c.started {
		c.started = true
		if !s.opaque {
			c.down.check = s.introduction().check
			c.down.check(s.greeting)
		}
		go c.copyUp()
		if err := c.down.send(s.greeting); err != nil {
			return err
		}
		s.greeting = nil
		if s.opaque && c.down.settled != nil {
			return c.settle()
		}
	}
	err := c.down.run()
	if errors.Is(err, errSettled) {
		return c.settle()
	}
	return err
}

// copyUp copies the client's direction. Its end is passed on as the end of that
// direction only; its failure ends the other one too.
func (c *copying) copyUp() {
	err := c.up.run()
	if err == nil {
		err = c.s.server.CloseWrite()
	}
	if err != nil && !c.settling.Load() {
		c.s.interrupt()
	}
	c.upEnded.Store(true)
	c.upDone <- err
}

// settle ends the client's direction between two reads. What it ended with instead,
// if it had ended, is dealt with as ever.
func (c *copying) settle() error {
	c.settling.Store(true)
	c.s.client.SetReadDeadline(longPast)
	err := <-c.upDone
	c.settling.Store(false)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() && c.s.gate.ctx.Err() == nil {
		c.s.client.SetReadDeadline(time.Time{})
		if c.s.gate.ctx.Err() == nil { // else the deadline of its end was taken back
			c.upEnded.Store(false)
			return errSettled
		}
	}
	c.upDone <- err
	if err != nil {
		c.s.interrupt()
		return err
	}
	c.down.settled = nil
	return c.down.run() // the client has ended its direction
}

// goOn is for a session that no event loop could take.
func (c *copying) goOn() {
	c.down.settled = nil
	go c.copyUp()
}

// finish ends what is left of the session after run.
func (c *copying) finish(err error) {
	s := c.s
	// Before the client learns of the end: it may be back at once.
	s.told(lastOfClient{c.up.bye.Load(), c.upEnded.Load(), boot.Instant(c.up.last.Load())}, errors.Is(err, errShut))
	if err == nil {
		err = s.closeWrite()
	}
	if err == nil {
		// The server has ended the session; the client need only hang up.
		s.client.SetReadDeadline(time.Now().Add(afterClose))
	} else {
		s.interrupt()
	}
	err = errors.Join(err, <-c.upDone)
	switch {
	case s.gate.ctx.Err() != nil || errors.Is(err, errShut):
		s.breakOff()
	case errors.Is(err, errStandby):
		s.turnBack()
	}
}

// handOver gives the session to an event loop.
func (s *session) handOver() bool {
	l := s.p.quietest()
	k, err := newLink(s, l)
	if err != nil {
		return false
	}
	s.mu.Lock()
	client, server := s.client, s.server
	s.client, s.server = nil, nil
	s.mu.Unlock()
	client.Close() // what the link has of them stays open
	server.Close()
	return l.post(k.begin)
}

// unlinked ends a session that its event loop gives back.
func (s *session) unlinked(k *link, err error) {
	defer s.done()
	client, cerr := connection(k.client.fd)
	server, serr := connection(k.server.fd)
	s.mu.Lock()
	s.client, s.server = client, server
	s.mu.Unlock()
	shut := s.gate.ctx.Err() != nil || errors.Is(err, errShut)
	s.told(lastOfClient{k.bye, k.client.finished, k.last}, shut)
	if cerr != nil || serr != nil {
		return // no descriptors for last words: both connections are closed
	}
	switch {
	case shut:
		s.breakOff()
	case errors.Is(err, io.EOF) && s.client.CloseWrite() == nil:
		// The server has ended the session; the client need only hang up.
		s.client.SetReadDeadline(time.Now().Add(afterClose))
		io.Copy(io.Discard, s.client)
	}
}
