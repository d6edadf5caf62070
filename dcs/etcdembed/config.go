package etcdembed

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// Member is one voting member of the store, as every node's configuration
// names it.
type Member struct {
	Name   string // the node's name
	Peer   string // URL or host:port where the other members reach it
	Client string // URL or host:port where clients reach it
}

// TLS names the files of mutual TLS, used for members and clients alike. The
// certificate must be usable by servers and by clients. Either all three are
// set or none.
type TLS struct{ CA, Cert, Key string }

func (t TLS) enabled() bool { return t != TLS{} }

func (t TLS) info() transport.TLSInfo {
	if !t.enabled() {
		return transport.TLSInfo{}
	}
	// The CA alone decides who is trusted: behind address translation the
	// names in a partner's certificate do not match the address it comes from.
	return transport.TLSInfo{CertFile: t.Cert, KeyFile: t.Key, TrustedCAFile: t.CA,
		ClientCertAuth: true, SkipClientSANVerify: true}
}

// Config describes this node's member of the store. Addresses are host:port or
// URLs; the scheme, where it is given, must agree with TLS.
type Config struct {
	Name            string   // this member's name, one of Members
	Scope           string   // the cluster's name; part of the store's identity
	ListenPeer      string   // where this member listens for the others
	ListenClient    string   // where it listens for clients
	AdvertisePeer   string   // empty: Peer of its own entry in Members
	AdvertiseClient string   // empty: Client of its own entry in Members
	Members         []Member // all voting members, this one included
	DataDir         string   // the store's directory; made when it is absent
	StateDir        string   // beside it: marker, lock, run file, log; empty: DataDir's parent
	TLS             TLS

	// HasData says that this node has a PostgreSQL data directory: a store once
	// existed then, and this member takes part in no founding.
	HasData bool
	// Plain permits addresses off loopback without TLS. Whoever can write the
	// leader key owns the cluster.
	Plain bool
	// Keeper is recorded in the run file: who ends the process.
	Keeper Keeper

	// Log receives the server's warnings in readable lines; nil discards them.
	Log io.Writer `json:"-"`
}

// Keeper says who started a store process and so who may end it.
type Keeper string

const (
	KeptByAgent Keeper = "agent"    // the node's agent: its Stop ends the store
	KeptOutside Keeper = "external" // somebody else (`matriarch up`): agents leave it alone
)

// Validate reports everything that is wrong with the configuration, all at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Name == "" {
		bad("embedded store: the member's name is empty")
	}
	if c.DataDir == "" {
		bad("embedded.data_dir is empty")
	}
	if t := c.TLS; t.enabled() && (t.CA == "" || t.Cert == "" || t.Key == "") {
		bad("embedded store: TLS needs all of ca, cert and key")
	}
	names, peers := map[string]bool{}, map[string]bool{}
	for _, m := range c.Members {
		if m.Name == "" || names[m.Name] {
			bad("embedded.partners: member name %q is empty or appears twice", m.Name)
		}
		if peers[m.Peer] {
			bad("embedded.partners: the address %s appears twice", m.Peer)
		}
		names[m.Name], peers[m.Peer] = true, true
	}
	if _, ok := c.self(); !ok {
		bad("embedded store: %q is not among the members %s", c.Name, strings.Join(c.names(), ", "))
	}
	if self, ok := c.self(); ok && c.AdvertisePeer != "" && c.AdvertisePeer != self.Peer {
		bad("embedded.advertise: %s differs from this member's address in the list of members, %s", c.AdvertisePeer, self.Peer)
	}
	for _, a := range c.addresses() {
		u, err := c.url(a.value)
		if err != nil {
			bad("%s: %w", a.setting, err)
			continue
		}
		if host := u.Hostname(); strings.HasPrefix(a.setting, "embedded.listen") && net.ParseIP(host) == nil && host != "localhost" {
			bad("%s: %q must be an IP address of this host (or *)", a.setting, host)
		}
		if !c.TLS.enabled() && !c.Plain && !loopback(u.Hostname()) {
			bad("%s: %s is not a loopback address: the store needs TLS there, since whoever can write the leader key owns the cluster", a.setting, a.value)
		}
	}
	return errors.Join(errs...)
}

type address struct{ setting, value string }

func (c Config) addresses() []address {
	list := []address{
		{"embedded.listen_peer", c.ListenPeer}, {"embedded.listen_client", c.ListenClient},
		{"embedded.advertise (peer)", c.advertisePeer()}, {"embedded.advertise (client)", c.advertiseClient()},
	}
	for _, m := range c.Members {
		list = append(list, address{"embedded.partners: " + m.Name, m.Peer}, address{"embedded.partners: " + m.Name, m.Client})
	}
	return list
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// url turns host:port or a URL into a URL of the scheme that TLS asks for.
func (c Config) url(addr string) (url.URL, error) {
	scheme := "http"
	if c.TLS.enabled() {
		scheme = "https"
	}
	if s, rest, ok := strings.Cut(addr, "://"); ok {
		if s != scheme {
			return url.URL{}, fmt.Errorf("%q must begin with %s:// here", addr, scheme)
		}
		addr = strings.TrimSuffix(rest, "/")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return url.URL{}, fmt.Errorf("%q is not of the form host:port", addr)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return url.URL{}, fmt.Errorf("%q: %q is not a port", addr, port)
	}
	if host == "" || host == "*" {
		host = "0.0.0.0"
	}
	return url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port)}, nil
}

// mustURL is for addresses that Validate has accepted.
func (c Config) mustURL(addr string) url.URL {
	u, err := c.url(addr)
	if err != nil {
		panic("address used before it was validated: " + err.Error())
	}
	return u
}

func (c Config) self() (Member, bool) {
	i := slices.IndexFunc(c.Members, func(m Member) bool { return m.Name == c.Name })
	if i < 0 {
		return Member{}, false
	}
	return c.Members[i], true
}

func (c Config) partners() []Member {
	return slices.DeleteFunc(slices.Clone(c.Members), func(m Member) bool { return m.Name == c.Name })
}

func (c Config) names() []string {
	var names []string
	for _, m := range c.Members {
		names = append(names, m.Name)
	}
	return names
}

// first is the member that offers a founding: it has the smallest address, which
// etcd's own bootstrap asks first, too.
func (c Config) first() Member {
	return slices.MinFunc(c.Members, func(a, b Member) int { return strings.Compare(a.Peer, b.Peer) })
}

func (c Config) advertisePeer() string {
	if self, _ := c.self(); c.AdvertisePeer == "" {
		return self.Peer
	}
	return c.AdvertisePeer
}

func (c Config) advertiseClient() string {
	if self, _ := c.self(); c.AdvertiseClient == "" {
		return self.Client
	}
	return c.AdvertiseClient
}

// ClientURL is where this member's clients, the local agent first of all, reach it.
func (c Config) ClientURL() string { u := c.mustURL(c.advertiseClient()); return u.String() }

// Access is what a client needs to reach the whole store. It holds no secret.
func (c Config) Access() Access {
	a := Access{TLS: c.TLS}
	for _, m := range c.Members {
		u := c.mustURL(m.Client)
		a.Members = append(a.Members, Endpoint{Name: m.Name, URL: u.String()})
	}
	return a
}

// settingsToken is the same on every member that was given the same scope and
// the same members, so that members which were not never talk to each other.
func (c Config) settingsToken() string {
	var lines []string
	for _, m := range c.Members {
		u := c.mustURL(m.Peer)
		lines = append(lines, m.Name+"="+u.String())
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(c.Scope + "\n" + strings.Join(lines, "\n")))
	return "matriarch-" + hex.EncodeToString(sum[:8])
}

// clusterOf is etcd's form of a list of members.
func clusterOf(c Config, members []Member) string {
	var parts []string
	for _, m := range members {
		u := c.mustURL(m.Peer)
		parts = append(parts, m.Name+"="+u.String())
	}
	return strings.Join(parts, ",")
}

func (c Config) stateDir() string {
	if c.StateDir != "" {
		return c.StateDir
	}
	return filepath.Dir(filepath.Clean(c.DataDir))
}

// beside names a file of the state directory that belongs to this data directory.
func (c Config) beside(suffix string) string {
	return filepath.Join(c.stateDir(), filepath.Base(filepath.Clean(c.DataDir))+suffix)
}

// absolute makes the paths independent of the working directory, which the
// child process does not share.
func (c Config) absolute() (Config, error) {
	for _, p := range []*string{&c.DataDir, &c.StateDir, &c.TLS.CA, &c.TLS.Cert, &c.TLS.Key} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return c, err
		}
		*p = abs
	}
	return c, nil
}
