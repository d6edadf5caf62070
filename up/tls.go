package up

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/matriarch-ha/matriarch/dcs/etcdembed"
)

// The store speaks mutual TLS even on loopback: whoever can write its keys owns
// the cluster, and on a shared machine every user can reach loopback. All votes
// and clients use the one certificate, which only the cluster's owner can read.
func tlsFiles(dir string) etcdembed.TLS {
	return etcdembed.TLS{CA: filepath.Join(dir, "store-ca.pem"), Cert: filepath.Join(dir, "store.pem"), Key: filepath.Join(dir, "store.key")}
}

// certificateLife is long: a cluster for trying things out has nobody who renews.
const certificateLife = 50 * 365 * 24 * time.Hour

// makeCertificate makes the store's certificate where there is none. The
// authority's key is not kept: nothing else shall ever be signed.
func makeCertificate(dir, scope string) error {
	f := tlsFiles(dir)
	if _, err := os.Stat(f.CA); err == nil {
		return nil // written last, so the others are there
	}
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	now := time.Now().Add(-time.Hour)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "store of " + scope},
		NotBefore: now, NotAfter: now.Add(certificateLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: scope},
		NotBefore: now, NotAfter: now.Add(certificateLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.ParseIP(host)},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return fmt.Errorf("make the store's certificate: %w", err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return fmt.Errorf("make the store's certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for _, w := range []struct {
		path, kind string
		der        []byte
	}{{f.Key, "PRIVATE KEY", keyDER}, {f.Cert, "CERTIFICATE", leafDER}, {f.CA, "CERTIFICATE", caDER}} {
		if err := writeFile(w.path, pem.EncodeToMemory(&pem.Block{Type: w.kind, Bytes: w.der})); err != nil {
			return err
		}
	}
	return nil
}
