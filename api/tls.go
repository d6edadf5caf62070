package api

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/youmark/pkcs8"
)

// config builds the TLS configuration; nil when TLS is off.
func (t TLS) config() (*tls.Config, error) {
	if t.CertFile == "" {
		return nil, nil
	}
	cert, err := t.keyPair()
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	switch t.VerifyClient {
	case "", "none":
		return conf, nil
	case "optional":
		conf.ClientAuth = tls.VerifyClientCertIfGiven
	case "required":
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return nil, fmt.Errorf("restapi.verify_client %q: want none, optional or required", t.VerifyClient)
	}
	if t.CAFile == "" {
		return nil, fmt.Errorf("restapi.verify_client %s needs restapi.cafile: the authority that signs clients' certificates", t.VerifyClient)
	}
	text, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("restapi.cafile: %w", err)
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("restapi.cafile %s holds no certificate", t.CAFile)
	}
	return conf, nil
}

func (t TLS) keyPair() (tls.Certificate, error) {
	keyFile := t.KeyFile
	if keyFile == "" {
		keyFile = t.CertFile
	}
	cert, err := os.ReadFile(t.CertFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("restapi.certfile: %w", err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("restapi.keyfile: %w", err)
	}
	if key, err = decryptKey(key, t.KeyPassword); err != nil {
		return tls.Certificate{}, fmt.Errorf("restapi.keyfile %s: %w", keyFile, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("restapi.certfile %s with key %s: %w", t.CertFile, keyFile, err)
	}
	return pair, nil
}

// decryptKey opens an encrypted key, in the form of PKCS#8 or in the
// traditional one, and leaves others as they are.
func decryptKey(text []byte, password string) ([]byte, error) {
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
