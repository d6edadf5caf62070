package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
)

// errInsecure: the client came without what proxy.tls.cafile asks for.
var errInsecure = errors.New("connections without TLS and a client certificate are not accepted")

// answers reports whether a request for encryption is answered here rather than by a
// server: where TLS ends here, and with a denial where the startup packet must be read
// in the clear, to know whom the client wants or to tell it that it is not let in.
func (s *session) answers(pkt packet) bool {
	switch pkt.kind {
	case packetSSL, packetGSSENC:
		return s.p.certs != nil || s.port.Access == BySession || s.over != nil
	case packetDirectTLS:
		return s.p.certs != nil
	}
	return false
}

// encrypt answers a request for encryption; false when the connection is over.
func (s *session) encrypt(pkt packet) bool {
	switch {
	case s.secure != nil:
		s.badStart(errors.New("a request for encryption inside of TLS"))
		return false
	case pkt.kind == packetGSSENC, s.p.certs == nil:
		_, err := s.client.Write([]byte{'N'})
		return err == nil
	case pkt.kind == packetSSL:
		if _, err := s.client.Write([]byte{'S'}); err != nil {
			return false
		}
		return s.handshake(nil)
	}
	return s.handshake(pkt.raw)
}

// handshake makes the connection secure; with first, the client began without asking.
func (s *session) handshake(first []byte) bool {
	sec, err := newSecured(s.client, s.p.certs.current(), first)
	if err != nil {
		return false
	}
	err = sec.tls.Handshake()
	if err == nil && first != nil && sec.tls.ConnectionState().NegotiatedProtocol != protocolName {
		// Else another protocol's client could be made to speak to a database.
		err = fmt.Errorf("direct TLS without the protocol %q in ALPN", protocolName)
	}
	if err != nil {
		if !errors.Is(err, io.EOF) { // as of a client that does not like the certificate before TLS 1.3
			s.port.malformed.Add(1)
		}
		s.p.o.Logger.Debug("a client's TLS handshake failed", "client", s.from(), "error", err)
		return false
	}
	s.secure = sec
	return true
}

// reader is where the client's packets come from before the session proper.
func (s *session) reader() io.Reader {
	if s.secure != nil {
		return s.secure.tls
	}
	return s.client
}

// tell writes the entrypoint's own words to the client.
func (s *session) tell(b []byte) error {
	if s.secure == nil {
		_, err := s.client.Write(b)
		return err
	}
	s.secure.ours()
	_, err := s.secure.tls.Write(b)
	return err
}

// closeWrite ends what is sent to the client.
func (s *session) closeWrite() error {
	var c interface{ CloseWrite() error } = s.client
	if s.secure != nil {
		c = s.secure
	}
	return c.CloseWrite()
}

var _ net.Conn = (*secured)(nil)
