package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/api/apitest"
)

// TestPortInUse: neither the address nor who may do what changes when the new
// address cannot be had.
func TestPortInUse(t *testing.T) {
	m := &apitest.Member{Name: "n1", C: apitest.Lab()}
	policy := api.Policy{Username: "a", Password: "b"}
	srv, err := api.New(api.Options{Source: m, Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	p := &restPort{server: srv, log: slog.New(slog.DiscardHandler)}
	if err := p.change(policy, "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer p.stop(context.Background())
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := p.change(api.Policy{}, taken.Addr().String()); err == nil {
		t.Fatal("a port was taken twice")
	}
	resp, err := http.Post("http://"+p.listener.Addr().String()+"/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || m.Reloads() != 0 {
		t.Errorf("the former policy is not in force: %d", resp.StatusCode)
	}
}

// TestAddressLost: a reload takes up again what could not be had back, although
// the configured address is the same as before.
func TestAddressLost(t *testing.T) {
	srv, err := api.New(api.Options{Source: &apitest.Member{Name: "n1", C: apitest.Lab()}})
	if err != nil {
		t.Fatal(err)
	}
	p := &restPort{server: srv, log: slog.New(slog.DiscardHandler)}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	if err := p.change(api.Policy{}, address); err != nil {
		t.Fatal(err)
	}
	defer p.stop(context.Background())
	p.end()
	p.serving.Wait()
	taken, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.relisten(errors.New("no")); err == nil {
		t.Fatal("a port was taken twice")
	}
	taken.Close()
	if err := p.change(api.Policy{}, address); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + address + "/liveness")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// TestAddressMoves: the port follows its name when the address that it listens on
// is no more this host's, and stays as long as it is.
func TestAddressMoves(t *testing.T) {
	srv, err := api.New(api.Options{Source: &apitest.Member{Name: "n1", C: apitest.Lab()}})
	if err != nil {
		t.Fatal(err)
	}
	p := &restPort{server: srv, log: slog.New(slog.DiscardHandler)}
	former, err := net.Listen("tcp", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	_, number, _ := net.SplitHostPort(former.Addr().String())
	p.serve("localhost:"+number, former)
	defer p.stop(context.Background())
	own := func(ips ...string) func() ([]net.Addr, error) {
		return func() (out []net.Addr, err error) {
			for _, ip := range ips {
				out = append(out, &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(8, 32)})
			}
			return out, nil
		}
	}
	p.moveAlong(t.Context(), own("127.0.0.9", "127.0.0.1", "::1"))
	if p.listener != former {
		t.Fatal("moved although the address is still here")
	}
	p.moveAlong(t.Context(), own("10.0.0.1"))
	if p.listener != former {
		t.Fatal("moved to an address that is not here")
	}
	p.moveAlong(t.Context(), own("127.0.0.1", "::1"))
	if p.listener == former {
		t.Fatal("did not move")
	}
	resp, err := http.Get("http://" + p.listener.Addr().String() + "/liveness")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := net.Dial("tcp", former.Addr().String()); err == nil {
		t.Error("the former address still takes connections")
	}
}
