package proxy

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// statsServer shows the numbers: text on /, JSON on /stats. It changes nothing
// and shows no secret, so it asks for no password.
type statsServer struct {
	ln  net.Listener
	srv *http.Server
}

func newStatsServer(ln net.Listener, p *Proxy) *statsServer {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(p.Stats())
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, p.Stats().Text())
	})
	return &statsServer{ln: ln, srv: &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}}
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
	for _, m := range s.Backends {
		fmt.Fprintf(&b, "%-20s %-22s %-15s %-10s sessions %d, ever %d", m.Member, m.Address, m.Role, m.State, m.Sessions, m.Served)
		if m.Failure != "" {
			fmt.Fprintf(&b, ", does not answer: %s", m.Failure)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
