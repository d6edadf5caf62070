package proxy

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/matriarch-ha/matriarch/internal/httpclock"
	"github.com/matriarch-ha/matriarch/journal/rest"
)

// statsServer shows the numbers: a page on / (plain text for who does not ask for
// HTML), JSON on /stats, HAProxy's CSV where its own pages are usually asked for it,
// Prometheus' format on /metrics; and the journal on /journal. It changes nothing and shows no secret, so it asks for no password.
type statsServer struct {
	ln  net.Listener
	srv *http.Server
}

func newStatsServer(ln net.Listener, p *Proxy) *statsServer {
	return &statsServer{ln: ln, srv: &http.Server{Handler: p.pages(), ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: 90 * time.Second, MaxHeaderBytes: 16 << 10}}
}

// pages answers the questions of the statistics port.
func (p *Proxy) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(p.Stats())
	})
	mux.HandleFunc("GET /journal", p.getJournal)
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewCollector(p.Stats))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			p.getPage(w)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, p.Stats().Text())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, stamped := w.(*httpclock.Writer); !stamped {
			w = &httpclock.Writer{ResponseWriter: w, Clock: p.o.Clock}
		}
		if r.Method == http.MethodGet && asksForCSV(r) {
			p.getCSV(w)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// asksForCSV: HAProxy's pages are put anywhere, and its CSV is any of them with
// ";csv" after it, in the path or in the query, and perhaps more options after that.
func asksForCSV(r *http.Request) bool {
	return strings.Contains(r.URL.Path, ";csv") || strings.Contains(r.URL.RawQuery, ";csv")
}

func (p *Proxy) getCSV(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	p.Stats().WriteCSV(w) // an error means that the asker is gone
}

// getJournal answers as the members do.
func (p *Proxy) getJournal(w http.ResponseWriter, r *http.Request) {
	select {
	case p.reads <- struct{}{}:
		defer func() { <-p.reads }()
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many readings of the journal are under way", http.StatusServiceUnavailable)
		return
	}
	q, err := rest.Query(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	records, err := p.o.Journal.Since(q)
	var body []byte
	if err == nil {
		body, err = rest.Encode(records)
	}
	if err != nil {
		p.o.Logger.Warn("the journal cannot be read", "error", err)
		http.Error(w, "the journal cannot be read; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // an error means that the asker is gone
}

func (s *statsServer) run() { s.srv.Serve(s.ln) }

// stop cuts readers off: a page is not worth waiting for.
func (s *statsServer) stop() { s.srv.Close() }

// Text prints the numbers for a person.
func (s Stats) Text() string {
	var b strings.Builder
	if s.Primary != "" {
		fmt.Fprintf(&b, "primary %s, lease good for %.0f ms\n", s.Primary, s.LeaseLeft)
	} else {
		fmt.Fprintf(&b, "no primary: %s\n", s.WhyNone)
	}
	fmt.Fprintf(&b, "clients accepted %d, held now %d, refused %d, sessions terminated %d\n",
		s.Accepted, s.Held, s.Refused, s.Terminated)
	for _, p := range s.Ports {
		fmt.Fprintf(&b, "%s at %s: %d clients, %d wait\n", p.Port, p.Address, p.Clients.Now, p.Held.Now)
		for _, m := range p.Members {
			used := "out"
			if m.In {
				used = "in"
			}
			fmt.Fprintf(&b, "  %-3s %s\n", used, m.Why)
		}
	}
	for _, m := range s.Backends {
		fmt.Fprintf(&b, "%-20s %-22s %-15s %-10s sessions %d, ever %d", m.Member, m.Address, m.Role, m.State, m.Sessions, m.Served)
		if m.Failure != "" {
			fmt.Fprintf(&b, ", does not answer: %s", m.Failure)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
