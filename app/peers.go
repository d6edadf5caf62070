package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/matriarch-ha/matriarch/config"
)

// peerClient asks other members over REST. Certificates are verified whenever
// TLS is used, unless the configuration says ctl.insecure. No proxy of the
// environment is used: a member is asked directly or not at all.
func peerClient(f *config.File) (*http.Client, error) {
	conf := &tls.Config{InsecureSkipVerify: f.Ctl.Insecure, MinVersion: tls.VersionTLS12}
	if ca := first(f.Ctl.CACert, f.RestAPI.CAFile); ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("ctl.cacert: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ctl.cacert: %s holds no certificate", ca)
		}
	}
	if f.Ctl.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(f.Ctl.CertFile, first(f.Ctl.KeyFile, f.Ctl.CertFile))
		if err != nil {
			return nil, fmt.Errorf("ctl.certfile: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			TLSClientConfig:     conf,
			MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
			ResponseHeaderTimeout: 3 * time.Second,
		},
	}, nil
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
