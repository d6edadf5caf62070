package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/matriarch-ha/matriarch/api"
)

// restPort is the REST server on its address, which a reload may move.
type restPort struct {
	server *api.Server
	log    *slog.Logger

	mu       sync.Mutex
	address  string
	listener net.Listener
	end      context.CancelFunc
	serving  sync.WaitGroup
}

// change puts policy and address into force, both or, with an error, none.
// Certificate files are read again in any case.
func (p *restPort) change(policy api.Policy, address string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	back, err := p.server.Exchange(policy)
	if err != nil {
		return err
	}
	if address != p.address {
		if err := p.listen(address); err != nil {
			back() // and not read anew: its files may be gone
			return err
		}
	}
	return nil
}

// listen serves on an address, and no more on the one before. When that cannot
// be, all stays as it was.
func (p *restPort) listen(address string) error {
	l, err := api.Listen(context.Background(), address)
	if err != nil && p.listener != nil && port(address) == port(p.address) {
		// The old address may be what is in the way: *:8008 and 10.0.0.1:8008.
		p.end()
		p.listener.Close()
		if l, err = api.Listen(context.Background(), address); err != nil {
			err = p.relisten(err)
		}
	}
	if err != nil {
		return fmt.Errorf("restapi.listen %s: %w (is another agent running, or the port taken by another program?)", address, err)
	}
	p.serve(address, l)
	return nil
}

// relisten takes the old address up again.
func (p *restPort) relisten(because error) error {
	l, err := api.Listen(context.Background(), p.address)
	if err != nil {
		err = fmt.Errorf("%w; and %s, given up for it, cannot be had back: %v; reload once it is free", because, p.address, err)
		p.address = "" // the next reload tries again, also with the same
		return err
	}
	p.serve(p.address, l)
	return because
}

func (p *restPort) serve(address string, l net.Listener) {
	if p.end != nil {
		p.end()
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.address, p.listener, p.end = address, l, cancel
	p.serving.Go(func() {
		defer cancel()
		if err := p.server.Serve(ctx, l); err != nil && ctx.Err() == nil {
			p.log.Error("the REST server ended", "error", err)
		}
	})
	p.log.Info("REST interface is up", "address", l.Addr().String())
}

// stop ends the server; requests under way get a moment.
func (p *restPort) stop(limit context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end == nil {
		return nil
	}
	p.end()
	done := make(chan struct{})
	go func() { p.serving.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-limit.Done():
		return limit.Err()
	}
}

// port is the last part of an address.
func port(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return port
}
