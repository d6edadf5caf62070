package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/journal"
)

// Sight is what the store shows: a view of the cluster, or that it is lost.
type Sight struct {
	View cluster.View
	Lost error // why there is no view; nil otherwise
}

// Views feeds the newest view of the cluster: one soon after the call and one
// after each change. When the store gets out of reach it says so once; the proxy
// then goes on by asking the members alone.
type Views interface {
	Watch(ctx context.Context) <-chan Sight
}

// Options configure a Proxy. Zero durations and limits mean the defaults.
type Options struct {
	// Listen is the address of the read-write port, ListenReplicas of the
	// read-only port, Stats of the statistics page: host:port, where host may be
	// empty or "*" for all addresses. An empty string leaves the port out; at
	// least one of the first two or one of Ports is needed.
	Listen         string
	ListenReplicas string
	Stats          string
	Ports          []Port // further ones

	HoldTimeout    time.Duration // how long a connection may wait for a backend; 30 s
	HoldLimit      int           // how many may wait at once; 1000
	ConnectTimeout time.Duration // for one attempt to reach a backend; 4 s
	StartupTimeout time.Duration // for a client until its startup packet is there, a TLS handshake included; 60 s, as PostgreSQL's
	StartupLimit   int           // how many clients may be awaited at once to send them; 5000
	TCP            TCP
	DrainTimeout   time.Duration // how long Run lets sessions end by themselves; 5 s

	Engine Engine // what forwards; EngineEvents

	MaxClients           int // at each of the first two ports at once; 0 no limit
	MaxClientsPerAddress int // at all ports at once; 0 no limit
	LoginRatePerAddress  int // at all ports per second, on average; 0 no limit
	MaxConnections       int // at each of the first two ports: sessions with one member at once; 0 no limit

	MaxLag           uint64        // read-only port: limit of replay lag in bytes; 0 none
	MaxLagTime       time.Duration // and in time
	Zone             string        // read-only port: prefer members whose tag says so
	SlowStart        time.Duration // read-only port: to a member's whole share, when it is back; 0: at once
	NoLeaderFallback bool          // read-only port: refuse rather than use the leader
	AskInterval      time.Duration // the longest interval between two questions to a member; 1 s

	// Name is what the journal's records are signed with, Version what they say
	// that runs here. Name defaults to "entrypoint".
	Name, Version string
	// Journal keeps what happened; whoever made it runs it. Nil means one of our
	// own, in memory.
	Journal *journal.Journal

	// TLS of the clients ends here; nil: it is passed on to the servers unread.
	TLS *TLS

	// Trusted are the load balancers that tell for whom they connect, in a PROXY
	// header, which they must send. Nobody else's is taken.
	Trusted []netip.Prefix

	Views Views
	// HTTP asks the members' REST APIs: TLS and credentials are its transport's
	// business. Nil means a plain client of our own.
	HTTP   *http.Client
	Clock  clock.Clock
	Logger *slog.Logger
}

// Engine is a way to forward the bytes of sessions that have begun.
type Engine string

// EngineEvents forwards in event loops, EngineGoroutines in two goroutines for each
// session.
const (
	EngineEvents     Engine = "events"
	EngineGoroutines Engine = "goroutines"
)

func (o Options) withDefaults() Options {
	setDuration(&o.HoldTimeout, 30*time.Second)
	setDuration(&o.ConnectTimeout, 4*time.Second)
	setDuration(&o.StartupTimeout, 60*time.Second)
	o.TCP = o.TCP.withDefaults()
	setDuration(&o.DrainTimeout, 5*time.Second)
	setDuration(&o.AskInterval, time.Second)
	o.Name = cmp.Or(o.Name, "entrypoint")
	if o.HoldLimit == 0 {
		o.HoldLimit = 1000
	}
	if o.StartupLimit == 0 {
		o.StartupLimit = 5000
	}
	if o.HTTP == nil {
		// No proxy from the environment: members are asked directly, or not at all.
		o.HTTP = &http.Client{Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: o.ConnectTimeout}).DialContext,
			MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		}}
	}
	if o.HTTP.CheckRedirect == nil {
		// An answer from elsewhere would not be the member's own word.
		own := *o.HTTP
		own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		o.HTTP = &own
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func setDuration(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

func (o Options) check() error {
	var errs []error
	if o.Listen == "" && o.ListenReplicas == "" && len(o.Ports) == 0 {
		errs = append(errs, errors.New("proxy: neither listen nor listen_replicas nor ports is set; set at least one, such as 0.0.0.0:5000"))
	}
	if o.Views == nil {
		errs = append(errs, errors.New("proxy: no source of views"))
	}
	for key, a := range map[string]string{"listen": o.Listen, "listen_replicas": o.ListenReplicas, "stats": o.Stats} {
		if _, _, err := net.SplitHostPort(a); a != "" && err != nil {
			errs = append(errs, fmt.Errorf("proxy: %s %q: want host:port, such as 0.0.0.0:5000: %w", key, a, err))
		}
	}
	for key, d := range map[string]time.Duration{"hold_timeout": o.HoldTimeout, "connect_timeout": o.ConnectTimeout,
		"login_timeout": o.StartupTimeout, "drain timeout": o.DrainTimeout, "max_lag_time": o.MaxLagTime, "slow_start": o.SlowStart, "ask interval": o.AskInterval} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("proxy: %s %s is negative", key, d))
		}
	}
	for key, n := range map[string]int{"hold_limit": o.HoldLimit, "max_connections": o.MaxConnections,
		"max_clients": o.MaxClients, "max_clients_per_address": o.MaxClientsPerAddress, "login_rate_per_address": o.LoginRatePerAddress} {
		if n < 0 {
			errs = append(errs, fmt.Errorf("proxy: %s %d is negative", key, n))
		}
	}
	if o.StartupLimit < 0 {
		errs = append(errs, fmt.Errorf("proxy: startup limit %d is negative", o.StartupLimit))
	}
	return errors.Join(append(errs, checkPorts(o.Ports)...)...)
}

// listenAddr turns the field's "*:5000" into what net.Listen understands.
func listenAddr(s string) string {
	if rest, ok := strings.CutPrefix(s, "*:"); ok {
		return ":" + rest
	}
	return s
}
