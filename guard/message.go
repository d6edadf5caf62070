package guard

import (
	"encoding/binary"
	"fmt"
)

// protocolVersion is the second byte of every message. A guard may be older
// than the agent that talks to it, never the other way round.
const protocolVersion = 1

const (
	headSize   = 40
	maxText    = 216
	maxMessage = headSize + maxText
)

// kind is the first byte of a message.
type kind byte

const (
	kindArm    kind = 'a' // agent: a = soft, b = hard
	kindDisarm kind = 'd' // agent
	kindReady  kind = 'r' // guard: flags = abilities, text = what was refused
	kindAck    kind = 'k' // guard: nonce
	kindFenced kind = 'f' // guard: a = began, b = took, count, dying, text = error
	kindKernel kind = 'n' // guard: flags = state of the kernel-timed fence, text = trouble

	// kindWatchdog tells how the watchdog device stands: flags, a = timeout, nonce =
	// of the arm that it answers, text = trouble. An arm carries flags, count =
	// milliseconds from hard to the reset (0: no device), dying = those between two
	// renewals.
	kindWatchdog kind = 'w'
)

// message is the one shape of all messages: fixed head, optional text. The
// socket keeps message boundaries.
type message struct {
	kind  kind
	flags uint16
	count uint32
	nonce uint64
	a, b  int64
	dying uint32
	text  string
}

// encode writes m into buf, which holds at least maxMessage bytes, and returns
// the used part. Text beyond the limit is cut.
func (m message) encode(buf []byte) []byte {
	clear(buf[:headSize])
	buf[0], buf[1] = byte(m.kind), protocolVersion
	le := binary.LittleEndian
	le.PutUint16(buf[2:], m.flags)
	le.PutUint32(buf[4:], m.count)
	le.PutUint64(buf[8:], m.nonce)
	le.PutUint64(buf[16:], uint64(m.a))
	le.PutUint64(buf[24:], uint64(m.b))
	le.PutUint32(buf[32:], m.dying)
	n := copy(buf[headSize:maxMessage], m.text)
	return buf[:headSize+n]
}

// decode reads a message; it refuses other versions and wrong lengths.
func decode(buf []byte) (message, error) {
	if len(buf) < headSize || len(buf) > maxMessage {
		return message{}, fmt.Errorf("guard message of %d bytes, want %d to %d", len(buf), headSize, maxMessage)
	}
	if buf[1] != protocolVersion {
		return message{}, fmt.Errorf("guard protocol version %d, want %d", buf[1], protocolVersion)
	}
	le := binary.LittleEndian
	m := message{
		kind:  kind(buf[0]),
		flags: le.Uint16(buf[2:]),
		count: le.Uint32(buf[4:]),
		nonce: le.Uint64(buf[8:]),
		a:     int64(le.Uint64(buf[16:])),
		b:     int64(le.Uint64(buf[24:])),
		dying: le.Uint32(buf[32:]),
	}
	switch m.kind {
	case kindArm, kindDisarm, kindReady, kindAck, kindFenced, kindKernel, kindWatchdog:
	default:
		return message{}, fmt.Errorf("guard message of unknown kind %q", buf[0])
	}
	if len(buf) > headSize {
		m.text = string(buf[headSize:])
	}
	return m, nil
}
