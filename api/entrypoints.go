package api

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/journal/rest"
)

// Limits of what is remembered of entrypoints: anybody may call himself one.
const (
	maxEntrypoints = 64
	// maxPerAddress keeps one host from driving all others out.
	maxPerAddress = 4
	// entrypointLife is how long one is listed that does not ask any more.
	entrypointLife = 24 * time.Hour
)

// EntrypointDoc is one entry of GET /entrypoints.
type EntrypointDoc struct {
	URL  string `json:"url"`
	Seen string `json:"seen"` // RFC 3339
}

// Entrypoint is the entrypoint that runs in this member's process.
type Entrypoint struct {
	// Stats is where its statistics port listens; nil when it has none.
	Stats net.Addr
	// Pages answers what that port answers.
	Pages http.Handler
}

// entrypoints remembers who asked and said to be an entrypoint. Of what one says
// only the port is believed: the host is the one that it asked from, so that
// nobody can send the readers of the list elsewhere.
type entrypoints struct {
	clock clock.Clock
	mu    sync.Mutex
	seen  map[entrypointKey]boot.Instant
}

type entrypointKey struct {
	scheme string
	addr   netip.AddrPort
	// everywhere: it listens on all addresses, not only on the one it asked from.
	everywhere bool
}

func newEntrypoints(c clock.Clock) *entrypoints {
	return &entrypoints{clock: c, seen: map[entrypointKey]boot.Instant{}}
}

// note takes an announcement down, if the request has one that can be true.
func (e *entrypoints) note(r *http.Request) {
	value := r.Header.Get(rest.AnnounceHeader)
	if value == "" || r.Method != http.MethodGet {
		return
	}
	a, err := rest.ParseAnnouncement(value)
	from, ok := peerAddr(r.RemoteAddr)
	if err != nil || !ok || a.Host.IsValid() && a.Host != from {
		return
	}
	e.remember(entrypointKey{a.Scheme, netip.AddrPortFrom(from, a.Port), !a.Host.IsValid()})
}

// peerAddr is the address of a connection's other end. One that only means
// something on one link of this host is none that others could use.
func peerAddr(hostPort string) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(hostPort)
	addr := ap.Addr().Unmap()
	return addr, err == nil && addr.Zone() == "" && !addr.IsUnspecified()
}

func (e *entrypoints) remember(k entrypointKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock.Now()
	if _, known := e.seen[k]; !known {
		e.makeRoom(now, k.addr.Addr())
	}
	e.seen[k] = now
}

// makeRoom forgets who was not seen for a day, and, where there are too many, who
// was not seen for longest: a real entrypoint asks again within a second.
func (e *entrypoints) makeRoom(now boot.Instant, from netip.Addr) {
	var same []entrypointKey
	for k, at := range e.seen {
		if now.Sub(at) > entrypointLife {
			delete(e.seen, k)
		} else if k.addr.Addr() == from {
			same = append(same, k)
		}
	}
	if len(same) >= maxPerAddress {
		delete(e.seen, e.stalest(same))
	}
	if len(e.seen) >= maxEntrypoints {
		all := make([]entrypointKey, 0, len(e.seen))
		for k := range e.seen {
			all = append(all, k)
		}
		delete(e.seen, e.stalest(all))
	}
}

func (e *entrypoints) stalest(keys []entrypointKey) entrypointKey {
	return slices.MinFunc(keys, func(a, b entrypointKey) int { return cmp.Compare(e.seen[a], e.seen[b]) })
}

// list names those that an asker can reach. local is the address by which it
// reached this member: an entrypoint that listens on all addresses of this host
// is there too, whatever address it asked from.
func (e *entrypoints) list(local, asker netip.Addr) []EntrypointDoc {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, wall := e.clock.Now(), e.clock.Wall()
	newest := map[string]boot.Instant{}
	for k, at := range e.seen {
		host, ok := hostFor(k.addr.Addr(), k.everywhere, local, asker)
		if ok && now.Sub(at) <= entrypointLife {
			url := k.scheme + "://" + netip.AddrPortFrom(host, k.addr.Port()).String()
			newest[url] = max(newest[url], at)
		}
	}
	out := make([]EntrypointDoc, 0, len(newest)+1)
	for url, at := range newest {
		out = append(out, EntrypointDoc{url, wall.Add(-now.Sub(at)).UTC().Format(time.RFC3339)})
	}
	return out
}

// hostFor is the address at which an asker finds what listens at addr.
func hostFor(addr netip.Addr, everywhere bool, local, asker netip.Addr) (netip.Addr, bool) {
	switch {
	case !addr.IsLoopback():
		return addr, true
	case asker.IsLoopback():
		return addr, true
	case everywhere && local.IsValid() && local.Zone() == "":
		return local, true
	}
	return netip.Addr{}, false
}

// SetEntrypoint tells of the entrypoint in this process.
func (s *Server) SetEntrypoint(e Entrypoint) { s.entrypoint.Store(&e) }

// getEntrypoint answers what the statistics port of this process's entrypoint
// does, which may listen for this host alone.
func (s *Server) getEntrypoint(w http.ResponseWriter, r *http.Request) {
	e := s.entrypoint.Load()
	if e == nil {
		s.text(w, http.StatusNotFound, "no entrypoint runs in this member's process")
		return
	}
	path := strings.TrimPrefix(strings.TrimLeft(r.URL.Path, "/"), "entrypoint")
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = "/"+strings.TrimLeft(path, "/"), ""
	e.Pages.ServeHTTP(w, inner)
}

func (s *Server) getEntrypoints(w http.ResponseWriter, r *http.Request) {
	local, _ := localAddr(r)
	asker, _ := peerAddr(r.RemoteAddr)
	list := s.entrypoints.list(local, asker)
	if url := s.ownEntrypoint(r, local, asker); url != "" {
		list = slices.DeleteFunc(list, func(d EntrypointDoc) bool { return d.URL == url })
		list = append(list, EntrypointDoc{url, s.clock.Wall().UTC().Format(time.RFC3339)})
	}
	slices.SortFunc(list, func(a, b EntrypointDoc) int { return cmp.Compare(a.URL, b.URL) })
	s.json(w, http.StatusOK, list)
}

// ownEntrypoint is where the asker finds the entrypoint of this process: at its
// own port, or, when that is not for others, below this member's address.
func (s *Server) ownEntrypoint(r *http.Request, local, asker netip.Addr) string {
	e := s.entrypoint.Load()
	if e == nil {
		return ""
	}
	if tcp, ok := e.Stats.(*net.TCPAddr); ok {
		at := tcp.AddrPort()
		addr := at.Addr().Unmap()
		if addr.IsUnspecified() {
			addr = local
		}
		if host, ok := hostFor(addr, false, local, asker); ok && host.IsValid() && host.Zone() == "" {
			return "http://" + netip.AddrPortFrom(host, at.Port()).String()
		}
	}
	if r.Host == "" {
		return "" // a question that does not name whom it asks
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + "/entrypoint"
}

// localAddr is the address by which a request reached this host.
func localAddr(r *http.Request) (netip.Addr, bool) {
	tcp, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return tcp.AddrPort().Addr().Unmap(), true
}
