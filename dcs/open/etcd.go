package open

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/etcd"
	"github.com/matriarch-ha/matriarch/dcs/etcdembed"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

func openEtcd(ctx context.Context, s config.StoreSection, prefix string, clk clock.Clock, log *slog.Logger) (dcs.Store, error) {
	c := etcd.Config{Username: s.Username, Password: s.Password.Reveal(), Prefix: prefix, Logger: log}
	var err error
	if c.Endpoints, err = etcdEndpoints(ctx, s, net.DefaultResolver.LookupSRV); err != nil {
		return nil, err
	}
	if secure(c.Endpoints) {
		if c.TLS, err = tlsConfig(s.TLS); err != nil {
			return nil, err
		}
	}
	if s.LegacyEtcd {
		if err := refuseLegacy(ctx, c); err != nil {
			return nil, err
		}
	}
	return etcd.Open(ctx, c, clk)
}

// refuseLegacy: a member on v3 beside members on v2 would be a second cluster.
func refuseLegacy(ctx context.Context, c etcd.Config) error {
	used, err := etcd.LegacyV2InUse(ctx, c)
	if err != nil {
		return err
	}
	if used {
		return fmt.Errorf("the section etcd: is served over etcd's v3 API, but the server still holds %s under the v2 API, "+
			"which a v3 client cannot see: two clusters would run side by side. Migrate the keys (stop all members, then start them with the section etcd3:), "+
			"or remove the v2 keys when they are stale", c.Prefix)
	}
	return nil
}

func openEmbedded(ctx context.Context, f *config.File, prefix string, clk clock.Clock, log *slog.Logger) (dcs.Store, error) {
	e := f.Store.Embedded
	if e == nil {
		return nil, errors.New("the embedded store is not configured: add a section embedded")
	}
	c := etcd.Config{Prefix: prefix, Logger: log, Belongs: etcdembed.NewBelonging(e.DataDir, f.Matriarch.StateDir).Check}
	votes := votes(f)
	scheme := "http://"
	if e.Secure() {
		var err error
		if c.TLS, err = tlsConfig(config.TLS{CA: e.CA, Cert: e.Cert, Key: e.Key, Verify: true}); err != nil {
			return nil, err
		}
		scheme = "https://"
	}
	// This member's own part of the store first, while it answers.
	self := e.Self()
	slices.SortStableFunc(votes, func(a, b config.Partner) int {
		return ownFirst(b.Client == self.Client) - ownFirst(a.Client == self.Client)
	})
	for _, p := range votes {
		c.Endpoints = append(c.Endpoints, scheme+p.Client)
	}
	return etcd.Open(ctx, c, clk)
}

func ownFirst(own bool) int {
	if own {
		return 1
	}
	return 0
}

// lookupSRV is net.Resolver.LookupSRV.
type lookupSRV func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)

func etcdEndpoints(ctx context.Context, s config.StoreSection, lookup lookupSRV) ([]string, error) {
	protocol := s.Protocol
	if protocol == "" {
		protocol = "http"
	}
	var out []string
	for _, h := range s.Hosts {
		out = append(out, protocol+"://"+h)
	}
	if len(out) > 0 || s.SRV == "" {
		return out, nil
	}
	return srvEndpoints(ctx, s.SRV, s.SRVSuffix, lookup)
}

// srvEndpoints takes the servers of the first kind of record that the domain
// has, in the order in which they are looked for.
func srvEndpoints(ctx context.Context, domain, suffix string, lookup lookupSRV) ([]string, error) {
	if suffix != "" {
		suffix = "-" + suffix
	}
	var errs []error
	for _, kind := range []string{"_etcd-client-ssl", "_etcd-client", "_etcd-ssl", "_etcd", "_etcd-server-ssl", "_etcd-server"} {
		name := kind + suffix + "._tcp." + domain
		_, records, err := lookup(ctx, "", "", name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		scheme := "http://"
		if strings.HasSuffix(kind, "-ssl") {
			scheme = "https://"
		}
		var out []string
		for _, r := range records {
			out = append(out, scheme+net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))))
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	return nil, fmt.Errorf("etcd: domain %s has no SRV records such as _etcd-client%s._tcp.%s: %w: %w",
		domain, suffix, domain, dcs.ErrUnavailable, errors.Join(errs...))
}

func secure(endpoints []string) bool {
	for _, ep := range endpoints {
		if strings.HasPrefix(ep, "https://") {
			return true
		}
	}
	return false
}
