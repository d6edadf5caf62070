// Package keypair reads a certificate and its key from files, the key encrypted
// or not. The standard library opens no PKCS#8 key with a password, which is what
// openssl has written for years.
package keypair

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/youmark/pkcs8"
)

// Load reads a pair. The key may be in the certificate's file: then keyFile is
// empty. Errors name the settings certfile and keyfile of the section, and never
// the password.
func Load(section, certFile, keyFile, password string) (tls.Certificate, error) {
	if keyFile == "" {
		keyFile = certFile
	}
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s.certfile: %w", section, err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s.keyfile: %w", section, err)
	}
	if key, err = decrypt(key, password); err != nil {
		return tls.Certificate{}, fmt.Errorf("%s.keyfile %s: %w", section, keyFile, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s.certfile %s with key %s: %w", section, certFile, keyFile, err)
	}
	return pair, nil
}

// decrypt opens an encrypted key, in the form of PKCS#8 or in the
// traditional one, and leaves others as they are.
func decrypt(text []byte, password string) ([]byte, error) {
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return text, nil
		}
		//lint:ignore SA1019 the form that existing key files use
		traditional := x509.IsEncryptedPEMBlock(b)
		switch {
		case b.Type == "ENCRYPTED PRIVATE KEY":
			key, err := pkcs8.ParsePKCS8PrivateKey(b.Bytes, []byte(password))
			if err != nil {
				return nil, fmt.Errorf("keyfile_password does not open it: %w", err)
			}
			der, err := x509.MarshalPKCS8PrivateKey(key)
			return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
		case traditional:
			//lint:ignore SA1019 as above
			der, err := x509.DecryptPEMBlock(b, []byte(password))
			if err != nil {
				return nil, fmt.Errorf("keyfile_password does not open it: %w", err)
			}
			return pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: der}), nil
		}
	}
}
