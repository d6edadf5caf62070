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
	"github.com/matriarch-ha/matriarch/internal/httpclock"
	"github.com/matriarch-ha/matriarch/journal/rest"
)

// Limits of one request.
const (
	maxBody      = 256 << 10
	maxHeader    = 16 << 10
	headTimeout  = 5 * time.Second
	readTimeout  = 10 * time.Second
	writeTimeout = 15 * time.Second
	idleTimeout  = 90 * time.Second
	// freshTimeout is how long an answer waits for the local server: less than
	// the two seconds that peers wait for it. probeTimeout bounds the question
	// itself, which may go on without its askers.
	freshTimeout = 1500 * time.Millisecond
	probeTimeout = 2 * time.Second
	// loadTimeout bounds reading the store, storeTimeout what is done to it.
	loadTimeout  = 3 * time.Second
	storeTimeout = 10 * time.Second
	// probePause and loadPause are the least times between two questions.
	probePause = 20 * time.Millisecond
	loadPause  = 5 * time.Millisecond
)

// Server answers the REST interface of one member.
type Server struct {
	opts   Options
	src    Source
	clock  clock.Clock
	log    *slog.Logger
	policy atomic.Pointer[policy]
	hosts  *hosts
	// entrypoints are those that asked here, entrypoint is the one of this process.
	entrypoints *entrypoints
	entrypoint  atomic.Pointer[Entrypoint]
	routes      map[string]http.HandlerFunc

	conns   pool
	changes slots
	reads   slots
	probes  *flight[Status]
	views   *flight[loaded]
}

// New makes a server; it fails when the policy cannot be used (certificates).
func New(opts Options) (*Server, error) {
	if opts.Clock == nil {
		opts.Clock = clock.Real{}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opts: opts, src: opts.Source, clock: opts.Clock, log: opts.Log, hosts: newHosts(opts.Log),
		entrypoints: newEntrypoints(opts.Clock),
		conns:       pool{max: maxConns}, changes: make(slots, maxChanges), reads: make(slots, rest.AtOnce)}
	s.probes = &flight[Status]{run: opts.Source.Fresh, limit: probeTimeout, every: probePause}
	s.views = &flight[loaded]{run: s.readStore, limit: loadTimeout, every: loadPause}
	if err := s.Reconfigure(opts.Policy); err != nil {
		return nil, err
	}
	s.routes = s.table()
	return s, nil
}

// Reconfigure replaces the policy for all requests from now on; on an error the
// old one stays. Call it also when certificate files were replaced.
func (s *Server) Reconfigure(p Policy) error {
	_, err := s.Exchange(p)
	return err
}

// Exchange is Reconfigure, and returns what puts the former policy back as it
// was, with the certificates that were read for it.
func (s *Server) Exchange(p Policy) (back func(), err error) {
	compiled, err := compile(p, s.src.Status().Version, s.log)
	if err != nil {
		return nil, err
	}
	former := s.policy.Swap(compiled)
	return func() { s.policy.Store(former) }, nil
}

// table lists the paths that are more than a health check, by method and first
// segment.
func (s *Server) table() map[string]http.HandlerFunc {
	t := map[string]http.HandlerFunc{
		"GET liveness":  s.getLiveness,
		"GET readiness": s.getReadiness,
		"GET patroni":   s.getPatroni,
		"GET cluster":   s.getCluster,
		"GET history":   s.getHistory,
		"GET config":    s.getConfig,
		"GET metrics":   s.getMetrics,
		"GET failsafe":  s.getFailsafe,
		"GET lease":     s.getLease,
		"GET vote":      s.getVote,
		"GET journal":   s.getJournal,

		"GET entrypoint":  s.getEntrypoint,
		"GET entrypoints": s.getEntrypoints,

		"PATCH config":      s.patchConfig,
		"PUT config":        s.putConfig,
		"POST reload":       s.postReload,
		"POST restart":      s.postRestart,
		"DELETE restart":    s.deleteRestart,
		"POST reinitialize": s.postReinitialize,
		"POST switchover":   s.postSwitchover,
		"POST failover":     s.postFailover,
		"DELETE switchover": s.deleteSwitchover,
		"POST failsafe":     s.postFailsafe,
		"POST sigterm":      s.postSigterm,
	}
	if s.opts.UI != nil {
		t["GET ui"] = s.opts.UI.ServeHTTP
	}
	return t
}

// ServeHTTP dispatches by method and first path segment; the rest of the path
// does not count. Reading paths that are not listed are health checks.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = &httpclock.Writer{ResponseWriter: w, Clock: s.clock}
	pol := s.policy.Load()
	w.Header().Set("Server", pol.server)
	if c := connOf(r); c != nil {
		c.serve(true)
		defer c.serve(false)
		if c.policy.tls != pol.tls {
			w.Header().Set("Connection", "close") // the next one is opened under the new policy
		}
	}
	if pol.tls != nil && pol.TLS.VerifyClient == "required" && !certified(r) {
		s.text(w, http.StatusForbidden, "client certificate required")
		return
	}
	s.entrypoints.note(r)
	switch r.Method {
	case http.MethodHead, http.MethodOptions:
		s.statusOnly(w, s.healthy(r))
		return
	}
	handle, ok := s.routes[r.Method+" "+firstSegment(r.URL.Path)]
	switch {
	case r.Method == http.MethodGet && !ok:
		s.getHealth(w, r)
	case r.Method == http.MethodGet:
		handle(w, r)
	case !ok:
		errorPage(w, http.StatusNotImplemented, "Unsupported method ('"+r.Method+"')")
	case r.Method == http.MethodPost && firstSegment(r.URL.Path) == "failsafe":
		if s.admit(w, r, pol) {
			handle(w, r)
		}
	case s.admit(w, r, pol):
		s.within(s.changes, w, func() { handle(w, r) })
	}
}

// within runs a handler if there is a place for it, and otherwise says that
// there are too many.
func (s *Server) within(places slots, w http.ResponseWriter, handle func()) {
	if !places.enter() {
		w.Header().Set("Retry-After", "1")
		errorPage(w, http.StatusServiceUnavailable, "Too many requests of this kind are under way")
		return
	}
	defer places.leave()
	handle()
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
		ReadHeaderTimeout: headTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// Requests end with the server: a wait for an outcome must not hold up
		// the agent's own end.
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withConn,
		// "OPTIONS *" is a health check like any other.
		DisableGeneralOptionsHandler: true,
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(&listener{Listener: l, policy: &s.policy, pool: &s.conns}) }()
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
