package api

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// names is a name service for tests.
type names struct {
	asked  int
	answer func(ctx context.Context) ([]netip.Addr, error)
}

func (n *names) lookup(ctx context.Context, _ string) ([]netip.Addr, error) {
	n.asked++
	return n.answer(ctx)
}

func addrs(texts ...string) func(context.Context) ([]netip.Addr, error) {
	return func(context.Context) (out []netip.Addr, _ error) {
		for _, t := range texts {
			out = append(out, netip.MustParseAddr(t))
		}
		return out, nil
	}
}

func hung(ctx context.Context) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }

// TestHosts follows one name: found, kept without asking, renewed beside the
// request, kept while the name service is away, and forgotten at last.
func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{answer: addrs("10.0.0.1")}
		h := newHosts(slog.New(slog.DiscardHandler))
		h.lookup = n.lookup
		expect := func(what, ip string, asked int) {
			t.Helper()
			begin := time.Now()
			got := within(h.find(t.Context(), "db.example.com"), netip.MustParseAddr(ip))
			if synctest.Wait(); !got || n.asked != asked {
				t.Errorf("%s: %s found %t, asked %d times, want %d", what, ip, got, n.asked, asked)
			}
			if time.Since(begin) != 0 {
				t.Errorf("%s: waited %v", what, time.Since(begin))
			}
		}
		expect("first", "10.0.0.1", 1)
		expect("again", "10.0.0.1", 1)
		time.Sleep(hostFresh + time.Second)
		n.answer = addrs("10.0.0.2")
		expect("old one while the new is asked for", "10.0.0.1", 2)
		expect("new one", "10.0.0.2", 2)
		time.Sleep(hostFresh + time.Second)
		n.answer = hung
		expect("name service hangs", "10.0.0.2", 3)
		time.Sleep(hostKept)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), lookupWait)
		defer cancel()
		if got := h.find(ctx, "db.example.com"); len(got) != 0 || time.Since(begin) != lookupWait {
			t.Errorf("too old: %v after %v", got, time.Since(begin))
		}
		time.Sleep(lookupLimit)
	})
}

// TestUnknownHost: a name without an address is not asked for at every request.
func TestUnknownHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{answer: func(context.Context) ([]netip.Addr, error) { return nil, errors.New("no such host") }}
		h := newHosts(slog.New(slog.DiscardHandler))
		h.lookup = n.lookup
		for range 100 {
			if got := h.find(t.Context(), "nowhere.example.com"); len(got) != 0 {
				t.Errorf("found %v", got)
			}
		}
		if n.asked != 1 {
			t.Errorf("asked %d times", n.asked)
		}
		time.Sleep(hostRetry + time.Second)
		n.answer = addrs("10.0.0.1")
		if got := h.find(t.Context(), "nowhere.example.com"); len(got) != 1 {
			t.Errorf("not found when it is there: %v", got)
		}
	})
}

// TestHostsAreBounded: names that come and go do not pile up.
func TestHostsAreBounded(t *testing.T) {
	h := newHosts(slog.New(slog.DiscardHandler))
	h.lookup = (&names{answer: addrs("10.0.0.1")}).lookup
	for i := range 3 * maxHosts {
		h.find(t.Context(), string(rune('a'+i%26))+time.Duration(i).String())
	}
	if len(h.known) > maxHosts {
		t.Errorf("%d names kept", len(h.known))
	}
}
