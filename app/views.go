package app

import (
	"context"

	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/dcs/layout"
	"github.com/matriarch-ha/matriarch/proxy"
)

// views turns a store's watch into views, for the entrypoint.
type views struct{ store dcs.Store }

// Watch sends the newest view, and that there is an interruption.
func (v views) Watch(ctx context.Context) <-chan proxy.Sight {
	out := make(chan proxy.Sight)
	go func() {
		defer close(out)
		for u := range v.store.Watch(ctx) {
			s := proxy.Sight{Lost: u.Err}
			if u.Err == nil {
				s.View = layout.Decode(u.Snapshot)
			}
			select {
			case out <- s:
			case <-ctx.Done():
			}
		}
	}()
	return out
}
