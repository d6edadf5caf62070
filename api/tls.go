package api

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/matriarch-ha/matriarch/internal/keypair"
)

// config builds the TLS configuration; nil when TLS is off.
func (t TLS) config() (*tls.Config, error) {
	if t.CertFile == "" {
		return nil, nil
	}
	cert, err := keypair.Load("restapi", t.CertFile, t.KeyFile, t.KeyPassword)
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
