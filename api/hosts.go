package api

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// How long a host's addresses count before they are asked for again, how long
// they count on when nobody answers, how soon a failed question is repeated,
// how long one question may take, and how long a request waits for it.
const (
	hostFresh   = 30 * time.Second
	hostKept    = 10 * time.Minute
	hostRetry   = 5 * time.Second
	lookupLimit = 3 * time.Second
	lookupWait  = time.Second
	// maxHosts bounds the memory: members come and go.
	maxHosts = 256
)

// hosts knows the addresses of host names. Only the first question for a name
// waits for the name service, and not for long; later ones are answered at once
// while the name is looked up again beside them.
type hosts struct {
	lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	log    *slog.Logger

	mu    sync.Mutex
	known map[string]*host
}

type host struct {
	networks []netip.Prefix
	found    time.Time     // when networks was found; zero: never
	asked    time.Time     // when the last question began
	answer   chan struct{} // closed when the question under way has ended; nil: none is
}

func newHosts(log *slog.Logger) *hosts {
	return &hosts{log: log, known: map[string]*host{}, lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}}
}

// find returns a name's addresses as networks; none when they are not known.
func (h *hosts) find(ctx context.Context, name string) []netip.Prefix {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Prefix{single(a)}
	}
	h.mu.Lock()
	e := h.refresh(name)
	known, answer := e.current(), e.answer
	h.mu.Unlock()
	if known != nil || answer == nil {
		return known
	}
	select {
	case <-answer:
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return e.current()
}

// current is what may still be relied on.
func (e *host) current() []netip.Prefix {
	if e.found.IsZero() || time.Since(e.found) > hostKept {
		return nil
	}
	return e.networks
}

// refresh begins a question for the name if one is due; h.mu is held.
func (h *hosts) refresh(name string) *host {
	e := h.known[name]
	if e == nil {
		if len(h.known) >= maxHosts {
			clear(h.known)
		}
		e = &host{}
		h.known[name] = e
	}
	due := e.asked.IsZero() || time.Since(e.found) > hostFresh && time.Since(e.asked) > hostRetry
	if due && e.answer == nil {
		e.asked, e.answer = time.Now(), make(chan struct{})
		go h.ask(name, e)
	}
	return e
}

func (h *hosts) ask(name string, e *host) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupLimit)
	defer cancel()
	addrs, err := h.lookup(ctx, name)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || len(addrs) == 0 {
		h.log.Warn("a host that may use the REST interface has no known address now", "host", name, "err", err)
	} else {
		e.networks, e.found = nil, time.Now()
		for _, a := range addrs {
			e.networks = append(e.networks, single(a))
		}
	}
	close(e.answer)
	e.answer = nil
}

func single(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}
