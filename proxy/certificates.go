package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/matriarch-ha/matriarch/boot"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/internal/keypair"
)

// protocolName is PostgreSQL's own name in ALPN.
const protocolName = "postgresql"

// lookAgain is how often, at most, the files are looked at for a change.
const lookAgain = time.Second

// TLS ends the clients' TLS at the entrypoint.
type TLS struct {
	CertFile, KeyFile string // the key may be in the file of the certificate
	KeyPassword       string
	CAFile            string // not empty: clients must have a certificate that it signed
	MinVersion        uint16 // as crypto/tls has them; 0 is TLS 1.2
}

func (t *TLS) wantsCertificates() bool { return t != nil && t.CAFile != "" }

// certificates keeps the configuration that the files make. They are looked at when
// a client comes; while new ones cannot be used, the former hold.
type certificates struct {
	files TLS
	clock clock.Clock
	log   *slog.Logger

	mu     sync.Mutex
	conf   *tls.Config
	seen   [3]fileState // of what is shown
	failed [3]fileState // of what could not be used, last
	looked boot.Instant
}

// fileState differs after any change of a file's content.
type fileState struct {
	inode, device uint64
	size          int64
	written, any  syscall.Timespec
}

func newCertificates(t TLS, c clock.Clock, log *slog.Logger) (*certificates, error) {
	cs := &certificates{files: t, clock: c, log: log, looked: c.Now()}
	cs.seen = cs.states()
	var err error
	cs.conf, err = t.config()
	return cs, err
}

// current is the configuration for the next client.
func (cs *certificates) current() *tls.Config {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if now := cs.clock.Now(); now.Sub(cs.looked) >= lookAgain {
		cs.looked = now
		cs.look()
	}
	return cs.conf
}

// look reads files that changed. The caller holds the lock.
func (cs *certificates) look() {
	states := cs.states()
	if states == cs.seen {
		return
	}
	conf, err := cs.files.config()
	if err != nil {
		// It is tried again, whatever it was, and told once.
		if states != cs.failed {
			cs.log.Warn("the new certificate files cannot be used: the former certificate is kept", "error", err)
		}
		cs.failed = states
		return
	}
	cs.seen, cs.conf = states, conf
	cs.log.Info("the certificate files were read again")
}

func (cs *certificates) states() (out [3]fileState) {
	for i, name := range []string{cs.files.CertFile, cs.files.KeyFile, cs.files.CAFile} {
		if name == "" {
			continue
		}
		if info, err := os.Stat(name); err == nil {
			st := info.Sys().(*syscall.Stat_t)
			out[i] = fileState{st.Ino, uint64(st.Dev), st.Size, st.Mtim, st.Ctim}
		}
	}
	return out
}

// config reads the files.
func (t TLS) config() (*tls.Config, error) {
	if t.CertFile == "" {
		return nil, errors.New("proxy.tls.certfile is not set: mode end needs a certificate to show to clients")
	}
	pair, err := keypair.Load("proxy.tls", t.CertFile, t.KeyFile, t.KeyPassword)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: max(t.MinVersion, tls.VersionTLS12), NextProtos: []string{protocolName},
		// As PostgreSQL: a resumed session would outlive a change of cafile.
		SessionTicketsDisabled: true,
		// One write of the engine is one record: see pipe.seal.
		DynamicRecordSizingDisabled: true,
	}
	if t.CAFile == "" {
		return conf, nil
	}
	text, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("proxy.tls.cafile: %w", err)
	}
	conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("proxy.tls.cafile %s holds no certificate; write the authority that signs clients' certificates there, in PEM", t.CAFile)
	}
	return conf, nil
}
