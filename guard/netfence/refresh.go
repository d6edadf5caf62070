package netfence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// renewal is the hot path: one transaction in a buffer that was made before, on
// a socket that stays open. It allocates nothing: the guard's memory is locked
// and its garbage collector rests.
type renewal struct {
	fd        int
	flush     []byte // empties the set
	batch     []byte // puts a new element in the place of the old one
	timeoutAt int    // where the timeout stands in batch
	reply     [4096]byte
}

func newRenewal(table string, port uint16) (*renewal, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open nfnetlink: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind nfnetlink: %w", err)
	}
	r := &renewal{fd: fd}
	begin := message(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	end := message(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	empty := message(nftMessage(unix.NFT_MSG_DELSETELEM), netlink.Acknowledge, unix.NFPROTO_INET, 0, elements(table, 0, false))
	add := message(nftMessage(unix.NFT_MSG_NEWSETELEM), netlink.Acknowledge|netlink.Create, unix.NFPROTO_INET, 0, elements(table, port, true))
	r.flush = join(begin, empty, end)
	r.batch = join(begin, empty, add, end)
	r.timeoutAt = len(r.batch) - len(end) - 8 // the last attribute of add
	return r, nil
}

func nftMessage(kind int) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | uint16(kind) }

// message is a netlink message with an nfgenmsg head.
func message(kind uint16, flags netlink.HeaderFlags, family byte, resource uint16, attributes []byte) []byte {
	data := append([]byte{family, unix.NFNETLINK_V0, byte(resource >> 8), byte(resource)}, attributes...)
	m := netlink.Message{Data: data, Header: netlink.Header{
		Length: uint32(16 + len(data)), Type: netlink.HeaderType(kind), Flags: netlink.Request | flags, Sequence: 1}}
	b, err := m.MarshalBinary()
	if err != nil {
		panic("netfence: a message of our own making: " + err.Error())
	}
	return b
}

// elements are the attributes that name the set and, with one, its element, whose
// timeout comes last.
func elements(table string, port uint16, one bool) []byte {
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.String(unix.NFTA_SET_ELEM_LIST_TABLE, table)
	e.String(unix.NFTA_SET_ELEM_LIST_SET, setName)
	if one {
		e.Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(list *netlink.AttributeEncoder) error {
			list.Nested(unix.NFTA_LIST_ELEM, func(el *netlink.AttributeEncoder) error {
				el.Nested(unix.NFTA_SET_ELEM_KEY, func(key *netlink.AttributeEncoder) error {
					key.Bytes(unix.NFTA_DATA_VALUE, portKey(port))
					return nil
				})
				el.Uint64(unix.NFTA_SET_ELEM_TIMEOUT, 0)
				return nil
			})
			return nil
		})
	}
	b, err := e.Encode()
	if err != nil {
		panic("netfence: attributes of our own making: " + err.Error())
	}
	return b
}

func join(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// renew puts an element with this timeout in the place of the old one.
func (r *renewal) renew(timeout time.Duration) error {
	binary.BigEndian.PutUint64(r.batch[r.timeoutAt:], uint64(timeout.Milliseconds()))
	return r.transact(r.batch)
}

// empty takes the element out: the port is closed at once.
func (r *renewal) empty() error { return r.transact(r.flush) }

var errSilent = errors.New("the kernel did not answer")

// transact sends a batch. The kernel has carried it out, or refused it as a
// whole, when the call returns; its answers wait to be read.
func (r *renewal) transact(batch []byte) error {
	_, _, _ = r.answers()                              // left over from a call that was broken off
	if _, err := unix.Write(r.fd, batch); err != nil { // whom nobody is named for goes to the kernel
		return fmt.Errorf("send: %w", err)
	}
	n, refused, err := r.answers()
	switch {
	case err != nil:
		return err
	case refused != 0:
		return refused
	case n == 0:
		return errSilent
	}
	return nil
}

// answers reads what waits: how many acknowledgements, and the first refusal.
func (r *renewal) answers() (acks int, refused unix.Errno, err error) {
	for {
		n, err := unix.Read(r.fd, r.reply[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return acks, refused, nil
		case err != nil:
			return acks, refused, fmt.Errorf("receive: %w", err)
		}
		for b := r.reply[:n]; len(b) >= 20; {
			size := int(binary.NativeEndian.Uint32(b))
			if binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR {
				if code := int32(binary.NativeEndian.Uint32(b[16:])); code == 0 {
					acks++
				} else if refused == 0 {
					refused = unix.Errno(-code)
				}
			}
			size = (size + 3) &^ 3
			if size < 16 || size > len(b) {
				break
			}
			b = b[size:]
		}
	}
}
