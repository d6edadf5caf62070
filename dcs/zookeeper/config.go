package zookeeper

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

// Config says where ZooKeeper is and how to log in.
type Config struct {
	// Hosts are host:port.
	Hosts []string
	// TLS is used when set.
	TLS *tls.Config
	// Auth is presented on every connection.
	Auth []Auth
	// ACL protects the nodes that are created; empty means open to the world.
	ACL []ACL
	// Prefix is where the cluster's keys are, as layout.Prefix gives it.
	Prefix string
	// TickTime is the servers' tickTime; 0 means DefaultTickTime. Too long costs
	// a little of the lease, too short makes its arithmetic wrong.
	TickTime time.Duration
	// RequestTimeout bounds every call whose context allows longer; 0 means
	// DefaultRequestTimeout.
	RequestTimeout time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

// Auth is one login, for example scheme "digest" and credential "user:password".
type Auth struct{ Scheme, Credential string }

// String hides the credential.
func (a Auth) String() string { return a.Scheme + ":***" }

// GoString hides the credential.
func (a Auth) GoString() string { return a.String() }

// ACL gives permissions to whoever is known by scheme and id.
type ACL struct {
	Scheme, ID  string
	Permissions []string // READ WRITE CREATE DELETE ADMIN ALL
}

// The defaults of a Config.
const (
	DefaultTickTime       = 2 * time.Second
	DefaultRequestTimeout = 5 * time.Second
)

// String keeps credentials out of messages.
func (c Config) String() string {
	return fmt.Sprintf("zookeeper %s at %s", c.Prefix, strings.Join(c.Hosts, ","))
}

// GoString keeps credentials out of messages.
func (c Config) GoString() string { return c.String() }

// complete checks the configuration and fills in the defaults.
func (c Config) complete() (Config, error) {
	if len(c.Hosts) == 0 {
		return c, fmt.Errorf("zookeeper: no host is configured: name at least one host:port")
	}
	for _, h := range c.Hosts {
		if host, port, err := net.SplitHostPort(h); err != nil || host == "" || port == "" {
			return c, fmt.Errorf("zookeeper: host %q: want host:port", h)
		}
	}
	if !strings.HasPrefix(c.Prefix, "/") || strings.HasSuffix(c.Prefix, "/") {
		return c, fmt.Errorf("zookeeper: prefix %q must begin with a slash and not end with one", c.Prefix)
	}
	if _, err := c.acl(); err != nil {
		return c, err
	}
	if c.TickTime <= 0 {
		c.TickTime = DefaultTickTime
	}
	if c.RequestTimeout <= 0 {
		c.RequestTimeout = DefaultRequestTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// acl returns the access rules in the library's terms.
func (c Config) acl() ([]zk.ACL, error) {
	if len(c.ACL) == 0 {
		return zk.WorldACL(zk.PermAll), nil
	}
	bits := map[string]int32{"READ": zk.PermRead, "WRITE": zk.PermWrite, "CREATE": zk.PermCreate,
		"DELETE": zk.PermDelete, "ADMIN": zk.PermAdmin, "ALL": zk.PermAll}
	var out []zk.ACL
	for _, a := range c.ACL {
		rule := zk.ACL{Scheme: a.Scheme, ID: a.ID}
		for _, p := range a.Permissions {
			bit, ok := bits[strings.ToUpper(p)]
			if !ok {
				return nil, fmt.Errorf("zookeeper: permission %q of %s: want READ, WRITE, CREATE, DELETE, ADMIN or ALL", p, a.Scheme)
			}
			rule.Perms |= bit
		}
		out = append(out, rule)
	}
	return out, nil
}
