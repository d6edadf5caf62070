package proxy

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The codes that stand where a startup packet has its protocol version.
const (
	codeCancel = 80877102
	codeSSL    = 80877103
	codeGSSENC = 80877104
)

// maxStartup is PostgreSQL's own limit for a startup packet.
const maxStartup = 10000

// tlsHandshake is the first byte of a TLS connection that begins without an
// SSLRequest (libpq's sslnegotiation=direct).
const tlsHandshake = 0x16

// packet is a client's packet before the session proper, kept as it was sent.
type packet struct {
	raw  []byte
	kind packetKind
}

type packetKind int

const (
	packetStartup packetKind = iota
	packetCancel
	packetSSL
	packetGSSENC
	packetDirectTLS
)

// readPacket reads one packet and not one byte more: what follows an SSLRequest
// belongs to whoever answers it.
func readPacket(r io.Reader) (packet, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return packet{}, err // a port scan or a health check: says nothing
	}
	if head[0] == tlsHandshake {
		return packet{raw: head[:1], kind: packetDirectTLS}, nil
	}
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return packet{}, fmt.Errorf("read the startup packet's head: %w", err)
	}
	size, code := binary.BigEndian.Uint32(head[:4]), binary.BigEndian.Uint32(head[4:])
	if size < 8 || size > maxStartup {
		return packet{}, fmt.Errorf("startup packet of %d bytes: want 8 to %d; this port speaks PostgreSQL's protocol", size, maxStartup)
	}
	p := packet{raw: make([]byte, size)}
	copy(p.raw, head[:])
	if _, err := io.ReadFull(r, p.raw[8:]); err != nil {
		return packet{}, fmt.Errorf("read a startup packet of %d bytes: %w", size, err)
	}
	return p, p.classify(code)
}

func (p *packet) classify(code uint32) error {
	switch {
	case code == codeCancel:
		// Process id and a key of 4 bytes; protocol 3.2 allows up to 256.
		if n := len(p.raw) - 12; n < 4 || n > 256 {
			return fmt.Errorf("cancel request with a key of %d bytes: want 4 to 256", n)
		}
		p.kind = packetCancel
	case code == codeSSL && len(p.raw) == 8:
		p.kind = packetSSL
	case code == codeGSSENC && len(p.raw) == 8:
		p.kind = packetGSSENC
	case code>>16 == 3:
		p.kind = packetStartup
	default:
		return fmt.Errorf("startup packet of %d bytes with code %d.%d: want protocol 3", len(p.raw), code>>16, code&0xffff)
	}
	return nil
}

// cancelKey is process id and secret key as the server gave them and as a
// cancel request repeats them.
type cancelKey string

func (p packet) cancelKey() cancelKey { return cancelKey(p.raw[8:]) }

// id is the key's process id. A key has at least eight bytes.
func (k cancelKey) id() uint32 { return binary.BigEndian.Uint32([]byte(k[:4])) }

func cancelRequest(k cancelKey) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(k)))
	return append(binary.BigEndian.AppendUint32(b, codeCancel), k...)
}

// SQLSTATEs that the entrypoint itself answers with.
const (
	stateNoPrimary   = "57P03" // cannot_connect_now
	stateTooMany     = "53300" // too_many_connections
	stateTerminated  = "57P01" // admin_shutdown
	stateBadProtocol = "08P01" // protocol_violation
	stateBadValue    = "22023" // invalid_parameter_value
	stateUnsupported = "0A000" // feature_not_supported
	stateNoEntry     = "28000" // invalid_authorization_specification
)

// errorResponse encodes a FATAL ErrorResponse.
func errorResponse(sqlstate, message, hint string) []byte {
	b := []byte{'E', 0, 0, 0, 0}
	field := func(t byte, s string) {
		if s != "" {
			b = append(append(append(b, t), s...), 0)
		}
	}
	field('S', "FATAL")
	field('V', "FATAL")
	field('C', sqlstate)
	field('M', message)
	field('H', hint)
	b = append(b, 0)
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-1))
	return b
}
