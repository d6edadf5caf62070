package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Load balancers tell the client's address in a header before its first byte: the
// PROXY protocol, versions 1 (a line) and 2 (binary). The parser is our own because not
// one byte behind the header may be read: the engine works on descriptors, and what a
// buffered reader holds back would be lost to it.

const (
	// maxProxyLine is the specification's limit, with the end of the line.
	maxProxyLine = 107
	// maxProxyBody bounds what may follow the head of version 2: addresses, and
	// additions that are skipped.
	maxProxyBody = 4096
)

var proxySignature = []byte("\r\n\r\n\x00\r\nQUIT\n")

// readProxyHeader reads a header. The address is not valid when the header tells of no
// client: a health check of the balancer itself (LOCAL), or a way that it does not know.
func readProxyHeader(r io.Reader) (netip.AddrPort, error) {
	head := make([]byte, len(proxySignature), maxProxyLine)
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return netip.AddrPort{}, err // a health check: says nothing
	}
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read the PROXY header: %w", err)
	}
	switch {
	case bytes.Equal(head, proxySignature):
		return readProxyBody(r)
	case bytes.HasPrefix(head, []byte("PROXY ")):
		return readProxyLine(r, head)
	}
	return netip.AddrPort{}, errors.New("no PROXY header: the entrypoint expects one from this address; " +
		"have the load balancer send it, or take the address out of proxy.proxy_protocol.trusted")
}

// readProxyLine reads the rest of version 1.
func readProxyLine(r io.Reader, line []byte) (none netip.AddrPort, err error) {
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == maxProxyLine {
			return none, fmt.Errorf("PROXY header of more than %d bytes", maxProxyLine)
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return none, fmt.Errorf("read the PROXY header: %w", err)
		}
	}
	words := strings.Split(string(line[:len(line)-2]), " ")
	if words[1] == "UNKNOWN" {
		return none, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return none, errors.New("PROXY header: want TCP4 or TCP6, two addresses and two ports, or UNKNOWN")
	}
	source, err := parseProxySource(words[2], words[4], words[1] == "TCP4")
	if err != nil {
		return none, err
	}
	if _, err := parseProxySource(words[3], words[5], words[1] == "TCP4"); err != nil {
		return none, err
	}
	return source, nil
}

func parseProxySource(address, port string, four bool) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(address)
	n, err2 := strconv.ParseUint(port, 10, 16)
	if err != nil || err2 != nil || a.Is4() != four || a.Zone() != "" {
		return netip.AddrPort{}, errors.New("PROXY header: an address or port that is none")
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// readProxyBody reads version 2 behind its signature.
func readProxyBody(r io.Reader) (none netip.AddrPort, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return none, fmt.Errorf("read the PROXY header: %w", err)
	}
	command, family, size := head[0], head[1], binary.BigEndian.Uint16(head[2:])
	if command != 0x20 && command != 0x21 {
		return none, fmt.Errorf("PROXY header: version and command %#x: want 0x20 (LOCAL) or 0x21 (PROXY)", command)
	}
	if size > maxProxyBody {
		return none, fmt.Errorf("PROXY header of %d bytes: want at most %d", size, maxProxyBody)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return none, fmt.Errorf("read the PROXY header: %w", err)
	}
	if command == 0x20 {
		return none, nil
	}
	return proxySource(family, body)
}

// proxySource finds the client's address in the body of version 2.
func proxySource(family byte, body []byte) (none netip.AddrPort, err error) {
	var length int
	switch family {
	case 0x00, 0x31: // not told, or a Unix socket at the balancer
		return none, nil
	case 0x11:
		length = 4
	case 0x21:
		length = 16
	default:
		return none, fmt.Errorf("PROXY header: address family and transport %#x: want TCP over IPv4 (0x11) or IPv6 (0x21)", family)
	}
	if len(body) < 2*length+4 {
		return none, fmt.Errorf("PROXY header: %d bytes for addresses: want %d", len(body), 2*length+4)
	}
	a, _ := netip.AddrFromSlice(body[:length]) // of a length that it knows
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(body[2*length:])), nil
}

// introduced reads the header of a trusted balancer, and lets its client in by the
// address there; false when the connection is over. Others have no header, and were let
// in before: a header of theirs is a startup packet that makes no sense.
func (s *session) introduced(ctx context.Context) bool {
	if !s.p.o.trusts(s.client.RemoteAddr()) {
		return true
	}
	told := s.within(ctx, func() (ok bool) {
		var err error
		if s.remote, err = readProxyHeader(s.client); err != nil {
			s.badStart(err)
		}
		return err == nil
	})
	return told && s.admit(s.remote.Addr())
}

// from is the client's address, as far as it is known.
func (s *session) from() string {
	if s.remote.IsValid() {
		return s.remote.String()
	}
	return s.client.RemoteAddr().String()
}

// trusts reports whether a peer may tell, and must, for whom it connects.
func (o Options) trusts(peer net.Addr) bool {
	a := addrOf(peer)
	for _, p := range o.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
