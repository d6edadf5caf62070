package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxRecord is how much one TLS record carries.
const maxRecord = 16 << 10

// secured is a client's connection whose TLS ends here. It is what crypto/tls reads
// from and writes to, so that the gate stands before each system call that sends a
// part of a record, and so that the engine can read without waiting.
type secured struct {
	*net.TCPConn
	raw   syscall.RawConn
	tls   *tls.Conn
	first []byte // read before TLS was recognized by it
	// gate is asked before every write; nil while what is sent is the entrypoint's own.
	gate atomic.Pointer[gate]
	// engine is the descriptor while the engine reads, and -1 otherwise. It belongs to
	// whoever reads.
	engine int
	waited atomic.Bool // to write; crypto/tls may write while it reads
}

// newSecured makes the server's side of TLS over c, of which first was read already.
func newSecured(c *net.TCPConn, conf *tls.Config, first []byte) (*secured, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &secured{TCPConn: c, raw: raw, first: first, engine: -1}
	s.tls = tls.Server(s, conf)
	return s, nil
}

// again says that there is nothing to read yet. For crypto/tls it is a timeout, after
// which reading may go on.
type again struct{}

func (again) Error() string   { return "nothing to read yet" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// Read gives crypto/tls what came from the client.
func (s *secured) Read(b []byte) (int, error) {
	if len(s.first) > 0 {
		n := copy(b, s.first)
		s.first = s.first[n:]
		return n, nil
	}
	if s.engine < 0 {
		return s.TCPConn.Read(b)
	}
	n, err := ignoringEINTR(unix.Read, s.engine, b)
	switch {
	case err == unix.EAGAIN:
		return 0, again{}
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write sends records of crypto/tls, all of b or, with an error, a part of it.
func (s *secured) Write(b []byte) (int, error) {
	sent, failed := 0, error(nil)
	err := s.raw.Write(func(fd uintptr) bool {
		for sent < len(b) {
			if g := s.gate.Load(); g != nil && !g.open() {
				failed = errShut
				return true
			}
			n, err := ignoringEINTR(unix.Write, int(fd), b[sent:])
			if err == unix.EAGAIN {
				s.waited.Store(true)
				return false
			}
			if err != nil {
				failed = err
				return true
			}
			sent += n
		}
		return true
	})
	return sent, errors.Join(err, failed)
}

// take reads what the client sent, as unix.Read does: without waiting.
func (s *secured) take(fd int, b []byte) (int, error) {
	s.engine = fd
	n, err := s.tls.Read(b)
	s.engine = -1
	switch {
	case n > 0:
		return n, nil // what else there was comes again at the next call
	case errors.Is(err, again{}):
		return 0, unix.EAGAIN
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return 0, nil
	}
	return 0, err
}

// ours makes what is sent from now on the entrypoint's own words.
func (s *secured) ours() { s.gate.Store(nil) }

// CloseWrite ends what is sent to the client, for TLS and for TCP.
func (s *secured) CloseWrite() error {
	if err := s.tls.CloseWrite(); err != nil {
		return err
	}
	return s.TCPConn.CloseWrite()
}
