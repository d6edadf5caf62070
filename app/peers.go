package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/internal/keypair"
)

// peerClient asks other members over REST.
func peerClient(t http.RoundTripper) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: t}
}

// replaceable is a transport that can be exchanged under a client in use.
type replaceable struct {
	now atomic.Pointer[http.Transport]
}

func (r *replaceable) RoundTrip(req *http.Request) (*http.Response, error) {
	return r.now.Load().RoundTrip(req)
}

func (r *replaceable) replace(t *http.Transport) {
	if old := r.now.Swap(t); old != nil {
		old.CloseIdleConnections()
	}
}

// peerTransport is how other members are reached. Certificates are verified whenever
// TLS is used, unless the configuration says ctl.insecure. No proxy of the
// environment is used: a member is asked directly or not at all.
func peerTransport(f *config.File) (*http.Transport, error) {
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
		cert, err := keypair.Load("ctl", f.Ctl.CertFile, f.Ctl.KeyFile, f.Ctl.KeyFilePassword.Reveal())
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		TLSClientConfig:     conf,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		ResponseHeaderTimeout: 3 * time.Second,
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
