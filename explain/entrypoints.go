package explain

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// entrypointsOf asks the entrypoints that are named, and those that members know.
func (g *Gatherer) entrypointsOf(ctx context.Context, p Plan, members []Source) []Source {
	urls := slices.Clone(p.Entrypoints)
	for _, m := range members {
		if m.Now == nil {
			continue
		}
		known, err := g.Client.Entrypoints(ctx, m.Address)
		if err != nil {
			continue // what one member does not tell, another may
		}
		for _, e := range known {
			urls = append(urls, e.URL)
		}
	}
	bases := basesOf(urls)
	out := make([]Source, len(bases))
	var wg sync.WaitGroup
	for i, base := range bases {
		wg.Go(func() { out[i] = g.entrypoint(ctx, p, base) })
	}
	wg.Wait()
	return out
}

func (g *Gatherer) entrypoint(ctx context.Context, p Plan, base string) Source {
	_, host, _ := strings.Cut(base, "://")
	s := Source{Name: host, Kind: KindEntrypoint, Address: base, Clock: g.clock(ctx, base, "/stats")}
	g.records(ctx, p, &s)
	return s
}

// basesOf are the roots of the addresses that can be asked, each once.
func basesOf(urls []string) []string {
	var out []string
	for _, text := range urls {
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			continue
		}
		if base := u.Scheme + "://" + u.Host; !slices.Contains(out, base) && len(out) < maxSources {
			out = append(out, base)
		}
	}
	return out
}
