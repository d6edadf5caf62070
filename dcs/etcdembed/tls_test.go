package etcdembed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	h := newHerd(t, 2)
	files := certificates(t, h.nodes[0].cfg.ListenPeer, h.nodes[1].cfg.ListenPeer)
	for _, n := range h.nodes {
		n.cfg.TLS = files
	}
	h.start(h.nodes...)
	h.ready(h.nodes...)
	st := h.inspectUntil(h.nodes[0].cfg.Access(), func(s Status) bool { return s.Up() == 2 && s.Majority })
	mustContain(t, st.String(), "2 of 2")

	// Without a certificate nobody gets an answer.
	a := h.nodes[0].cfg.Access()
	a.TLS = TLS{}
	st, err := Inspect(h.deadline(), a)
	if err != nil || st.Up() != 0 || st.Majority {
		t.Errorf("without TLS: %+v, %v", st, err)
	}
}

// certificates makes a CA and one certificate for all given addresses.
func certificates(t *testing.T, addrs ...string) TLS {
	t.Helper()
	dir := t.TempDir()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	caKey, ownKey := key(), key()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)}
	own := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "member"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, a := range addrs {
		host, _, _ := net.SplitHostPort(a)
		own.IPAddresses = append(own.IPAddresses, net.ParseIP(host))
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	ownDER, err := x509.CreateCertificate(rand.Reader, own, ca, &ownKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(ownKey)
	if err != nil {
		t.Fatal(err)
	}
	return TLS{CA: write("ca.crt", "CERTIFICATE", caDER), Cert: write("own.crt", "CERTIFICATE", ownDER), Key: write("own.key", "EC PRIVATE KEY", keyDER)}
}
