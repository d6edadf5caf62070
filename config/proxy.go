package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Proxy is the entrypoint for clients.
type Proxy struct {
	Listen         string        // read-write, follows the leader; default 0.0.0.0:5000, "" when switched off
	ListenReplicas string        // read-only; default 0.0.0.0:5001, "" when switched off
	Stats          string        // statistics; default 127.0.0.1:7000, "" when switched off
	HoldTimeout    time.Duration // how long a client waits while nobody leads; default 30 s
	HoldLimit      int           // how many may wait; default 1000
	ConnectTimeout time.Duration // to a server; default 5 s

	LoginTimeout         time.Duration // for a client's first packets, a TLS handshake included; default 60 s
	MaxClientsPerAddress int           // at all ports; 0: no limit
	LoginRatePerAddress  int           // per second, at all ports; 0: no limit
	TCP                  ProxyTCP
	Engine               string // events or goroutines: what forwards sessions; default events
	TLS                  ProxyTLS
	Trusted              []netip.Prefix // load balancers that send PROXY headers

	// PortRules are those of the two ports above, and what the others take that do
	// not say anything else.
	PortRules
	Ports []ProxyPort
}

// PortRules are what a port does with its clients.
type PortRules struct {
	MaxClients     int // at once; 0: no limit
	MaxConnections int // sessions with one member at once; 0: no limit

	MaxLag     int64         // bytes that a replica may lag; 0: no limit
	MaxLagTime time.Duration // for which it may lag; 0: no limit
	SlowStart  time.Duration // to a member's whole share, when it is back; 0: at once
	Zone       string        // members of which are preferred; "" for none
}

// ProxyPort is a further port of the entrypoint.
type ProxyPort struct {
	Name      string // default: access and port number, as any-5002
	Listen    string // host:port
	Access    string // read-write, read-only, any, sync or session
	Separator string // before the target in the name of a database, with session; default @
	Member    string // the only one to use; "" for all
	Fallback  bool   // to the leader, when nobody else may be used; default for read-only and any without Member
	PortRules
}

// The words for what a port is for.
const (
	accessReadWrite = "read-write"
	accessReadOnly  = "read-only"
	accessAny       = "any"
	accessSync      = "sync"
	accessSession   = "session" // what each client's startup packet says
)

func ruleFields() []field {
	return []field{within("max_clients", 0, 1<<20), within("max_connections", 0, 1<<20), unit("max_lag", "B", 0), duration("max_lag_time"), str("zone"), duration("slow_start")}
}

func proxyFields() []field {
	fields := []field{
		hostOrOff("listen"), hostOrOff("listen_replicas"), hostOrOff("stats"),
		duration("hold_timeout"), num("hold_limit", 0), duration("connect_timeout"), oneOf("engine", "events", "goroutines"), section("tcp", tcpFields()...),
		section("tls", tlsFields()...), section("proxy_protocol", lst("trusted")),
		duration("login_timeout"), within("max_clients_per_address", 0, 1<<20), within("login_rate_per_address", 0, 1<<20),
	}
	fields = append(fields, ruleFields()...)
	port := []field{host("listen"), str("name"), oneOf("access", accessReadWrite, accessReadOnly, accessAny, accessSync, accessSession), str("separator"), str("member"), yesno("fallback")}
	return append(fields, field{name: "ports", typ: tItems, fields: append(port, ruleFields()...)})
}

func decodeProxy(d reader, r *report) *Proxy {
	addr := func(key, def string) string {
		if n := d.n.get(key); n != nil && n.kind == boolean {
			return ""
		}
		_, port, _ := splitHostPort(def, "")
		return address(d.text(key, def), port)
	}
	p := &Proxy{
		Listen:               addr("listen", "0.0.0.0:5000"),
		ListenReplicas:       addr("listen_replicas", "0.0.0.0:5001"),
		Stats:                addr("stats", "127.0.0.1:7000"),
		HoldTimeout:          d.duration("hold_timeout", 30*time.Second),
		HoldLimit:            int(min(d.int("hold_limit", "", 1000), 1<<31)),
		ConnectTimeout:       d.duration("connect_timeout", 5*time.Second),
		LoginTimeout:         d.duration("login_timeout", 60*time.Second),
		MaxClientsPerAddress: int(d.int("max_clients_per_address", "", 0)),
		LoginRatePerAddress:  int(d.int("login_rate_per_address", "", 0)),
		TCP:                  decodeTCP(d.sub("tcp"), r),
		Engine:               d.text("engine", "events"),
		TLS:                  decodeProxyTLS(d.sub("tls")),
		Trusted:              networks(d.texts("proxy_protocol.trusted")),
		PortRules:            decodeRules(d, "proxy", PortRules{}, r),
	}
	if list := d.n.get("ports"); list != nil {
		for i, item := range list.items {
			if item.kind == mapping {
				p.Ports = append(p.Ports, decodePort(reader{item}, fmt.Sprintf("proxy.ports[%d]", i), p.PortRules, r))
			}
		}
		r.distinct(p, list)
	}
	if p.LoginTimeout == 0 {
		r.problem("proxy.login_timeout", d.n.get("login_timeout"), "gives a client no time at all", "write how long it may take for its first packets, such as 60s")
	}
	if p.Listen == "" && p.ListenReplicas == "" && len(p.Ports) == 0 {
		r.problem("proxy.listen", d.n.get("listen"), "the entrypoint has no port for clients",
			"give an address to proxy.listen, proxy.listen_replicas or one of proxy.ports")
	}
	return p
}

// minLagTime: members are asked once a second, and less cannot be told apart from that.
const minLagTime = 3 * time.Second

// decodeRules reads the rules of a port; what it does not say is as in def.
func decodeRules(d reader, path string, def PortRules, r *report) PortRules {
	p := PortRules{
		MaxClients:     int(d.int("max_clients", "", int64(def.MaxClients))),
		MaxConnections: int(d.int("max_connections", "", int64(def.MaxConnections))),
		MaxLag:         d.int("max_lag", "B", def.MaxLag),
		MaxLagTime:     d.duration("max_lag_time", def.MaxLagTime),
		SlowStart:      d.duration("slow_start", def.SlowStart),
		Zone:           d.text("zone", def.Zone),
	}
	if p.MaxLagTime > 0 && p.MaxLagTime < minLagTime && d.has("max_lag_time") {
		r.problem(path+".max_lag_time", d.n.get("max_lag_time"), "is too short: the entrypoint hears of a member about once a second",
			"write at least "+minLagTime.String()+", or 0 for no limit")
	}
	return p
}

func decodePort(d reader, path string, def PortRules, r *report) ProxyPort {
	p := ProxyPort{
		Listen: d.text("listen", ""), Name: d.text("name", ""), Access: d.word("access", ""), Member: d.text("member", ""),
		PortRules: decodeRules(d, path, def, r),
	}
	_, number, err := splitHostPort(p.Listen, "")
	_, _, wrong := splitHostPort(p.Listen, "1") // which was reported
	switch {
	case p.Listen == "":
		r.problem(path+".listen", d.n, "is required", "give the address host:port that this port is to have")
	case err != nil && wrong == nil:
		r.problem(path+".listen", d.n.get("listen"), "has no port", "write host:port, such as 0.0.0.0:5002")
	default:
		p.Listen = address(p.Listen, "")
	}
	if p.Access == "" && p.Member == "" {
		r.problem(path+".access", d.n, "is required", "write read-write, read-only, any, sync or session; or name a member")
	}
	if p.Access == "" {
		p.Access = accessAny
	}
	if p.Name == "" {
		p.Name = p.Access + "-" + number
	}
	p.Fallback = d.flag("fallback", p.Member == "" && (p.Access == accessReadOnly || p.Access == accessAny || p.Access == accessSession))
	if p.Access == accessSession {
		p.Separator = d.text("separator", "@")
	}
	if s := d.n.get("separator"); s != nil {
		r.separator(path+".separator", s, p.Access)
	}
	if p.Access == accessReadWrite {
		r.readWriteOnly(d, path)
	}
	return p
}

// separator reports one that could be part of a target, or that nobody looks for.
func (r *report) separator(path string, n *node, access string) {
	switch text := n.asWritten(); {
	case access != accessSession:
		r.problem(path, n, "has meaning with access session only", "leave it out, or write access: session")
	case text == "" || len(text) > 8 || strings.ContainsAny(strings.ToLower(text), "abcdefghijklmnopqrstuvwxyz0123456789"):
		r.problem(path, n, "does not tell a target from the name of a database", "write one to eight characters that are no letters or digits, such as @")
	}
}

// readWriteOnly reports what has no meaning where only the primary will do.
func (r *report) readWriteOnly(d reader, path string) {
	for _, key := range []string{"fallback", "max_lag", "max_lag_time", "zone", "slow_start"} {
		if d.has(key) {
			r.problem(path+"."+key, d.n.get(key), "has no meaning with access read-write: such a port leads to the primary only",
				"leave it out, or give the port another access")
		}
	}
}

// distinct reports names that do not tell a port from others.
func (r *report) distinct(p *Proxy, list *node) {
	taken := map[string]string{accessReadWrite: "the port of proxy.listen", accessReadOnly: "the port of proxy.listen_replicas"}
	listens := map[string]string{p.Listen: "proxy.listen", p.ListenReplicas: "proxy.listen_replicas", p.Stats: "proxy.stats"}
	i := 0
	for at, item := range list.items {
		if item.kind != mapping {
			continue
		}
		port, path := p.Ports[i], "proxy.ports["+strconv.Itoa(at)+"]"
		i++
		if bad := strings.Trim(port.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."); bad != "" || len(port.Name) > 64 {
			r.problem(path+".name", item.get("name"), "is no name of a port", "write up to 64 letters, digits, - _ or .")
		} else if other := taken[port.Name]; other != "" {
			r.problem(path+".name", orItem(item, "name"), strconv.Quote(port.Name)+" is the name of "+other, "give another name: it tells ports apart in statistics")
		}
		if other := listens[port.Listen]; other != "" && !slices.Contains([]string{"", "0"}, portOf(port.Listen)) {
			r.problem(path+".listen", item.get("listen"), "is the address of "+other, "give each port its own")
		}
		taken[port.Name], listens[port.Listen] = path, path
	}
}

// orItem is the node of a key, or what should have it.
func orItem(item *node, key string) *node {
	if n := item.get(key); n != nil {
		return n
	}
	return item
}

func portOf(addr string) string {
	_, port, err := splitHostPort(addr, "")
	if err != nil {
		return ""
	}
	return port
}
