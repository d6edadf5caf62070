package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// resolveTimeout bounds looking up host names of the allow list or of members.
const resolveTimeout = 2 * time.Second

// policy is a Policy made ready to use.
type policy struct {
	Policy
	networks []netip.Prefix
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
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	for _, entry := range p.AllowList {
		found := resolve(ctx, entry)
		if len(found) == 0 {
			log.Warn("restapi.allowlist entry is no address, network or known host: it allows nobody", "entry", entry)
		}
		c.networks = append(c.networks, found...)
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

// resolve turns a network, an address or a host name into networks.
func resolve(ctx context.Context, entry string) []netip.Prefix {
	if p, err := netip.ParsePrefix(entry); err == nil {
		return []netip.Prefix{p.Masked()}
	}
	if a, err := netip.ParseAddr(entry); err == nil {
		return []netip.Prefix{single(a)}
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", entry)
	if err != nil {
		return nil
	}
	var out []netip.Prefix
	for _, a := range addrs {
		out = append(out, single(a))
	}
	return out
}

func single(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

// admit decides whether an unsafe request may go on; if not it has answered.
// Every unsafe path passes here, so that none can be forgotten.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, p *policy, rt route) bool {
	switch {
	case !s.addressAllowed(r, p, rt):
		s.text(w, http.StatusForbidden, "Access is denied")
	case p.certificateMissing(r):
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

func (s *Server) unauthorized(w http.ResponseWriter, text string) {
	w.Header().Set("WWW-Authenticate", `Basic realm="Patroni"`)
	s.text(w, http.StatusUnauthorized, text)
}

// addressAllowed checks where the request comes from. When only members are
// allowed and the path does not count them, the address is not checked.
func (s *Server) addressAllowed(r *http.Request, p *policy, rt route) bool {
	members := p.AllowMembers && !rt.strangers
	if len(p.AllowList) == 0 && !members {
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
	return members && s.isMember(r.Context(), ip)
}

func within(networks []netip.Prefix, ip netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// isMember looks the members' hosts up now: addresses move.
func (s *Server) isMember(ctx context.Context, ip netip.Addr) bool {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	for _, m := range s.src.Status().View.Members {
		u, err := url.Parse(m.APIURL)
		if err == nil && u.Hostname() != "" && within(resolve(ctx, u.Hostname()), ip) {
			return true
		}
	}
	return false
}

func (p *policy) certificateMissing(r *http.Request) bool {
	wanted := p.TLS.VerifyClient == "required" || p.TLS.VerifyClient == "optional"
	return wanted && r.TLS != nil && len(r.TLS.PeerCertificates) == 0
}

// passwordMatches compares in constant time: lengths are hidden by hashing.
func (p *policy) passwordMatches(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	got := sha256.Sum256([]byte(user + "\x00" + password))
	want := sha256.Sum256([]byte(p.Username + "\x00" + p.Password))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && ok
}
