package proxy

import (
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/route"
)

// port is one listener, what its clients may do, and what became of them.
type port struct {
	Port
	setting  string           // where its address is configured, for the texts
	service  *service         // for whoever says nothing else
	services []*service       // all; one, unless each session says whom it wants
	ln       *net.TCPListener // nil until it is opened

	clients   gauge
	inside    atomic.Int64 // clients but those that are only told that there is no place
	accepted  atomic.Int64
	began     rate
	held      gauge        // clients that wait for a backend
	refused   atomic.Int64 // clients that got none
	malformed atomic.Int64 // clients that do not speak the protocol
	broken    atomic.Int64 // sessions that were ended because their backend was lost
	hold      timing       // waits, whatever came of them
	delay     timing       // of chunks, from having been read to having been sent
}

func newPort(o Options, c Port, setting string) *port {
	pt := &port{Port: c, setting: setting, hold: newTiming(holdBuckets), delay: newTiming(delayBuckets)}
	for _, p := range c.policies(o) {
		pt.services = append(pt.services, newService(c.Name, p))
	}
	pt.service = pt.services[0]
	return pt
}

// reads reports whether some of the clients may be led to replicas.
func (pt *port) reads() bool {
	return slices.ContainsFunc(pt.services, func(s *service) bool { return !s.writes() })
}

// Port configures one port for clients.
type Port struct {
	// Name is what the port is called in statistics; unique.
	Name   string
	Listen string // host:port
	Access route.Access
	Member string // the only one to use; empty for all

	// Separator stands before a target in the name of a database, with BySession.
	Separator string

	MaxClients     int // at once; 0 no limit
	MaxConnections int // sessions with one member at once; 0 no limit

	// These are not for read-write.
	MaxLag     uint64        // limit of replay lag in bytes; 0 none
	MaxLagTime time.Duration // and in time
	Zone       string        // prefer members whose tag says so
	SlowStart  time.Duration // to a member's whole share, when it is back; 0: at once
	NoFallback bool          // refuse rather than use the leader
}

// policies are what the port's clients may want, first what they want if they do not
// say.
func (c Port) policies(o Options) []route.Policy {
	p := route.Policy{Access: c.Access, Member: c.Member, Zone: c.Zone, MaxLag: c.MaxLag, MaxLagTime: c.MaxLagTime, MaxConnections: c.MaxConnections, SlowStart: c.SlowStart,
		NoFallback: c.NoFallback, MaxWordAge: max(route.DefaultWordAge, 3*o.AskInterval)}
	if c.Access != BySession {
		return []route.Policy{p}
	}
	var out []route.Policy
	for _, a := range []route.Access{route.ReadWrite, route.ReadOnly, route.Any, route.Sync} {
		p.Access = a
		if a == route.Sync {
			p.NoFallback = true
		}
		out = append(out, p)
	}
	return out
}

// The names of the two ports that have settings of their own.
const (
	portReadWrite = string(route.ReadWrite)
	portReadOnly  = string(route.ReadOnly)
)

// checkPorts says what is wrong with the further ports.
func checkPorts(ports []Port) (errs []error) {
	names := []string{portReadWrite, portReadOnly}
	for i, c := range ports {
		at := fmt.Sprintf("proxy: ports[%d]", i)
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			errs = append(errs, fmt.Errorf("%s: listen %q: want host:port, such as 0.0.0.0:5002: %w", at, c.Listen, err))
		}
		if c.Name == "" || slices.Contains(names, c.Name) {
			errs = append(errs, fmt.Errorf("%s: name %q: want one that no other port has", at, c.Name))
		}
		if !slices.Contains([]route.Access{route.ReadWrite, route.ReadOnly, route.Any, route.Sync, BySession}, c.Access) {
			errs = append(errs, fmt.Errorf("%s: access %q: want read-write, read-only, any, sync or session", at, c.Access))
		}
		if c.MaxLagTime < 0 || c.SlowStart < 0 || c.MaxConnections < 0 || c.MaxClients < 0 {
			errs = append(errs, fmt.Errorf("%s: max_lag_time %s, slow_start %s, max_connections %d or max_clients %d is negative", at, c.MaxLagTime, c.SlowStart, c.MaxConnections, c.MaxClients))
		}
		names = append(names, c.Name)
	}
	return errs
}

// newPorts makes the ports that are configured, not opened yet.
func newPorts(o Options) []*port {
	var out []*port
	if o.Listen != "" {
		out = append(out, newPort(o, Port{Name: portReadWrite, Listen: o.Listen, Access: route.ReadWrite, MaxClients: o.MaxClients, MaxConnections: o.MaxConnections}, "listen"))
	}
	if o.ListenReplicas != "" {
		out = append(out, newPort(o, Port{Name: portReadOnly, Listen: o.ListenReplicas, Access: route.ReadOnly,
			MaxLag: o.MaxLag, MaxLagTime: o.MaxLagTime, Zone: o.Zone, SlowStart: o.SlowStart, MaxClients: o.MaxClients, MaxConnections: o.MaxConnections, NoFallback: o.NoLeaderFallback}, "listen_replicas"))
	}
	for i, c := range o.Ports {
		out = append(out, newPort(o, c, fmt.Sprintf("ports[%d]", i)))
	}
	return out
}

// taken counts a client that was accepted.
func (pt *port) taken(at boot.Instant) {
	pt.accepted.Add(1)
	pt.began.add(at)
	pt.clients.add(1)
}

// holds counts a client that waits, until done is called.
func (pt *port) holds(c clock.Clock) (done func()) {
	since := c.Now()
	pt.held.add(1)
	return func() {
		pt.held.add(-1)
		pt.hold.took(c.Now().Sub(since))
	}
}
