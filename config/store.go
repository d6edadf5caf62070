package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decodeStore finds the one store section and reads it.
func decodeStore(d reader, f *File, r *report) StoreSection {
	var present []string
	for _, name := range storeNames() {
		if d.has(name) {
			present = append(present, name)
		}
	}
	if len(present) > 1 {
		places := make([]string, len(present))
		for i, name := range present {
			places[i] = name + " (" + origin(d.n, name) + ")"
		}
		r.problem(present[1], d.n.get(present[1]), "only one store may be configured, but there are "+strings.Join(places, ", "),
			"keep the one that holds this cluster's keys")
		return StoreSection{}
	}
	if len(present) == 0 {
		r.onlyForeign(d)
		return StoreSection{}
	}
	name := present[0]
	s := d.sub(name)
	switch name {
	case "zookeeper":
		return decodeZooKeeper(s, r)
	case "etcd", "etcd3":
		return decodeEtcd(s, name, r)
	case "raft":
		r.warn(WarnLegacy, "raft", s.n, "the embedded store is used instead, on the same addresses; it does not read the old one's files")
		return StoreSection{Kind: "embedded", Embedded: decodeRaft(s, f, r)}
	}
	return StoreSection{Kind: "embedded", Embedded: decodeEmbedded(s, f, r)}
}

// onlyForeign refuses a configuration that relies on a store we cannot use.
func (r *report) onlyForeign(d reader) {
	for _, name := range foreignStores() {
		if d.has(name) {
			r.problem(name, d.n.get(name), "this store is not supported yet",
				"configure one of zookeeper, etcd3, etcd or embedded")
		}
	}
}

// hosts brings a section's addresses into the form host:port.
func hosts(d reader, section, defaultPort string, r *report) []string {
	defaultPort = d.text("port", defaultPort)
	key := "hosts"
	if len(d.texts(key)) == 0 {
		key = "host"
	}
	var out []string
	for _, h := range d.texts(key) {
		host, port, err := splitHostPort(h, defaultPort)
		if err != nil {
			r.problem(section+"."+key, newText(h, origin(d.n, key)), err.Error(), "write host:port")
			continue
		}
		out = append(out, joinHostPort(host, port))
	}
	return out
}

func decodeEtcd(d reader, name string, r *report) StoreSection {
	s := StoreSection{
		Kind: "etcd3", LegacyEtcd: name == "etcd",
		Protocol: d.word("protocol", "http"),
		Username: d.text("username", ""), Password: d.secret("password"),
		SRV: d.text("srv", ""), SRVSuffix: d.text("srv_suffix", ""),
		TLS: TLS{CA: d.text("cacert", ""), Cert: d.text("cert", ""), Key: d.text("key", ""), Verify: d.flag("verify", true)},
	}
	s.Hosts = hosts(d, name, "2379", r)
	if u := d.text("url", ""); u != "" && len(s.Hosts) == 0 {
		etcdURL(&s, u, name, d, r)
	}
	if len(s.Hosts) == 0 && s.SRV == "" && !d.has("url") && !d.has("host") && !d.has("hosts") {
		r.problem(name, d.n, "no address of etcd is given", "write hosts: [host:2379, ...]")
	}
	pair(d, name, "cert", "key", r)
	return s
}

// etcdURL reads the address in the form http://user:password@host:port.
func etcdURL(s *StoreSection, text, name string, d reader, r *report) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		r.problem(name+".url", d.n.get("url"), "is not an address", "write http://host:2379 or https://host:2379")
		return
	}
	s.Protocol, s.Hosts = u.Scheme, []string{address(u.Host, "2379")}
	if u.User != nil && s.Username == "" {
		password, _ := u.User.Password()
		s.Username, s.Password = u.User.Username(), Secret(password)
	}
}

// pair reports a certificate without its key, or the other way round.
func pair(d reader, section, cert, key string, r *report) {
	if d.has(key) && !d.has(cert) {
		r.problem(section+"."+key, d.n.get(key), "a key without its certificate", "give "+section+"."+cert+" too")
	}
}

func decodeZooKeeper(d reader, r *report) StoreSection {
	s := StoreSection{
		Kind: "zookeeper", UseSSL: d.flag("use_ssl", false), TickTime: tickTime(d, r),
		Hosts: hosts(d, "zookeeper", "2181", r),
		TLS: TLS{CA: d.text("cacert", ""), Cert: d.text("cert", ""), Key: d.text("key", ""),
			KeyPassword: d.secret("key_password"), Verify: d.flag("verify", true)},
	}
	if len(s.Hosts) == 0 && !d.has("host") && !d.has("hosts") {
		r.problem("zookeeper", d.n, "no address of ZooKeeper is given", "write hosts: [host:2181, ...]")
	}
	if n := d.n.get("set_acls"); n != nil && n.kind != mapping {
		r.problem("zookeeper.set_acls", n, "must be a mapping", "write scheme:credential: [ALL]")
	} else if n != nil {
		s.SetACLs = acls(n, r)
	}
	for _, p := range d.params("auth_data") {
		s.AuthData = append(s.AuthData, Auth{p.Name, Secret(p.Value)})
	}
	pair(d, "zookeeper", "cert", "key", r)
	return s
}

// tickTime reads the servers' tickTime. In their own configuration it is a number
// of milliseconds, so one that was copied from there is noticed.
func tickTime(d reader, r *report) time.Duration {
	const usual, most = 2 * time.Second, time.Minute
	tick := d.duration("tick_time", usual)
	if tick < time.Millisecond || tick > most {
		r.problem("zookeeper.tick_time", d.n.get("tick_time"), "must be between 1ms and 1min",
			"write the tickTime of the ZooKeeper servers with its unit: 2000ms or 2s")
	}
	return tick
}

func acls(n *node, r *report) []ACL {
	var out []ACL
	for _, k := range n.keys {
		a := ACL{Principal: k}
		for _, p := range texts(n.fields[k]) {
			p = strings.ToUpper(p)
			if !slices.Contains([]string{"ALL", "CREATE", "READ", "WRITE", "DELETE", "ADMIN"}, p) {
				r.problem("zookeeper.set_acls", newText(p, n.fields[k].origin), "is not a permission",
					"use CREATE, READ, WRITE, DELETE, ADMIN or ALL")
			}
			a.Permissions = append(a.Permissions, p)
		}
		if !strings.Contains(k, ":") || len(a.Permissions) == 0 {
			r.problem("zookeeper.set_acls", n.fields[k], "is not an access rule", "write scheme:credential: [ALL]")
		}
		out = append(out, a)
	}
	return out
}

// The default ports of the embedded store.
const (
	peerPort   = "2380"
	clientPort = "2379"
)

// PartnerName derives a member's name in the embedded store from its peer
// address. It depends on nothing else, so every member gives every other the
// same name.
func PartnerName(peer string) string {
	host, port, err := splitHostPort(peer, peerPort)
	if err != nil {
		return peer
	}
	return strings.ToLower(strings.ReplaceAll(host, ":", ".")) + "-" + port
}

// clientBeside gives the client address that belongs to a peer address when
// none is written: the neighbouring port, as 2379 is that of 2380.
func clientBeside(peer string, offset int) string {
	host, port, err := splitHostPort(peer, peerPort)
	if err != nil {
		return ""
	}
	p, _ := strconv.Atoi(port)
	if p+offset < 1 || p+offset > 65535 {
		offset = -offset
	}
	return joinHostPort(host, strconv.Itoa(p+offset))
}

// Members lists all voting members of the embedded store, this one included,
// sorted by peer address.
func (e *Embedded) Members() []Partner {
	out := slices.Clone(e.Partners)
	self := e.Self()
	if !slices.ContainsFunc(out, func(p Partner) bool { return p.Peer == self.Peer }) {
		out = append(out, self)
	}
	slices.SortFunc(out, func(a, b Partner) int { return strings.Compare(a.Peer, b.Peer) })
	return out
}

// Self is this member as its partners see it.
func (e *Embedded) Self() Partner {
	for _, p := range e.Partners {
		if p.Peer == e.AdvertisePeer {
			return p
		}
	}
	return Partner{Name: PartnerName(e.AdvertisePeer), Peer: e.AdvertisePeer, Client: e.AdvertiseClient}
}

// Secure reports whether the embedded store's traffic is under mutual TLS.
func (e *Embedded) Secure() bool { return e.CA != "" && e.Cert != "" && e.Key != "" }

func decodeEmbedded(d reader, f *File, r *report) *Embedded {
	e := &Embedded{
		ListenPeer:   address(d.text("listen_peer", "127.0.0.1:"+peerPort), peerPort),
		ListenClient: address(d.text("listen_client", ""), clientPort),
		DataDir:      d.text("data_dir", under(f.Matriarch.StateDir, "store")),
		Founder:      d.flag("founder", true),
		CA:           d.text("cacert", ""), Cert: d.text("cert", ""), Key: d.text("key", ""),
	}
	peerHost, port, _ := splitHostPort(e.ListenPeer, peerPort)
	if !d.has("listen_client") {
		e.ListenClient = clientBeside(joinHostPort(peerHost, port), -1)
	}
	_, cport, _ := splitHostPort(e.ListenClient, clientPort)
	advertise := d.text("advertise", peerHost)
	if wildcard(advertise) {
		advertise, _, _ = splitHostPort(f.Postgres.ConnectAddress, "")
		if wildcard(peerHost) && !d.has("advertise") {
			r.warn(WarnAdjusted, "embedded.advertise", d.n, "is not set and listen_peer is on all addresses; %s, the host of postgresql.connect_address, is used", advertise)
		}
	}
	e.AdvertisePeer, e.AdvertiseClient = address(advertise, port), joinHostPort(hostOf(advertise), cport)
	if n := d.n.get("partners"); n != nil {
		e.Partners = partners(n, r)
	}
	e.adopt()
	r.checkEmbedded("embedded", d, e)
	return e
}

func hostOf(addr string) string {
	h, _, err := splitHostPort(addr, "0")
	if err != nil {
		return addr
	}
	return h
}

// adopt takes this member's client address from the list of partners if it is
// listed there, so that all members agree on it.
func (e *Embedded) adopt() {
	for _, p := range e.Partners {
		if p.Peer == e.AdvertisePeer {
			e.AdvertiseClient = p.Client
		}
	}
}

// partners reads a list of "host:port" and of {name, peer, client}.
func partners(n *node, r *report) []Partner {
	if n.isScalar() {
		items := &node{kind: list, origin: n.origin}
		for _, s := range texts(n) {
			items.items = append(items.items, newText(s, n.origin))
		}
		n = items
	}
	if n.kind != list {
		r.problem("embedded.partners", n, "must be a list", "write host:2380 or {name: n, peer: host:2380, client: host:2379}")
		return nil
	}
	var out []Partner
	for i, item := range n.items {
		if p, ok := partner("embedded.partners."+strconv.Itoa(i), item, r); ok {
			out = append(out, p)
		}
	}
	return out
}

func partner(path string, n *node, r *report) (Partner, bool) {
	d := reader{n}
	peer := n.scalar
	if n.kind == mapping {
		r.check(path, n, []field{str("name"), host("peer"), host("client")}, false)
		peer = d.text("peer", "")
	}
	if _, _, err := splitHostPort(peer, peerPort); err != nil || !n.isScalar() && n.kind != mapping {
		r.problem(path, n, "has no peer address", "write host:2380 or {name: n, peer: host:2380, client: host:2379}")
		return Partner{}, false
	}
	p := Partner{Peer: address(peer, peerPort)}
	p.Name = d.text("name", PartnerName(p.Peer))
	p.Client = clientBeside(p.Peer, -1)
	if d.has("client") {
		p.Client = address(d.text("client", ""), clientPort)
	}
	return p, true
}

// raftClientOffset keeps the client ports of several members on one host, whose
// old ports usually are neighbours, from meeting the peer ports.
const raftClientOffset = 1000

// decodeRaft reads the section of the reference's own small store as a request
// for the embedded one.
func decodeRaft(d reader, f *File, r *report) *Embedded {
	self := address(d.text("self_addr", d.text("bind_addr", "127.0.0.1:"+peerPort)), peerPort)
	e := &Embedded{
		ListenPeer:    address(d.text("bind_addr", self), peerPort),
		AdvertisePeer: self, AdvertiseClient: clientBeside(self, raftClientOffset),
		DataDir: under(d.text("data_dir", f.Matriarch.StateDir), "store"),
		Founder: true,
	}
	e.ListenClient = clientBeside(e.ListenPeer, raftClientOffset)
	for _, s := range d.texts("partner_addrs") {
		if _, _, err := splitHostPort(s, peerPort); err != nil {
			r.problem("raft.partner_addrs", newText(s, origin(d.n, "partner_addrs")), err.Error(), "write host:port")
			continue
		}
		p := address(s, peerPort)
		e.Partners = append(e.Partners, Partner{Name: PartnerName(p), Peer: p, Client: clientBeside(p, raftClientOffset)})
	}
	r.checkEmbedded("raft", d, e)
	return e
}

// checkEmbedded judges the section as a whole.
func (r *report) checkEmbedded(path string, d reader, e *Embedded) {
	seen := map[string]bool{}
	for _, p := range e.Partners {
		for _, key := range []string{"name " + p.Name, "peer " + p.Peer} {
			if seen[key] {
				r.problem(path+".partners", d.n.get("partners"), "two partners have the "+key, "list every member once")
			}
			seen[key] = true
		}
	}
	if given := d.has("cacert") || d.has("cert") || d.has("key"); given && !e.Secure() {
		r.problem(path, d.n, "mutual TLS needs all three of cacert, cert and key", "give the missing ones")
	}
	if e.Secure() {
		return
	}
	for _, m := range append(e.Members(), Partner{Peer: e.ListenPeer, Client: e.ListenClient}) {
		if !loopback(m.Peer) || !loopback(m.Client) {
			r.warn(WarnPlaintext, path, d.n, "the store is reachable over the network without TLS: whoever can connect "+
				"can write the leader key and so owns the cluster; give embedded.cacert, cert and key")
			return
		}
	}
}
