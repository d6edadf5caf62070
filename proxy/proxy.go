package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/journal/rest"
)

// Proxy is the entrypoint. Make it with New, then Start and Stop, or Run.
type Proxy struct {
	o       Options
	table   *table
	outages *outages
	asker   *restAsker
	buffers *buffers
	cancels *cancels
	door    *door
	denials chan struct{} // places for clients that are told that they are not let in
	loops   []*loop       // none: goroutines forward
	looping sync.WaitGroup
	certs   *certificates // nil: TLS does not end here
	lobby   lobby
	crowded atomic.Int64 // when it was last told that the lobby is full; a boot.Instant

	ports   []*port // all that are configured
	stats   *statsServer
	stop    context.CancelFunc // listeners, held clients and startups end
	stopAll context.CancelFunc // the table shuts every gate
	wg      sync.WaitGroup     // everything but the sessions
	clients sync.WaitGroup     // one per accepted client

	reads chan struct{} // places for readers of the journal
	held  atomic.Int64  // clients that wait, at all ports
}

// New checks the options and makes a proxy that does nothing yet.
func New(o Options) (*Proxy, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if o.Journal == nil {
		j, err := journal.Open(journal.Options{})
		if err != nil {
			return nil, err
		}
		o.Journal = j
	}
	var certs *certificates
	if o.TLS != nil {
		var err error
		if certs, err = newCertificates(*o.TLS, o.Clock, o.Logger); err != nil {
			return nil, err
		}
	}
	out := newOutages(o.Journal, o.Clock, o.Name)
	asker := &restAsker{http: o.HTTP, clock: o.Clock}
	ports := newPorts(o)
	var services []*service
	for _, pt := range ports {
		services = append(services, pt.services...)
	}
	return &Proxy{
		o: o, certs: certs, lobby: lobby{limit: o.StartupLimit}, outages: out, asker: asker, ports: ports, table: newTable(o, services, asker, out),
		buffers: newBuffers(), cancels: newCancels(o.ConnectTimeout),
		door: newDoor(o.MaxClientsPerAddress, o.LoginRatePerAddress), denials: make(chan struct{}, maxDenied), reads: make(chan struct{}, rest.AtOnce),
	}, nil
}

// Start opens the ports, all or none, and begins to serve. ctx bounds the
// opening only; Stop ends what was started.
func (p *Proxy) Start(ctx context.Context) error {
	if err := p.listen(ctx); err != nil {
		p.closePorts()
		return err
	}
	if err := p.startLoops(); err != nil {
		p.closePorts()
		return err
	}
	serving, stop := context.WithCancel(context.Background())
	tableCtx, stopAll := context.WithCancel(context.Background())
	p.stop, p.stopAll = stop, stopAll
	p.asker.announcement = p.announcement()
	p.outages.start(p.introduction())
	views := p.o.Views.Watch(tableCtx)
	p.wg.Go(func() { p.table.run(tableCtx, views) })
	for _, pt := range p.ports {
		p.wg.Go(func() { p.accept(serving, pt) })
	}
	if p.stats != nil {
		p.wg.Go(p.stats.run)
	}
	return nil
}

func (p *Proxy) listen(ctx context.Context) error {
	var errs []error
	open := func(key, addr string) *net.TCPListener {
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", listenAddr(addr))
		if err != nil {
			errs = append(errs, fmt.Errorf("proxy.%s %s: %w (stop what listens there, or give another port)", key, addr, err))
			return nil
		}
		return ln.(*net.TCPListener)
	}
	for _, pt := range p.ports {
		pt.ln = open(pt.setting, pt.Listen)
	}
	if p.o.Stats != "" {
		if ln := open("stats", p.o.Stats); ln != nil {
			p.stats = newStatsServer(ln, p)
		}
	}
	return errors.Join(errs...)
}

func (p *Proxy) closePorts() {
	for _, pt := range p.ports {
		if pt.ln != nil {
			pt.ln.Close()
		}
	}
	if p.stats != nil {
		p.stats.ln.Close()
	}
}

// Stop takes no new clients, turns the held ones away, lets sessions end by
// themselves until ctx ends, ends the rest, and returns when all is over. It
// reports ctx's error when sessions had to be ended. Stop after a failed or
// missing Start does nothing.
func (p *Proxy) Stop(ctx context.Context) error {
	if p.stop == nil {
		return nil
	}
	for _, pt := range p.ports {
		pt.ln.Close()
	}
	p.stop()
	done := make(chan struct{})
	go func() { p.clients.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("proxy: sessions were still running when the time to drain was over: %w", ctx.Err())
	}
	p.stopAll()
	<-done // bounded: each session has a second for its last words
	p.stopLoops()
	if p.stats != nil {
		p.stats.stop()
	}
	p.wg.Wait()
	p.outages.stop()
	return err
}

// introduction says what serves from now on, and where.
func (p *Proxy) introduction() string {
	var where []string
	for _, pt := range p.ports {
		where = append(where, pt.Name+" at "+pt.ln.Addr().String())
	}
	if addr := p.StatsAddr(); addr != nil {
		where = append(where, "statistics at "+addr.String())
	}
	return "version " + cmp.Or(p.o.Version, "unknown") + " serves " + strings.Join(where, ", ")
}

// announcement is where members are told that this entrypoint's journal is.
func (p *Proxy) announcement() rest.Announcement {
	tcp, ok := p.StatsAddr().(*net.TCPAddr)
	if !ok {
		return rest.Announcement{}
	}
	a := rest.Announcement{Port: tcp.AddrPort().Port()}
	if addr := tcp.AddrPort().Addr().Unmap(); !addr.IsUnspecified() && addr.Zone() == "" {
		a.Host = addr
	}
	return a
}

// Pages answers what the statistics port answers.
func (p *Proxy) Pages() http.Handler { return p.pages() }

// Run serves until ctx ends and then stops within DrainTimeout.
func (p *Proxy) Run(ctx context.Context) error {
	if err := p.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.o.DrainTimeout)
	defer cancel()
	if err := p.Stop(drain); err != nil { // clients that stay are no failure of the stop
		p.o.Logger.Warn("told to stop: ended sessions that did not end by themselves", "after", p.o.DrainTimeout)
	}
	return nil
}

// Addr returns the address of the read-write port, nil when there is none.
func (p *Proxy) Addr() net.Addr { return p.PortAddr(portReadWrite) }

// ReplicasAddr returns the address of the read-only port, nil when there is none.
func (p *Proxy) ReplicasAddr() net.Addr { return p.PortAddr(portReadOnly) }

// PortAddr returns the address of the port of that name, nil when there is none.
func (p *Proxy) PortAddr(name string) net.Addr {
	for _, pt := range p.ports {
		if pt.Name == name && pt.ln != nil {
			return pt.ln.Addr()
		}
	}
	return nil
}

// StatsAddr returns the address of the statistics page, nil when there is none.
func (p *Proxy) StatsAddr() net.Addr {
	if p.stats == nil {
		return nil
	}
	return p.stats.ln.Addr()
}

// accept serves one port until its listener is closed.
func (p *Proxy) accept(ctx context.Context, pt *port) {
	for ctx.Err() == nil {
		c, err := pt.ln.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors, most likely: sessions that end will free some.
			p.o.Logger.Warn("cannot accept a client", "error", err)
			sleep(ctx, 100*time.Millisecond)
			continue
		}
		s := &session{p: p, port: pt, service: pt.service, client: c, out: func() {}, patience: p.o.StartupTimeout}
		if peer := c.RemoteAddr(); !p.o.trusts(peer) && !s.admit(addrOf(peer)) {
			continue
		}
		pt.taken(p.o.Clock.Now())
		p.clients.Add(1)
		go s.run(ctx)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
