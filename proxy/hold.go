package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// retryConnect is the pause between two attempts at a backend that is allowed
// but does not accept connections.
const retryConnect = 100 * time.Millisecond

var (
	errStopping = errors.New("the entrypoint is shutting down")
	errTooMany  = errors.New("too many connections wait for a server already")
	errGone     = errors.New("the client hung up")
)

// noBackend is the end of a hold: nothing became available in time; full says that
// there was somebody, with all the sessions that the port allows.
type noBackend struct {
	why  string
	full bool
}

func (e noBackend) Error() string { return e.why }

// reach finds a backend, connects and sends it the client's packet. As long as
// that is not possible the client is held: nothing is answered, so that any
// backend can still serve it.
func (s *session) reach(ctx context.Context, pkt packet) error {
	hold, cancel := context.WithTimeoutCause(ctx, s.p.o.HoldTimeout, context.DeadlineExceeded)
	defer cancel()
	held := false
	var waited func(released bool)
	tk := s.service.ticket()
	defer s.p.table.quit(s.service, tk)
	for {
		news := s.p.table.news()
		got := s.p.table.take(s.service, tk)
		g, why := got.gate, got.why
		var retry <-chan time.Time
		if g != nil {
			err := s.connect(hold, got, pkt)
			if err == nil {
				if waited != nil {
					// Before the other waits end: it is the first proof.
					s.p.table.forwarded(g)
					waited(true)
				}
				return nil
			}
			why = err.Error()
			retry = time.After(retryConnect)
			if g.ctx.Err() != nil {
				continue
			}
		}
		if !held {
			if s.p.held.Add(1) > int64(s.p.o.HoldLimit) {
				s.p.held.Add(-1)
				s.p.turnedAway(s.service)
				return errTooMany
			}
			held = true
			defer s.port.holds(s.p.o.Clock)()
			defer s.p.held.Add(-1)
			// Nobody waits for StartupTimeout any more but for us.
			s.client.SetDeadline(time.Time{})
			var gone context.CancelCauseFunc
			hold, gone = context.WithCancelCause(hold)
			defer watchHangup(s.client, func() { gone(errGone) })()
		}
		if waited == nil && !got.full {
			waited = s.p.waits(s.service, why)
		}
		select {
		case <-news:
		case <-tk.woken():
		case <-retry:
		case <-hold.Done():
			if waited != nil {
				waited(false)
			}
			return holdEnd(ctx, hold, noBackend{why, got.full})
		}
	}
}

// waits notes that a client is held, and returns what to call at the end of that;
// nil for a client that only reads: its port may lead to many servers.
func (p *Proxy) waits(s *service, why string) (done func(released bool)) {
	if !s.outage() {
		return nil
	}
	p.table.without(why)
	return p.outages.wait()
}

// turnedAway notes that there was no place for a client to wait.
func (p *Proxy) turnedAway(s *service) {
	if s.outage() {
		p.outages.turnedAway()
	}
}

// holdEnd says why a hold ended.
func holdEnd(ctx, hold context.Context, none noBackend) error {
	switch {
	case ctx.Err() != nil:
		return errStopping
	case errors.Is(context.Cause(hold), errGone):
		return errGone
	default:
		return none
	}
}

// connect dials the gate's backend and sends the packet through the gate. On
// failure the gate is given back.
func (s *session) connect(ctx context.Context, got grant, pkt packet) error {
	g := got.gate
	s.gate, s.account = g, got.account
	began := s.p.o.Clock.Now()
	dial, cancel := context.WithTimeout(ctx, s.p.o.ConnectTimeout)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	c, err := new(net.Dialer).DialContext(dial, "tcp", g.backend.Addr)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Err != nil {
			err = op.Err // what is around it names the address again
		}
		return s.giveUp(ctx, fmt.Errorf("connect to %s at %s: %w", g.backend.Member, g.backend.Addr, err))
	}
	s.mu.Lock()
	s.server = c.(*net.TCPConn)
	s.mu.Unlock()
	tune(s.server, s.p.o.TCP.Server, s.p.o.TCP.serverUserTimeout(g))
	if err := s.deliver(ctx, pkt); err != nil {
		return s.giveUp(ctx, err)
	}
	s.account.connects.took(s.p.o.Clock.Now().Sub(began))
	return nil
}

// giveUp lets go of a backend that could not be used. Unless it was us who
// broke off, others pass it over for a while. The details go to the log; what
// is returned may be told to a client that has not logged in.
func (s *session) giveUp(ctx context.Context, err error) error {
	name := s.gate.backend.Member
	if ctx.Err() == nil && s.gate.ctx.Err() == nil {
		s.account.failed.Add(1)
		s.p.table.refused(name, err)
	}
	s.dropServer()
	return fmt.Errorf("%s does not accept connections", name)
}

// watchHangup calls gone when the client closes its connection; data that
// arrives is left where it is, such as TLS's own farewell. The returned function
// stops it and makes the connection readable again.
func watchHangup(c *net.TCPConn, gone func()) (stop func()) {
	raw, err := c.SyscallConn()
	if err != nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw.Read(func(fd uintptr) bool {
			var b [1]byte
			n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK)
			if err == unix.EAGAIN || err == unix.EINTR {
				return false
			}
			if err == nil && n > 0 && !closedByPeer(int(fd)) {
				return false
			}
			gone()
			return true
		})
	}()
	return func() {
		c.SetReadDeadline(longPast)
		<-done
		c.SetReadDeadline(time.Time{})
	}
}

// refuse tells the client why it gets no backend. A client that asked for
// encryption first is refused that, and told when it goes on in plain text.
func (s *session) refuse(pkt packet, err error) {
	if errors.Is(err, errGone) {
		return
	}
	s.end()
	s.port.refused.Add(1)
	s.p.o.Logger.Debug("a client is turned away", "client", s.from(), "why", err)
	s.client.SetDeadline(time.Now().Add(lastWords))
	for round := 0; pkt.kind == packetSSL || pkt.kind == packetGSSENC; round++ {
		if _, werr := s.client.Write([]byte{'N'}); werr != nil || round == maxRounds {
			return
		}
		var rerr error
		if pkt, rerr = readPacket(s.client); rerr != nil {
			return
		}
	}
	if pkt.kind == packetStartup {
		s.say(s.refusal(err))
	}
}

func (s *session) refusal(err error) []byte {
	var none noBackend
	var denied denial
	switch {
	case errors.As(err, &denied):
		return errorResponse(denied.code, denied.message, denied.hint)
	case errors.Is(err, errTooMany):
		return errorResponse(stateTooMany, fmt.Sprintf("the entrypoint already holds %d connections that wait for a server", s.p.o.HoldLimit),
			"Try again later, or raise hold_limit.")
	case errors.Is(err, errStopping):
		return errorResponse(stateNoPrimary, errStopping.Error(), "Use another entrypoint, or try again.")
	case errors.As(err, &none) && none.full:
		return errorResponse(stateTooMany, fmt.Sprintf("every %s of the port %s has its %d sessions", s.service.wanted(), s.port.Name, s.service.policy.MaxConnections),
			fmt.Sprintf("The entrypoint waited %s for one to end. Try again later, or raise max_connections of the port.", s.p.o.HoldTimeout))
	case errors.Is(err, errInsecure):
		return errorResponse(stateNoEntry, errInsecure.Error(), "Connect with sslmode=require or stricter, and with sslcert and sslkey.")
	case errors.As(err, &none):
		return errorResponse(stateNoPrimary, "the database system has no "+s.service.wanted()+" at the moment",
			fmt.Sprintf("The entrypoint waited %s. Last seen: %s.", s.p.o.HoldTimeout, none.why))
	default:
		return errorResponse(stateTerminated, "terminating connection: "+err.Error(), "Connect again.")
	}
}
