package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxWelcome bounds the first message that is read before anything is passed on.
const maxWelcome = 8 << 10

// errNotReady: the server is there and refuses, for the time being, everybody:
// it starts, stops or recovers.
var errNotReady = errors.New("the server does not accept connections yet")

// welcome reads the beginning of the server's answer to a packet: the byte that
// answers a request for encryption, or the first message after the startup
// packet. A server that dies before, or is only starting, so looks to the client
// like none at all: the client is held instead of refused. What was read is
// passed on later, through the gate.
func (s *session) welcome(ctx context.Context, kind packetKind) error {
	s.server.SetReadDeadline(time.Now().Add(s.p.o.StartupTimeout)) // before it can be woken
	defer context.AfterFunc(ctx, s.wakeServer)()
	defer context.AfterFunc(s.gate.ctx, s.wakeServer)()
	read := readMessage
	if kind != packetStartup {
		read = readByte
	}
	msg, err := read(s.server)
	if err != nil {
		return fmt.Errorf("read the first answer of %s: %w", s.gate.backend.Member, err)
	}
	if kind == packetStartup && msg[0] == 'E' && sqlstate(msg) == stateNoPrimary {
		return fmt.Errorf("%s at %s: %w", s.gate.backend.Member, s.gate.backend.Addr, errNotReady)
	}
	s.greeting = msg
	return nil
}

func readByte(r io.Reader) ([]byte, error) {
	b := make([]byte, 1)
	_, err := io.ReadFull(r, b)
	return b, err
}

// wakeServer ends the session goroutine's wait for the server, if it has one.
func (s *session) wakeServer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		s.server.SetReadDeadline(longPast)
	}
}

// readMessage reads a message whole if it is an error of reasonable size, and
// only its head otherwise.
func readMessage(r io.Reader) ([]byte, error) {
	msg := make([]byte, 5)
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(msg[1:])
	if msg[0] != 'E' || size < 4 || size > maxWelcome {
		return msg, nil
	}
	msg = append(msg, make([]byte, size-4)...)
	_, err := io.ReadFull(r, msg[5:])
	return msg, err
}

// sqlstate returns the code of an ErrorResponse, empty when it has none.
func sqlstate(msg []byte) string {
	for rest := msg[min(5, len(msg)):]; len(rest) > 1 && rest[0] != 0; {
		value, after, ok := bytes.Cut(rest[1:], []byte{0})
		if !ok {
			return ""
		}
		if rest[0] == 'C' {
			return string(value)
		}
		rest = after
	}
	return ""
}
