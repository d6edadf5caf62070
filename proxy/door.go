package proxy

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
)

// maxVisitors bounds the addresses that are remembered without having a client now.
const maxVisitors = 16384

// loginBurst is how many seconds' worth of logins an address may have at once.
const loginBurst = 10

// maxDenied bounds the clients that are told at once why they are not let in; others
// beyond that are cut off without a word.
const maxDenied = 64

// deniedPatience is how long such a client may take to say what it wants.
const deniedPatience = 5 * time.Second

// door lets clients in by their addresses.
type door struct {
	clients int     // of one address at once; 0 no limit
	logins  float64 // of one address per second, on average; 0 no limit

	mu       sync.Mutex
	visitors map[netip.Addr]*visitor
	idle     int // of them without a client
}

// visitor is one address. It has as many logins left as it had when it was looked at,
// and what came to that since.
type visitor struct {
	clients int
	left    float64
	at      boot.Instant
}

func newDoor(clients, logins int) *door {
	return &door{clients: clients, logins: float64(logins), visitors: map[netip.Addr]*visitor{}}
}

// addrOf is the address of a peer, not valid for one that has none.
func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// visitorOf is what counts as one address: of IPv6 the network of a host, whose
// addresses are its own to choose.
func visitorOf(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// enter lets a client in; leave ends that, and is never nil. The error is for the client.
func (d *door) enter(addr netip.Addr, now boot.Instant) (leave func(), err error) {
	if d.clients == 0 && d.logins == 0 {
		return func() {}, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.visitors[addr]
	if v == nil {
		d.makeRoom(now)
		v = &visitor{left: d.burst(), at: now}
		d.visitors[addr], d.idle = v, d.idle+1
	}
	d.refill(v, now)
	if d.clients > 0 && v.clients >= d.clients {
		return func() {}, denial{stateTooMany, fmt.Sprintf("the address %s has %d connections already", addr, v.clients),
			"Close some, or raise max_clients_per_address."}
	}
	if d.logins > 0 {
		if v.left < 1 {
			return func() {}, denial{stateTooMany, fmt.Sprintf("the address %s connects more often than %g times a second", addr, d.logins),
				"Keep connections open, or raise login_rate_per_address."}
		}
		v.left--
	}
	if v.clients == 0 {
		d.idle--
	}
	v.clients++
	return func() { d.leave(v) }, nil
}

func (d *door) leave(v *visitor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v.clients--; v.clients == 0 {
		d.idle++
	}
}

func (d *door) burst() float64 { return d.logins * loginBurst }

func (d *door) refill(v *visitor, now boot.Instant) {
	if since := now.Sub(v.at); since > 0 {
		v.left, v.at = min(d.burst(), v.left+since.Seconds()*d.logins), now
	}
}

// makeRoom forgets addresses when there are too many: those of which nothing need be
// remembered, and if that is not enough, all that have no client now. The rate of a
// flood from so many addresses is not limited by this; max_clients is what bounds it.
func (d *door) makeRoom(now boot.Instant) {
	for _, all := range []bool{false, true} {
		if d.idle < maxVisitors {
			return
		}
		maps.DeleteFunc(d.visitors, func(_ netip.Addr, v *visitor) bool {
			if v.clients > 0 {
				return false
			}
			d.refill(v, now)
			gone := all || v.left >= d.burst()
			if gone {
				d.idle--
			}
			return gone
		})
	}
}

// letIn counts a client at its port and its address, or says why it is not let in. Of a
// client whose balancer does not tell its address only the port has a limit.
func (p *Proxy) letIn(pt *port, addr netip.Addr) (leave func(), err error) {
	if n := pt.inside.Add(1); pt.MaxClients > 0 && n > int64(pt.MaxClients) {
		pt.inside.Add(-1)
		return nil, denial{stateTooMany, fmt.Sprintf("the port %s has %d clients already", pt.Name, pt.MaxClients),
			"Try again later, or raise max_clients of the port."}
	}
	out := func() {}
	if addr.IsValid() {
		if out, err = p.door.enter(visitorOf(addr), p.o.Clock.Now()); err != nil {
			pt.inside.Add(-1)
			return nil, err
		}
	}
	return func() { out(); pt.inside.Add(-1) }, nil
}

// admit lets the client in, by its own address: one that a balancer speaks for comes
// here when the balancer has told it. A client that is not let in is told why, unless too
// many are being told: then it is cut off, and admit returns false. A request of such a
// client to cancel is still passed on: it makes room.
func (s *session) admit(addr netip.Addr) bool {
	leave, err := s.p.letIn(s.port, addr)
	if err == nil {
		s.out = leave
		return true
	}
	select {
	case s.p.denials <- struct{}{}:
		s.over, s.patience = err, min(s.patience, deniedPatience)
		s.out = func() { <-s.p.denials }
		return true
	default:
	}
	s.p.o.Logger.Debug("a client is cut off", "port", s.port.Name, "client", s.from(), "why", err)
	s.port.refused.Add(1)
	s.client.SetLinger(0)
	s.client.Close()
	return false
}
