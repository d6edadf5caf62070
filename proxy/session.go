package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
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
	p        *Proxy
	port     *port
	service  *service // of the port
	over     error    // why the client is not let in; it may only cancel
	out      func()   // gives its place back
	client   *net.TCPConn
	secure   *secured       // over client, when its TLS ends here
	remote   netip.AddrPort // of the client, by a trusted balancer; not valid: it told nothing
	patience time.Duration  // how long the client may still be awaited before the session proper

	server  *net.TCPConn
	gate    *gate    // taken; nil before
	account *account // of the gate's member
	opaque  bool     // encrypted: nothing can be said nor learnt
	frames  frames
	key     *issued // nil: the client has none yet
	// greeting was read from the server and not yet passed on.
	greeting []byte
	began    boot.Instant // of forwarding; zero before

	mu     sync.Mutex // guards ending, and server against interrupt
	ending bool       // last words are being said: interrupt keeps off
}

// run serves the client from its first packet to its end, or until an event loop
// has the session. ctx ends when the proxy stops; a session that is forwarded by
// then goes on.
func (s *session) run(ctx context.Context) {
	if !s.serve(ctx) {
		s.done()
	}
}

func (s *session) serve(ctx context.Context) (handed bool) {
	tune(s.client, s.p.o.TCP.Client, 0)
	unwatch := context.AfterFunc(ctx, s.interrupt)
	defer unwatch()
	if !s.negotiate(ctx) {
		return false
	}
	unwatch()
	s.client.SetDeadline(time.Time{})
	s.server.SetDeadline(time.Time{})
	return s.forward()
}

// done is the end of a session, wherever it came.
func (s *session) done() {
	if !s.began.IsZero() {
		s.account.lasted.took(s.p.o.Clock.Now().Sub(s.began))
		if s.opaque {
			s.gate.opaque.Add(-1)
		}
	}
	s.leave()
	if s.client != nil {
		s.client.Close()
	}
	s.port.clients.add(-1)
	s.out()
	s.p.clients.Done()
}

// negotiate brings the session to where both sides only exchange bytes; false
// when it is over before.
func (s *session) negotiate(ctx context.Context) bool {
	if !s.introduced(ctx) {
		return false
	}
	for range maxRounds {
		pkt, ok := s.hear(ctx)
		if !ok {
			return false
		}
		if pkt.kind == packetCancel {
			s.leave()
			s.p.cancel(ctx, s.port, pkt)
			return false
		}
		if s.answers(pkt) {
			continue // it was
		}
		if s.secure == nil && s.p.o.TLS.wantsCertificates() {
			s.refuse(pkt, errInsecure)
			return false
		}
		err := s.over
		if err == nil {
			pkt, err = s.choose(pkt)
		}
		if err == nil {
			err = s.pass(ctx, pkt)
		}
		if err != nil {
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
		s.client.SetWriteDeadline(time.Now().Add(lastWords)) // the client's time may be over by now
		if _, err := s.client.Write(s.greeting); err != nil {
			return false
		}
		s.greeting = nil
	}
	s.badStart(fmt.Errorf("more than %d requests for encryption", maxRounds-1))
	return false
}

// within runs a step that waits for the client, for as long as the client may still be
// awaited: one bound holds for all of its packets and a handshake together. Waiting for
// a server does not count.
func (s *session) within(ctx context.Context, step func() bool) bool {
	began := time.Now()
	s.client.SetDeadline(began.Add(s.patience)) // before the lobby, which may put an end to it
	if ctx.Err() != nil {
		return false
	}
	defer func() { s.patience -= time.Since(began) }()
	defer s.await()()
	return step()
}

// hear reads the client's next packet. A request for encryption that is not for the
// server is answered. False: the connection is over.
func (s *session) hear(ctx context.Context) (pkt packet, ok bool) {
	ok = s.within(ctx, func() bool {
		var err error
		if pkt, err = readPacket(s.reader()); err != nil {
			s.badStart(err)
			return false
		}
		return !s.answers(pkt) || s.encrypt(pkt)
	})
	return pkt, ok
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

// forward copies both ways: the login here, and what follows in an event loop if
// there is one. It reports whether one has the session now.
func (s *session) forward() (handed bool) {
	s.began = s.p.o.Clock.Now()
	s.account.served.Add(1)
	s.account.began.add(s.began)
	s.gate.forwards.Add(1)
	if s.gate.primary {
		s.p.table.forwarded(s.gate)
	}
	if s.opaque {
		s.gate.opaque.Add(1)
	}
	c, err := s.newCopying()
	if err != nil {
		s.gate.forwards.Add(-1)
		return false
	}
	unwatch := context.AfterFunc(s.gate.ctx, s.interrupt)
	defer unwatch()
	switch err = c.run(); {
	case errors.Is(err, errSettled):
		if c.handOver() {
			return true
		}
		c.goOn()
		err = c.run()
	}
	c.finish(err)
	return false
}

// introduction is for the server that the session has.
func (s *session) introduction() *introduction {
	return &introduction{
		primary: s.gate.primary && s.service.writes(),
		issue: func(process uint32, size int) []byte {
			s.key = s.p.cancels.issue(process, size)
			return []byte(s.key.key)
		},
		learn: func(k cancelKey) { s.key.leads(s.gate, k) },
	}
}

// told notes the end of a session when its server's side has come to it: a client
// may take its time to hang up.
func (s *session) told(e lastOfClient, shut bool) {
	s.gate.forwards.Add(-1)
	if !s.gate.primary {
		return
	}
	cut := shut || s.gate.ctx.Err() != nil
	byServer := !e.bye && (!e.finished || s.frames.refused())
	s.p.outages.ended(howEnded(cut, byServer), e.last)
}

// lastOfClient is how far a client had come when its session ended.
type lastOfClient struct {
	bye      bool         // it had sent its farewell
	finished bool         // it had hung up, or its connection had broken
	last     boot.Instant // when something of it was sent to the primary
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

// interrupt wakes whoever waits on either side. Deadlines are set, not the
// connections closed, so that last words can still be said.
func (s *session) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return
	}
	if s.client != nil {
		s.client.SetDeadline(longPast)
	}
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
	if s.server != nil { // a loop has done that itself
		s.server.SetLinger(0)
		s.server.Close()
	}
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
	if err := s.tell(b); err != nil {
		return
	}
	s.closeWrite()
	io.Copy(io.Discard, io.LimitReader(s.client, 1<<20))
}

// leave gives everything back that the session took.
func (s *session) leave() {
	if s.key != nil {
		s.p.cancels.remove(s.key)
		s.key = nil
	}
	s.dropServer()
}

func (s *session) dropServer() {
	s.mu.Lock()
	if s.server != nil {
		if raw, err := s.server.SyscallConn(); err == nil && s.gate != nil {
			raw.Control(func(fd uintptr) { s.gate.bound(int(fd)) })
		}
		s.server.Close()
		s.server = nil
	}
	s.mu.Unlock()
	if s.gate != nil {
		s.p.table.give(s.service, s.gate, s.account)
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
