package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/route"
)

// How long a client may take for the last words said to it, and to hang up.
const (
	lastWords  = time.Second
	afterClose = 5 * time.Second
)

// maxRounds bounds the encryption requests before the startup packet: SSL and
// GSSAPI, each refused once.
const maxRounds = 3

// longPast is a deadline that wakes whoever waits on a connection.
var longPast = time.Unix(1, 0)

// session is one client and, once it has one, its backend. Its goroutine owns
// all fields; interrupt, from elsewhere, touches only the connections.
type session struct {
	p      *Proxy
	port   *port
	client *net.TCPConn

	server  *net.TCPConn
	gate    *gate    // taken; nil before
	account *account // of the gate's member
	opaque  bool     // encrypted: nothing can be said nor learnt
	frames  frames
	key     cancelKey
	// greeting was read from the server and not yet passed on.
	greeting []byte

	mu     sync.Mutex // guards ending, and server against interrupt
	ending bool       // last words are being said: interrupt keeps off
}

// run serves the client from its first packet to its end. ctx ends when the
// proxy stops; a session that is forwarded by then goes on.
func (s *session) run(ctx context.Context) {
	defer s.client.Close()
	defer s.leave()
	tune(s.client, clientKeepAlive, 0)
	unwatch := context.AfterFunc(ctx, s.interrupt)
	defer unwatch()
	if !s.negotiate(ctx) {
		return
	}
	unwatch()
	s.client.SetDeadline(time.Time{})
	s.server.SetDeadline(time.Time{})
	s.forward()
}

// negotiate brings the session to where both sides only exchange bytes; false
// when it is over before.
func (s *session) negotiate(ctx context.Context) bool {
	for round := 0; round < maxRounds; round++ {
		s.client.SetDeadline(time.Now().Add(s.p.o.StartupTimeout))
		if ctx.Err() != nil {
			return false
		}
		pkt, err := readPacket(s.client)
		if err != nil {
			s.badStart(err)
			return false
		}
		if pkt.kind == packetCancel {
			s.leave()
			s.p.cancel(ctx, s.port.access, pkt)
			return false
		}
		if err := s.pass(ctx, pkt); err != nil {
			s.refuse(pkt, err)
			return false
		}
		if pkt.kind != packetSSL && pkt.kind != packetGSSENC {
			s.opaque = pkt.kind == packetDirectTLS
			return true
		}
		// The one byte that answers a request for encryption: only a denial
		// leaves anything to negotiate.
		if s.greeting[0] != 'N' {
			s.opaque = true
			return true
		}
		if _, err := s.client.Write(s.greeting); err != nil {
			return false
		}
		s.greeting = nil
	}
	s.badStart(fmt.Errorf("more than %d requests for encryption", maxRounds-1))
	return false
}

// pass sends a packet to the backend, finding one first if need be. A backend
// that was lost between an encryption request, which it denied, and the startup
// packet is replaced: the client has seen nothing of it but the denial.
func (s *session) pass(ctx context.Context, pkt packet) error {
	if s.server != nil {
		err := s.deliver(ctx, pkt)
		if err == nil {
			return nil
		}
		s.dropServer()
	}
	return s.reach(ctx, pkt)
}

// deliver sends a packet to the backend that is connected, and waits for the
// beginning of its answer.
func (s *session) deliver(ctx context.Context, pkt packet) error {
	if err := s.send(pkt.raw); err != nil {
		return fmt.Errorf("send the startup packet to %s: %w", s.gate.backend.Member, err)
	}
	if pkt.kind == packetDirectTLS {
		return nil // what was read is too little to be answered
	}
	return s.welcome(ctx, pkt.kind)
}

func (s *session) send(b []byte) error {
	pipe, err := newPipe(s.gate, s.p.buffers, s.client, s.server, nil)
	if err != nil {
		return err
	}
	pipe.count = &s.account.toServer
	return pipe.send(b)
}

// forward copies both ways until the session ends.
func (s *session) forward() {
	began := s.p.o.Clock.Now()
	s.account.served.Add(1)
	s.account.began.add(began)
	defer func() { s.account.lasted.took(s.p.o.Clock.Now().Sub(began)) }()
	s.gate.forwards.Add(1)
	if s.gate.primary {
		s.p.table.forwarded(s.gate)
	}
	var sent func([]byte)
	if s.opaque {
		s.gate.opaque.Add(1)
		defer s.gate.opaque.Add(-1)
	} else {
		s.frames.onKey = func(k cancelKey) { s.key = k; s.p.cancels.add(k, s.gate) }
		sent = s.frames.advance
	}
	var intro func([]byte) (int, error)
	if s.gate.primary && s.port.access == route.ReadWrite && !s.opaque {
		intro = s.introduction()
	}
	down, err := newPipe(s.gate, s.p.buffers, s.server, s.client, sent)
	up, err2 := newPipe(s.gate, s.p.buffers, s.client, s.server, nil)
	if err != nil || err2 != nil {
		s.gate.forwards.Add(-1)
		return
	}
	up.fromClient = true
	up.count, down.count = &s.account.toServer, &s.account.toClient
	up.delay, down.delay = &s.port.delay, &s.port.delay
	unwatch := context.AfterFunc(s.gate.ctx, s.interrupt)
	defer unwatch()
	upDone := make(chan error, 1)
	var upEnded atomic.Bool
	go func() {
		err := s.half(up, s.server)
		upEnded.Store(true)
		upDone <- err
	}()
	if intro != nil {
		down.check = intro
		intro(s.greeting)
	}
	if err = down.send(s.greeting); err == nil {
		err = down.run()
	}
	// Before the client learns of the end: it may be back at once.
	s.told(up, upEnded.Load(), errors.Is(err, errShut))
	if err == nil {
		err = s.client.CloseWrite()
	}
	if err == nil {
		// The server has ended the session; the client need only hang up.
		s.client.SetReadDeadline(time.Now().Add(afterClose))
	} else {
		s.interrupt()
	}
	err = errors.Join(err, <-upDone)
	switch {
	case s.gate.ctx.Err() != nil || errors.Is(err, errShut):
		s.breakOff()
	case errors.Is(err, errStandby):
		s.turnBack()
	}
}

// told notes the end of a session when its server's side has come to it: a client
// may take its time to hang up.
func (s *session) told(up *pipe, clientFirst, shut bool) {
	s.gate.forwards.Add(-1)
	if !s.gate.primary {
		return
	}
	cut := shut || s.gate.ctx.Err() != nil
	byServer := !up.bye.Load() && (!clientFirst || s.frames.refused())
	s.p.outages.ended(howEnded(cut, byServer), boot.Instant(up.last.Load()))
}

func howEnded(cut, byServer bool) sessionEnd {
	switch {
	case cut:
		return endByUs
	case byServer:
		return endByServer
	}
	return endByClient
}

// half copies one direction. Its end is passed on as the end of that direction
// only; its failure ends the other one too.
func (s *session) half(p *pipe, dst *net.TCPConn) error {
	err := p.run()
	if err == nil {
		err = dst.CloseWrite()
	}
	if err != nil {
		s.interrupt()
	}
	return err
}

// interrupt wakes whoever waits on either side. Deadlines are set, not the
// connections closed, so that last words can still be said.
func (s *session) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return
	}
	s.client.SetDeadline(longPast)
	if s.server != nil {
		s.server.SetDeadline(longPast)
	}
}

// end makes interrupt keep off from now on.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
}

// breakOff ends a session whose gate is shut. What was not yet sent to the
// server is thrown away with a reset; the client is told, if it stands where it
// would understand.
func (s *session) breakOff() {
	s.end()
	s.port.broken.Add(1)
	s.server.SetLinger(0)
	s.server.Close()
	if s.opaque || !s.frames.atBoundary() {
		return
	}
	why := "the primary lost its lease"
	if cause := context.Cause(s.gate.ctx); cause != nil {
		why = cause.Error()
	}
	s.say(errorResponse(stateTerminated, "terminating connection: "+why,
		"Connect again: the same address leads to the new primary."))
}

// say sends last words and waits a moment for the client to hang up: closing
// with unread input would reset the connection and could take the words along.
func (s *session) say(b []byte) {
	s.client.SetDeadline(time.Now().Add(lastWords))
	if _, err := s.client.Write(b); err != nil {
		return
	}
	s.client.CloseWrite()
	io.Copy(io.Discard, io.LimitReader(s.client, 1<<20))
}

// leave gives everything back that the session took.
func (s *session) leave() {
	if s.key != "" {
		s.p.cancels.remove(s.key, s.gate)
		s.key = ""
	}
	s.dropServer()
}

func (s *session) dropServer() {
	s.mu.Lock()
	if s.server != nil {
		s.server.Close()
		s.server = nil
	}
	s.mu.Unlock()
	if s.gate != nil {
		s.gate.sessions.Add(-1)
		s.account.sessions.add(-1)
		s.gate, s.account = nil, nil
	}
}

func (s *session) badStart(err error) {
	var ne net.Error
	if errors.Is(err, io.EOF) || errors.As(err, &ne) {
		return // hung up, reset, or said nothing in time
	}
	s.end()
	s.port.malformed.Add(1)
	s.say(errorResponse(stateBadProtocol, err.Error(), ""))
}
