package etcd

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"
)

// Config says where etcd is and how to log in.
type Config struct {
	// Endpoints are host:port or http(s)://host:port, tried in this order.
	Endpoints []string
	// TLS is used for https endpoints, and for those without a scheme when set.
	TLS *tls.Config
	// Username and Password log in where authentication is on.
	Username string
	Password string
	// Prefix is where the cluster's keys are, as layout.Prefix gives it.
	Prefix string
	// RequestTimeout bounds every call whose context allows longer; 0 means
	// DefaultRequestTimeout.
	RequestTimeout time.Duration
	// Belongs, if set, judges every answer by the cluster id in its header; one
	// that it refuses counts as none.
	Belongs func(clusterID uint64) error
	// Logger may be nil.
	Logger *slog.Logger
}

// DefaultRequestTimeout bounds one call.
const DefaultRequestTimeout = 5 * time.Second

// String keeps the password out of messages.
func (c Config) String() string {
	return fmt.Sprintf("etcd %s at %s", c.Prefix, strings.Join(c.Endpoints, ","))
}

// GoString keeps the password out of messages, too.
func (c Config) GoString() string { return c.String() }

func (c Config) check() error {
	if len(c.Endpoints) == 0 {
		return fmt.Errorf("etcd: no endpoint is configured: name at least one host:port")
	}
	if !strings.HasPrefix(c.Prefix, "/") || strings.HasSuffix(c.Prefix, "/") {
		return fmt.Errorf("etcd: prefix %q must begin with a slash and not end with one", c.Prefix)
	}
	for _, ep := range c.Endpoints {
		if _, _, err := splitEndpoint(ep, c.TLS != nil); err != nil {
			return err
		}
	}
	return nil
}

// splitEndpoint returns the address of an endpoint and whether it uses TLS.
func splitEndpoint(ep string, preferTLS bool) (addr string, useTLS bool, err error) {
	addr, useTLS = ep, preferTLS
	if strings.Contains(ep, "://") {
		u, err := url.Parse(ep)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return "", false, fmt.Errorf("etcd: endpoint %q: want host:port, http://host:port or https://host:port", ep)
		}
		addr, useTLS = u.Host, u.Scheme == "https"
	}
	if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
		return "", false, fmt.Errorf("etcd: endpoint %q: want host:port, http://host:port or https://host:port", ep)
	}
	return addr, useTLS, nil
}
