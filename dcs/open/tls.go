package open

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/matriarch-ha/matriarch/config"
)

// tlsConfig reads the files of a TLS client.
func tlsConfig(f config.TLS) (*tls.Config, error) {
	// Not to verify is what the configuration asks for with verify: false.
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !f.Verify}
	if f.CA != "" {
		text, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("cacert of the store: %w: give the path of its authority's certificate", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("cacert of the store: %s holds no certificate", f.CA)
		}
	}
	if f.Cert == "" {
		return c, nil
	}
	cert, err := keyPair(f)
	if err != nil {
		return nil, fmt.Errorf("certificate for the store (cert %s, key %s): %w", f.Cert, f.Key, err)
	}
	c.Certificates = []tls.Certificate{cert}
	return c, nil
}

// keyPair reads certificate and key; the key may be in the certificate's file.
func keyPair(f config.TLS) (tls.Certificate, error) {
	keyFile := f.Key
	if keyFile == "" {
		keyFile = f.Cert
	}
	cert, err := os.ReadFile(f.Cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	if key, err = decrypt(key, f.KeyPassword.Reveal()); err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w", keyFile, err)
	}
	return tls.X509KeyPair(cert, key)
}

// decrypt opens a key in the traditional encrypted form. The newer one (PKCS#8)
// is not in Go's library.
func decrypt(text []byte, password string) ([]byte, error) {
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return text, nil
		}
		if b.Type == "ENCRYPTED PRIVATE KEY" {
			return nil, errors.New("a key encrypted as PKCS#8 cannot be read: convert it with openssl pkey -traditional -aes256")
		}
		//lint:ignore SA1019 weak, and the only encryption such files have
		if !x509.IsEncryptedPEMBlock(b) {
			continue
		}
		if password == "" {
			return nil, errors.New("the key is encrypted: set key_password")
		}
		//lint:ignore SA1019 as above
		der, err := x509.DecryptPEMBlock(b, []byte(password))
		if err != nil {
			return nil, fmt.Errorf("decrypt the key with key_password: %w", err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: der}), nil
	}
}
