package guard

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The second byte of every message is the version of the protocol in which it is
// written. A guard outlives the agent that started it, so it may be older than the
// one that takes it over, never the other way round: whoever reads understands all
// versions from the oldest on. testdata/protocol.txt keeps what each looks like.
const (
	protocolVersion = 1
	oldestProtocol  = 1
)

const (
	headSize   = 40
	maxText    = 216
	maxMessage = headSize + maxText
)

// kind is the first byte of a message.
type kind byte

const (
	kindArm    kind = 'a' // agent: a = soft, b = hard, text = the session's handle
	kindDisarm kind = 'd' // agent
	kindReady  kind = 'r' // guard: flags = abilities, text = what was refused
	kindAck    kind = 'k' // guard: nonce
	kindFenced kind = 'f' // guard: a = began, b = took, count, dying, text = error
	kindKernel kind = 'n' // guard: flags = state of the kernel-timed fence, text = trouble

	// On the handover socket.
	kindHello  kind = 'h' // guard: text = its release; it serves who connected from now on
	kindTrust  kind = 't' // guard: a = soft, b = hard, count = postmaster, nonce = its start, text = the session's handle
	kindRefuse kind = 'z' // guard: it has an agent, or flags = it is stopping
	kindEnd    kind = 'e' // agent: kill the server now, see to the session, and end
	kindAccess kind = 's' // agent: with a descriptor of the store's access

	// kindReleased tells that the session of a lease is over, by the helper.
	kindReleased kind = 'l' // guard: flags bit 0 = it is, text = what went wrong

	// kindWatchdog tells how the watchdog device stands: flags, a = timeout, nonce =
	// of the arm that it answers, text = trouble. An arm carries flags, count =
	// milliseconds from hard to the reset (0: no device), dying = those between two
	// renewals.
	kindWatchdog kind = 'w'
)

var kinds = []kind{kindArm, kindDisarm, kindReady, kindAck, kindFenced, kindKernel,
	kindHello, kindTrust, kindRefuse, kindEnd, kindAccess, kindReleased, kindWatchdog}

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

// decode reads a message; it refuses versions that it does not know, and wrong
// lengths.
func decode(buf []byte) (message, error) {
	if len(buf) < headSize || len(buf) > maxMessage {
		return message{}, fmt.Errorf("guard message of %d bytes, want %d to %d", len(buf), headSize, maxMessage)
	}
	if buf[1] < oldestProtocol || buf[1] > protocolVersion {
		return message{}, fmt.Errorf("guard protocol version %d, want %d to %d", buf[1], oldestProtocol, protocolVersion)
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
	if !slices.Contains(kinds, m.kind) {
		return message{}, fmt.Errorf("guard message of unknown kind %q", buf[0])
	}
	if len(buf) > headSize {
		m.text = string(buf[headSize:])
	}
	return m, nil
}
