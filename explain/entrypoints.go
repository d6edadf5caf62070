package explain

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/matriarch-ha/matriarch/journal"
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
	return withoutTwins(out)
}

func (g *Gatherer) entrypoint(ctx context.Context, p Plan, base string) Source {
	_, host, _ := strings.Cut(base, "://")
	s := Source{Name: host, Kind: KindEntrypoint, Address: base, Clock: g.clock(ctx, base, "/stats")}
	g.records(ctx, p, &s)
	if n := len(s.Records); n > 0 && s.Records[n-1].Member != "" {
		s.Name = s.Records[n-1].Member
	}
	return s
}

// withoutTwins drops an entrypoint that was reached by two addresses: its newest
// record is the same, or one of few that came in between.
func withoutTwins(all []Source) []Source {
	var out []Source
	for _, s := range all {
		twin := slices.ContainsFunc(out, func(o Source) bool {
			return o.Name == s.Name && len(o.Records) > 0 && len(s.Records) > 0 && slices.ContainsFunc(o.Records, func(r journal.Record) bool {
				return r.Seq == s.Records[0].Seq && r.Time.Equal(s.Records[0].Time)
			})
		})
		if !twin {
			out = append(out, s)
		}
	}
	return out
}

// basesOf are the addresses that can be asked, each once. One may lie below a
// member's own.
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
		if base := u.Scheme + "://" + u.Host + strings.TrimSuffix(u.EscapedPath(), "/"); !slices.Contains(out, base) && len(out) < maxSources {
			out = append(out, base)
		}
	}
	return out
}
