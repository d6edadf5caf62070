package config

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProxyTLS(t *testing.T) {
	const base = "scope: s\nembedded: {}\nproxy:\n  tls: "
	f := read(t, base+"{mode: End, certfile: /c, keyfile: /k, keyfile_password: geheim, cafile: /a, min_version: TLSv1.3}\n")
	want := ProxyTLS{End: true, CertFile: "/c", KeyFile: "/k", KeyFilePassword: "geheim", CAFile: "/a", MinVersion: tls.VersionTLS13}
	if f.Proxy.TLS != want {
		t.Errorf("%+v", f.Proxy.TLS)
	}
	if text := f.Raw.String(); strings.Contains(text, "geheim") {
		t.Error(text)
	}
	for text, problems := range map[string][]string{
		"{mode: end}":              {"proxy.tls.certfile: is required"},
		"{mode: end, keyfile: /k}": {"a key without its certificate"},
		"{mode: end, certfile: /c, server: verify-full}": {"proxy.tls.server = \"verify-full\": TLS to the servers cannot be used"},
		"{certfile: /c, cafile: /a, server: require}":    {"proxy.tls.certfile = \"/c\": has no effect", "proxy.tls.cafile = \"/a\": has no effect", "proxy.tls.server"},
		"{mode: both, min_version: TLSv1}":               {"must be one of pass, end", "must be one of tlsv1.2, tlsv1.3"},
	} {
		path := filepath.Join(t.TempDir(), "n.yml")
		if err := os.WriteFile(path, []byte(base+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := Load(path, nil)
		for _, want := range problems {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say: %s", text, err, want)
			}
		}
	}
}

func TestProxyProtocol(t *testing.T) {
	const base = "scope: s\nembedded: {}\nproxy: {proxy_protocol: {trusted: ["
	f := read(t, base+"10.0.0.7, 10.1.2.3/16, '::ffff:10.0.0.8', '2001:db8::/32']}}\n")
	var got []string
	for _, p := range f.Proxy.Trusted {
		got = append(got, p.String())
	}
	if want := "10.0.0.7/32 10.1.0.0/16 10.0.0.8/32 2001:db8::/32"; strings.Join(got, " ") != want {
		t.Errorf("%s, want %s", got, want)
	}
	path := filepath.Join(t.TempDir(), "n.yml")
	if err := os.WriteFile(path, []byte(base+"lb.example, 10.0.0.0/33]}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := Load(path, nil)
	for _, want := range []string{`trusted = "lb.example": is neither`, `trusted = "10.0.0.0/33": is neither`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say: %s", err, want)
		}
	}
}
