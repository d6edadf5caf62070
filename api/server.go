package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/matriarch-ha/matriarch/internal/clock"
)

// Limits of one request.
const (
	maxBody      = 256 << 10
	maxHeader    = 32 << 10
	readTimeout  = 10 * time.Second
	writeTimeout = 15 * time.Second
	idleTimeout  = 90 * time.Second
	// freshTimeout bounds asking the local server for one answer, storeTimeout
	// one read or write of the store.
	freshTimeout = 2 * time.Second
	storeTimeout = 10 * time.Second
)

// Server answers the REST interface of one member.
type Server struct {
	opts   Options
	src    Source
	clock  clock.Clock
	log    *slog.Logger
	policy atomic.Pointer[policy]
	routes map[string]route
}

// route is one handler; unsafe ones pass the access check first.
type route struct {
	handle func(http.ResponseWriter, *http.Request)
	unsafe bool
	// strangers: the allow list counts without its members.
	strangers bool
}

// New makes a server; it fails when the policy cannot be used (certificates).
func New(opts Options) (*Server, error) {
	if opts.Clock == nil {
		opts.Clock = clock.Real{}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opts: opts, src: opts.Source, clock: opts.Clock, log: opts.Log}
	if err := s.Reconfigure(opts.Policy); err != nil {
		return nil, err
	}
	s.routes = s.table()
	return s, nil
}

// Reconfigure replaces the policy for all requests from now on; on an error the
// old one stays. Call it also when certificate files were replaced.
func (s *Server) Reconfigure(p Policy) error {
	compiled, err := compile(p, s.src.Status().Version, s.log)
	if err != nil {
		return err
	}
	s.policy.Store(compiled)
	return nil
}

// table lists the paths that are more than a health check.
func (s *Server) table() map[string]route {
	t := map[string]route{
		"GET liveness":  {handle: s.getLiveness},
		"GET readiness": {handle: s.getReadiness},
		"GET patroni":   {handle: s.getPatroni},
		"GET cluster":   {handle: s.getCluster},
		"GET history":   {handle: s.getHistory},
		"GET config":    {handle: s.getConfig},
		"GET metrics":   {handle: s.getMetrics},
		"GET failsafe":  {handle: s.getFailsafe},
		"GET lease":     {handle: s.getLease},
		"GET vote":      {handle: s.getVote},
		"GET journal":   {handle: s.getJournal},

		"PATCH config":      {handle: s.patchConfig, unsafe: true},
		"PUT config":        {handle: s.putConfig, unsafe: true},
		"POST reload":       {handle: s.postReload, unsafe: true},
		"POST switchover":   {handle: s.postSwitchover, unsafe: true},
		"POST failover":     {handle: s.postFailover, unsafe: true},
		"DELETE switchover": {handle: s.deleteSwitchover, unsafe: true},
		"POST failsafe":     {handle: s.postFailsafe, unsafe: true, strangers: true},
	}
	if s.opts.UI != nil {
		t["GET ui"] = route{handle: s.opts.UI.ServeHTTP}
	}
	return t
}

// ServeHTTP dispatches by method and first path segment; the rest of the path
// does not count. Reading paths that are not listed are health checks.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pol := s.policy.Load()
	w.Header().Set("Server", pol.server)
	switch r.Method {
	case http.MethodHead, http.MethodOptions:
		s.statusOnly(w, s.healthy(r))
		return
	}
	rt, ok := s.routes[r.Method+" "+firstSegment(r.URL.Path)]
	switch {
	case !ok && r.Method == http.MethodGet:
		s.getHealth(w, r)
	case !ok:
		w.Header().Set("Connection", "close")
		errorPage(w, http.StatusNotImplemented, "Unsupported method ('"+r.Method+"')")
	case rt.unsafe && !s.admit(w, r, pol, rt):
		// answered already
	default:
		rt.handle(w, r)
	}
}

func firstSegment(path string) string {
	first, _, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	return first
}

// Serve answers on the listener until ctx ends, then gives requests under way a
// moment to finish. The listener is closed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// Requests end with the server: a wait for an outcome must not hold up
		// the agent's own end.
		BaseContext: func(net.Listener) context.Context { return ctx },
		// "OPTIONS *" is a health check like any other.
		DisableGeneralOptionsHandler: true,
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(&listener{Listener: l, policy: &s.policy}) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Listen opens the port of a restapi.listen value: an empty host or * means all
// addresses.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	address = strings.TrimPrefix(address, "*")
	lc := net.ListenConfig{KeepAlive: 10 * time.Second}
	return lc.Listen(ctx, "tcp", address)
}
