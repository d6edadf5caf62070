package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// policy is a Policy made ready to use.
type policy struct {
	Policy
	networks []netip.Prefix
	names    []string // host names of the allow list
	tls      *tls.Config
	headers  map[string]string
	server   string
}

func compile(p Policy, version string, log *slog.Logger) (*policy, error) {
	conf, err := p.TLS.config()
	if err != nil {
		return nil, err
	}
	c := &policy{Policy: p, tls: conf, headers: map[string]string{}, server: serverHeader(p.ServerTokens, version)}
	for k, v := range p.Headers {
		c.headers[k] = v
	}
	if conf != nil {
		for k, v := range p.TLSHeaders {
			c.headers[k] = v
		}
	}
	for _, entry := range p.AllowList {
		switch network, ok := parseNetwork(entry); {
		case ok:
			c.networks = append(c.networks, network)
		case entry == "" || strings.ContainsAny(entry, "/ "):
			log.Warn("restapi.allowlist entry is no address, network or host name: it allows nobody", "entry", entry)
		default:
			c.names = append(c.names, entry)
		}
	}
	return c, nil
}

func serverHeader(tokens, version string) string {
	switch strings.ToLower(tokens) {
	case "productonly":
		return "Patroni"
	case "minimal":
		return "Patroni/" + version
	}
	return "Matriarch"
}

func parseNetwork(entry string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(entry); err == nil {
		return single(a), true
	}
	p, err := netip.ParsePrefix(entry)
	return p.Masked(), err == nil
}

// admit decides whether a request that changes something may go on; if not it
// has answered. Every method but the reading ones passes here, so that no path
// can be forgotten.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, p *policy) bool {
	switch {
	case !s.addressAllowed(r, p):
		s.text(w, http.StatusForbidden, "Access is denied")
	case crossOrigin.Check(r) != nil:
		s.text(w, http.StatusForbidden, "Access is denied to pages of other sites")
	case p.Username == "" && s.rebound(r):
		s.text(w, http.StatusForbidden, "Access is denied to pages under the name "+strconv.Quote(r.Host)+
			": it is no member's; use an address, or a member's name, or set restapi.authentication")
	case p.certificateWanted() && !certified(r):
		s.text(w, http.StatusForbidden, "client certificate required")
	case p.Username == "":
		return true
	case r.Header.Get("Authorization") == "":
		s.unauthorized(w, "no auth header received")
	case !p.passwordMatches(r):
		s.unauthorized(w, "not authenticated")
	default:
		return true
	}
	return false
}

// crossOrigin finds out requests that a page of another site makes a browser
// send, which would add the password that it knows. Other programs than
// browsers do not say where they come from and are not concerned.
var crossOrigin = http.NewCrossOriginProtection()

// rebound reports whether a page asks that came under a name of its own, which
// its owner lets resolve to this host: for the browser it is of the same site. A
// password, which the browser does not know under that name, is as good a
// defence.
func (s *Server) rebound(r *http.Request) bool {
	if r.Header.Get("Origin") == "" {
		return false // no page
	}
	name := (&url.URL{Host: r.Host}).Hostname()
	if _, err := netip.ParseAddr(name); err == nil || strings.EqualFold(name, "localhost") {
		return false
	}
	return !slices.ContainsFunc(s.memberHosts(), func(host string) bool { return strings.EqualFold(host, name) })
}

func (s *Server) unauthorized(w http.ResponseWriter, text string) {
	w.Header().Set("WWW-Authenticate", `Basic realm="Patroni"`)
	s.text(w, http.StatusUnauthorized, text)
}

// addressAllowed checks where the request comes from.
func (s *Server) addressAllowed(r *http.Request, p *policy) bool {
	if len(p.AllowList) == 0 && !p.AllowMembers {
		return true
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	ip := from.Addr().Unmap().WithZone("")
	if within(p.networks, ip) {
		return true
	}
	names := p.names
	if p.AllowMembers {
		names = append(names[:len(names):len(names)], s.memberHosts()...)
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookupWait)
	defer cancel()
	for _, name := range names {
		if within(s.hosts.find(ctx, name), ip) {
			return true
		}
	}
	return false
}

func within(networks []netip.Prefix, ip netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// memberHosts are the hosts of the members' REST interfaces.
func (s *Server) memberHosts() []string {
	var out []string
	for _, m := range s.src.Status().View.Members {
		if u, err := url.Parse(m.APIURL); err == nil && u.Hostname() != "" {
			out = append(out, u.Hostname())
		}
	}
	return out
}

// certificateWanted: who changes something has to show a certificate.
func (p *policy) certificateWanted() bool {
	return p.tls != nil && (p.TLS.VerifyClient == "required" || p.TLS.VerifyClient == "optional")
}

// certified reports whether the client has shown a certificate. A connection
// that was opened before TLS was switched on has shown none.
func certified(r *http.Request) bool { return r.TLS != nil && len(r.TLS.PeerCertificates) > 0 }

// passwordMatches compares in constant time: lengths are hidden by hashing.
func (p *policy) passwordMatches(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	got := sha256.Sum256([]byte(user + "\x00" + password))
	want := sha256.Sum256([]byte(p.Username + "\x00" + p.Password))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && ok
}
