package app

import (
	"context"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
)

// views turns a store's watch into views, for the entrypoint.
type views struct{ store dcs.Store }

// Watch sends the newest view; an interruption sends nothing.
func (v views) Watch(ctx context.Context) <-chan cluster.View {
	out := make(chan cluster.View)
	go func() {
		defer close(out)
		for u := range v.store.Watch(ctx) {
			if u.Err != nil {
				continue
			}
			select {
			case out <- layout.Decode(u.Snapshot):
			case <-ctx.Done():
			}
		}
	}()
	return out
}
