package open

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/internal/clock"
)

// Open connects to the cluster's place in the configured store. The embedded
// store is reached like any etcd; its process must run already. That the store
// cannot be reached yet is no error: its calls then fail as unavailable.
func Open(ctx context.Context, f *config.File, clk clock.Clock, log *slog.Logger) (dcs.Store, error) {
	prefix := layout.Prefix(f.Namespace, f.Scope)
	switch f.Store.Kind {
	case "etcd3":
		return openEtcd(ctx, f.Store, prefix, clk, log)
	case "embedded":
		return openEmbedded(ctx, f, prefix, clk, log)
	case "zookeeper":
		return openZooKeeper(ctx, f.Store, prefix, clk, log)
	case "":
		return nil, fmt.Errorf("no store is configured: add a section zookeeper, etcd3, etcd or embedded")
	}
	return nil, fmt.Errorf("no store of kind %q is supported: use zookeeper, etcd3, etcd or embedded", f.Store.Kind)
}

// votes are the members of the embedded store to ask. A file for a client names
// the partners only; the addresses that its own member would have by default are
// then nobody's, and whoever answers there is another store.
func votes(f *config.File) []config.Partner {
	e := f.Store.Embedded
	switch {
	case e == nil:
		return nil // openEmbedded says what is missing
	case len(e.Partners) == 0:
		return e.Members()
	}
	for _, key := range []string{"listen_peer", "listen_client", "advertise"} {
		if f.Origin("embedded."+key) != "default" {
			return e.Members()
		}
	}
	return slices.Clone(e.Partners)
}
