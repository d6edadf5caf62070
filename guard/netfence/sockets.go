package netfence

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// TCP states, as the kernel numbers them.
const (
	tcpEstablished = 1
	tcpFinWait1    = 4
	tcpCloseWait   = 8
	tcpLastAck     = 9
	tcpClosing     = 11
)

// carriers are the states in which a socket may still send data.
const carriers = 1<<tcpEstablished | 1<<tcpFinWait1 | 1<<tcpCloseWait | 1<<tcpLastAck | 1<<tcpClosing

// The parts of struct inet_diag_req_v2 and struct inet_diag_msg.
const (
	requestSize   = 56
	idSize        = 48
	requestIDAt   = 8
	messageSize   = 72
	messageIDAt   = 4
	messageWQueue = 60
	messageInode  = 68
)

// socket is a TCP socket of the port.
type socket struct {
	family, state byte
	id            [idSize]byte
	unsent        uint32 // what the peer has not acknowledged; an end counts as one
	orphan        bool   // no process has it
}

// closing: the process has closed it, or is dead.
func (s socket) closing() bool {
	return s.state == tcpFinWait1 || s.state == tcpLastAck || s.state == tcpClosing
}

// holdsData: it may send data yet. One that only has its end to tell may tell it:
// that is how clients hear of it.
func (s socket) holdsData() bool { return !s.closing() || s.unsent > 1 }

// sockets asks the kernel about TCP sockets.
type sockets struct{ conn *netlink.Conn }

func openSockets() (*sockets, error) {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	return &sockets{conn}, nil
}

func (s *sockets) close() { _ = s.conn.Close() }

func request(family byte, states uint32) []byte {
	b := make([]byte, requestSize)
	b[0], b[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], states)
	return b
}

// list returns the sockets of the port that may send data.
func (s *sockets) list(port uint16) ([]socket, error) {
	var out []socket
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		req := request(family, carriers)
		binary.BigEndian.PutUint16(req[requestIDAt:], port)
		replies, err := s.conn.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request | netlink.Dump}, Data: req})
		if family == unix.AF_INET6 && errors.Is(err, unix.ENOENT) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("list the sockets of port %d: %w", port, err)
		}
		for _, r := range replies {
			if d := r.Data; len(d) >= messageSize && binary.BigEndian.Uint16(d[messageIDAt:]) == port {
				out = append(out, socket{family: d[0], state: d[1], id: [idSize]byte(d[messageIDAt:]),
					unsent: binary.NativeEndian.Uint32(d[messageWQueue:]), orphan: binary.NativeEndian.Uint32(d[messageInode:]) == 0})
			}
		}
	}
	return out, nil
}

// destroy ends a socket and throws away what it has not sent. One that is gone
// is no error.
func (s *sockets) destroy(k socket) error {
	req := request(k.family, ^uint32(0))
	copy(req[requestIDAt:], k.id[:])
	_, err := s.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DESTROY, Flags: netlink.Request | netlink.Acknowledge}, Data: req})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// probe reports whether the kernel can destroy sockets, by asking it to destroy
// one that cannot exist.
func (s *sockets) probe() error {
	// A peer with port 0.
	err := s.destroy(socket{family: unix.AF_INET})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return errors.New("the kernel cannot destroy sockets (CONFIG_INET_DIAG_DESTROY), so a fence could not be lifted safely")
	}
	return err
}

// rounds bounds purge: new sockets cannot come while the port sends nothing.
const rounds = 10

// purge destroys the sockets of the port that may still send data; with orphans
// only those that no process has. The destroying of each is the proof: older
// kernels empty the queue of an orphan but go on listing it.
func purge(port uint16, orphans bool) error {
	s, err := openSockets()
	if err != nil {
		return err
	}
	defer s.close()
	done := make(map[[idSize]byte]bool)
	for range rounds {
		all, err := s.list(port)
		if err != nil {
			return err
		}
		left := 0
		for _, k := range all {
			if !k.holdsData() || done[k.id] || orphans && !(k.orphan && k.closing()) {
				continue
			}
			left++
			if err := s.destroy(k); err != nil {
				return fmt.Errorf("destroy a socket of port %d: %w", port, err)
			}
			done[k.id] = true
		}
		if left == 0 {
			return nil
		}
	}
	return fmt.Errorf("port %d gets new sockets faster than they can be destroyed", port)
}
