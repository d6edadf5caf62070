package config

import (
	"crypto/tls"
	"net/netip"
)

// ProxyTLS is what the entrypoint does with its clients' TLS.
type ProxyTLS struct {
	End             bool // it ends at the entrypoint; else it passes to the servers unread
	CertFile        string
	KeyFile         string // "": in CertFile
	KeyFilePassword Secret
	CAFile          string // not "": clients need a certificate that it signed
	MinVersion      uint16 // as crypto/tls has them; default TLS 1.2
}

func tlsFields() []field {
	return append(strs("certfile", "keyfile", "keyfile_password", "cafile"),
		oneOf("mode", "pass", "end"), oneOf("min_version", "tlsv1.2", "tlsv1.3"),
		oneOf("server", "disable", "require", "verify-ca", "verify-full"))
}

// networks leaves out what is none; checkTrusted tells of that.
func networks(texts []string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		if p, err := network(t); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// network reads a network, or an address for a network of one.
func network(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Unmap().WithZone("").Prefix(a.Unmap().BitLen())
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

func decodeProxyTLS(d reader) ProxyTLS {
	t := ProxyTLS{
		End: orOff(d.text("mode", "pass")) == "end", CertFile: d.text("certfile", ""), KeyFile: d.text("keyfile", ""),
		KeyFilePassword: d.secret("keyfile_password"), CAFile: d.text("cafile", ""), MinVersion: tls.VersionTLS12,
	}
	if orOff(d.text("min_version", "")) == "tlsv1.3" {
		t.MinVersion = tls.VersionTLS13
	}
	return t
}
