package app

import (
	"context"
	"net"
	"slices"
	"time"
)

// moveInterval is how often the REST port looks whether its address is still
// one of this host's.
const moveInterval = 3 * time.Second

// follow keeps the port where its name leads. A host that loses its network and
// gets it back may have another address then, as containers do; what listens on
// the old one would never be asked again. An address given as a number stays as
// it is: it works again when it comes back.
func (p *restPort) follow(ctx context.Context) error {
	tick := time.NewTicker(moveInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			p.moveAlong(ctx, net.InterfaceAddrs)
		}
	}
}

// moveAlong listens anew where the name leads now, if that is here and the
// address listened on is not any more.
func (p *restPort) moveAlong(ctx context.Context, own func() ([]net.Addr, error)) {
	p.mu.Lock()
	address, l := p.address, p.listener
	p.mu.Unlock()
	host, _, err := net.SplitHostPort(address)
	if err != nil || l == nil || host == "" || net.ParseIP(host) != nil {
		return
	}
	here, err := own()
	if err != nil {
		return
	}
	mine := func(ip net.IP) bool {
		return slices.ContainsFunc(here, func(a net.Addr) bool {
			n, ok := a.(*net.IPNet)
			return ok && n.IP.Equal(ip)
		})
	}
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok || at.IP.IsUnspecified() || mine(at.IP) {
		return
	}
	limit, cancel := context.WithTimeout(ctx, moveInterval)
	defer cancel()
	leads, err := net.DefaultResolver.LookupIPAddr(limit, host)
	if err != nil || !slices.ContainsFunc(leads, func(a net.IPAddr) bool { return mine(a.IP) }) {
		return // not yet
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.address != address || p.listener != l {
		return // a reload was first
	}
	if err := p.listen(address); err != nil {
		p.log.Warn("this host has another address now, and the REST interface cannot listen there; trying again", "error", err)
	}
}
