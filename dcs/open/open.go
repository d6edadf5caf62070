// Package open picks the store that a configuration asks for: a switch, not
// import side effects.
package open

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/etcd"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// Open connects to the cluster's place in the configured store. The embedded
// store is reached like any etcd; its process must run already.
func Open(ctx context.Context, f *config.File, clk clock.Clock, log *slog.Logger) (dcs.Store, error) {
	prefix := layout.Prefix(f.Namespace, f.Scope)
	switch f.Store.Kind {
	case "etcd3", "embedded":
		return openEtcd(ctx, f, prefix, clk, log)
	}
	return nil, fmt.Errorf("no store of kind %q is supported", f.Store.Kind)
}

func openEtcd(ctx context.Context, f *config.File, prefix string, clk clock.Clock, log *slog.Logger) (dcs.Store, error) {
	s := f.Store
	c := etcd.Config{Username: s.Username, Password: s.Password.Reveal(), Prefix: prefix, Logger: log}
	files := s.TLS
	if e := s.Embedded; e != nil {
		files = config.TLS{CA: e.CA, Cert: e.Cert, Key: e.Key, Verify: true}
		for _, p := range e.Members() {
			c.Endpoints = append(c.Endpoints, p.Client)
		}
	}
	for _, h := range s.Hosts {
		if s.Protocol != "" {
			h = s.Protocol + "://" + h
		}
		c.Endpoints = append(c.Endpoints, h)
	}
	if len(c.Endpoints) == 0 {
		return nil, errors.New("etcd: no host is configured (srv is not supported yet: list the hosts in etcd3.hosts)")
	}
	var err error
	if c.TLS, err = tlsConfig(files, s.Protocol == "https"); err != nil {
		return nil, err
	}
	if s.LegacyEtcd {
		used, err := etcd.LegacyV2InUse(ctx, c)
		if err != nil {
			return nil, err
		}
		if used {
			return nil, fmt.Errorf("the section etcd: is served over etcd's v3 API, but the server still holds %s under the v2 API, "+
				"which a v3 client cannot see: two clusters would run side by side. Migrate the keys (stop all members, then start them with the section etcd3:), "+
				"or remove the v2 keys when they are stale", prefix)
		}
	}
	return etcd.Open(ctx, c, clk)
}

// tlsConfig reads the files of a TLS client; nil when TLS is not wanted.
func tlsConfig(f config.TLS, force bool) (*tls.Config, error) {
	if f.CA == "" && f.Cert == "" && !force {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("cacert of the store: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cacert of the store: %s holds no certificate", f.CA)
		}
	}
	if f.Cert != "" {
		key := f.Key
		if key == "" {
			key = f.Cert
		}
		cert, err := tls.LoadX509KeyPair(f.Cert, key)
		if err != nil {
			return nil, fmt.Errorf("certificate for the store: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}
