package open

import (
	"context"
	"log/slog"
	"strings"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/zookeeper"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

func openZooKeeper(ctx context.Context, s config.StoreSection, prefix string, clk clock.Clock, log *slog.Logger) (dcs.Store, error) {
	c := zookeeper.Config{Hosts: s.Hosts, Prefix: prefix, TickTime: s.TickTime, Logger: log}
	for _, a := range s.AuthData {
		c.Auth = append(c.Auth, zookeeper.Auth{Scheme: a.Scheme, Credential: a.Credential.Reveal()})
	}
	for _, a := range s.SetACLs {
		scheme, id, found := strings.Cut(a.Principal, ":")
		if !found {
			scheme, id = "x509", a.Principal
		}
		c.ACL = append(c.ACL, zookeeper.ACL{Scheme: scheme, ID: id, Permissions: a.Permissions})
	}
	if s.UseSSL {
		var err error
		if c.TLS, err = tlsConfig(s.TLS); err != nil {
			return nil, err
		}
	}
	return zookeeper.Open(ctx, c, clk)
}
