// Package netcut cuts the processes of one network namespace off from some
// addresses, for a drill: packets to and from them are dropped in both
// directions, also those of connections that stand.
//
// It is a table of nftables whose addresses are elements with a timeout. The
// kernel takes them out when their time is over, so that the cut ends by itself
// whatever becomes of those who made it. It needs CAP_NET_ADMIN.
//
// Who shares the namespace is cut off too: a container has one of its own, the
// members of `matriarch up` have not.
package netcut

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tableName is the one table; a second cut replaces the first.
const tableName = "matriarch_drill"

// Resolve turns host:port texts into addresses, all that each host has.
func Resolve(ctx context.Context, hosts []string) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	for _, h := range hosts {
		host, port, err := net.SplitHostPort(h)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%s: the port is not a number from 0 to 65535", h)
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, err
		}
		for _, ip := range ips {
			if a := netip.AddrPortFrom(ip.Unmap(), uint16(n)); !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

// Cut drops what goes to and comes from the addresses for a time.
func Cut(targets []netip.AddrPort, within time.Duration) error {
	if len(targets) == 0 {
		return errors.New("there are no addresses to cut off from")
	}
	if within < time.Second {
		return fmt.Errorf("a cut of %s is too short", within)
	}
	c := &nftables.Conn{}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
	c.AddTable(t) // so that there is one to delete
	c.DelTable(t)
	c.AddTable(t)
	out := c.AddChain(&nftables.Chain{Table: t, Name: "sent", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRaw})
	in := c.AddChain(&nftables.Chain{Table: t, Name: "received", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter})
	for _, f := range families() {
		elements := f.elements(targets, within)
		if len(elements) == 0 {
			continue
		}
		set := &nftables.Set{Table: t, Name: f.name, KeyType: f.key, Concatenation: true, HasTimeout: true}
		if err := c.AddSet(set, elements); err != nil {
			return fmt.Errorf("nftables: %w", err)
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: out, Exprs: f.drop(set, f.destination, 2)})
		c.AddRule(&nftables.Rule{Table: t, Chain: in, Exprs: f.drop(set, f.source, 0)})
	}
	return flush(c)
}

func flush(c *nftables.Conn) error {
	if err := c.Flush(); errors.Is(err, unix.EPERM) {
		return errors.New("cutting off from the network needs root with CAP_NET_ADMIN")
	} else if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

// Mend ends a cut; without one there is nothing to do.
func Mend() error {
	c := &nftables.Conn{}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
	c.AddTable(t)
	c.DelTable(t)
	return flush(c)
}

// family is IPv4 or IPv6 for the rules.
type family struct {
	name                string
	proto               byte
	key                 nftables.SetDatatype
	source, destination uint32 // offsets in the network header
	width               uint32
	has                 func(netip.Addr) bool
}

func families() []family {
	return []family{
		{"cut4", unix.NFPROTO_IPV4, nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService), 12, 16, 4, netip.Addr.Is4},
		{"cut6", unix.NFPROTO_IPV6, nftables.MustConcatSetType(nftables.TypeIP6Addr, nftables.TypeInetService), 8, 24, 16, netip.Addr.Is6},
	}
}

func (f family) elements(targets []netip.AddrPort, within time.Duration) []nftables.SetElement {
	var out []nftables.SetElement
	for _, a := range targets {
		if f.has(a.Addr()) {
			// Every part of a concatenation fills whole registers of four bytes.
			key := binary.BigEndian.AppendUint16(a.Addr().AsSlice(), a.Port())
			out = append(out, nftables.SetElement{Key: append(key, 0, 0), Timeout: within})
		}
	}
	return out
}

// drop drops TCP packets whose address and port, at these offsets, are in the set.
func (f family) drop(set *nftables.Set, address, port uint32) []expr.Any {
	const register, narrow = 1, 8 // the same storage: a register of 16 bytes is four of 4
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{f.proto}},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: address, Len: f.width},
		&expr.Payload{DestRegister: narrow + f.width/4, Base: expr.PayloadBaseTransportHeader, Offset: port, Len: 2},
		&expr.Lookup{SourceRegister: register, SetName: set.Name, SetID: set.ID},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}
