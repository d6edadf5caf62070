package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/dcs"
	"github.com/matriarch-ha/matriarch/internal/clock"
	"github.com/matriarch-ha/matriarch/journal"
	"github.com/matriarch-ha/matriarch/proxy"
	"github.com/matriarch-ha/matriarch/route"
)

// RunProxy runs the entrypoint alone until ctx ends.
func RunProxy(ctx context.Context, prog Program) error {
	f, log := prog.File, prog.Log
	prog.ignoreHangups()
	if err := f.Check(config.ForClient); err != nil {
		return err
	}
	transport, err := peerTransport(f)
	if err != nil {
		return err
	}
	peers := peerClient(transport)
	store, err := awaitOpen(ctx, f, log)
	if ctx.Err() != nil {
		return nil // told to stop before there was anything to serve
	}
	if err != nil {
		return err
	}
	defer store.Close()
	life := lifecycle{log: log}
	defer life.stop()
	o := proxyOptions(f, store, peers, log)
	o.Name = entrypointName(f, listens(o)...)
	o.Journal = entrypointJournal(f, log, &life)
	p, err := proxy.New(o)
	if err != nil {
		return err
	}
	return p.Run(ctx)
}

func proxyOptions(f *config.File, store dcs.Store, peers *http.Client, log *slog.Logger) proxy.Options {
	c := f.Proxy
	if c == nil { // the command was asked for: its ports' defaults hold
		c = &config.Proxy{Listen: "0.0.0.0:5000", ListenReplicas: "0.0.0.0:5001"}
	}
	return proxy.Options{
		Version: Version,
		Listen:  c.Listen, ListenReplicas: c.ListenReplicas, Stats: c.Stats,
		HoldTimeout: c.HoldTimeout, HoldLimit: c.HoldLimit, ConnectTimeout: c.ConnectTimeout, Engine: proxy.Engine(c.Engine),
		TCP: entrypointTCP(c.TCP), StartupTimeout: c.LoginTimeout, MaxClients: c.MaxClients, MaxClientsPerAddress: c.MaxClientsPerAddress, LoginRatePerAddress: c.LoginRatePerAddress,
		MaxConnections: c.MaxConnections, MaxLag: uint64(c.MaxLag), MaxLagTime: c.MaxLagTime, Zone: c.Zone, SlowStart: c.SlowStart, Ports: entrypointPorts(c.Ports),
		TLS: entrypointTLS(c.TLS), Trusted: c.Trusted,
		Views: views{store}, HTTP: peers, Clock: clock.Real{}, Logger: log,
	}
}

func entrypointTCP(c config.ProxyTCP) proxy.TCP {
	return proxy.TCP{Client: proxy.KeepAlive(c.Client), Server: proxy.KeepAlive(c.Server), ReplicaUserTimeout: c.ReplicaUserTimeout}
}

func entrypointPorts(ports []config.ProxyPort) []proxy.Port {
	var out []proxy.Port
	for _, c := range ports {
		out = append(out, proxy.Port{Name: c.Name, Listen: c.Listen, Access: route.Access(c.Access), Separator: c.Separator, Member: c.Member,
			MaxClients: c.MaxClients, MaxConnections: c.MaxConnections, MaxLag: uint64(c.MaxLag), MaxLagTime: c.MaxLagTime, Zone: c.Zone, SlowStart: c.SlowStart, NoFallback: !c.Fallback})
	}
	return out
}

// listens are the addresses for clients.
func listens(o proxy.Options) []string {
	out := []string{o.Listen, o.ListenReplicas}
	for _, p := range o.Ports {
		out = append(out, p.Listen)
	}
	return out
}

// entrypointTLS is nil where TLS passes through.
func entrypointTLS(c config.ProxyTLS) *proxy.TLS {
	if !c.End {
		return nil
	}
	return &proxy.TLS{CertFile: c.CertFile, KeyFile: c.KeyFile, KeyPassword: c.KeyFilePassword.Reveal(),
		CAFile: c.CAFile, MinVersion: c.MinVersion}
}

// entrypointName tells one entrypoint from another in their journals. A name in
// its file is its own, unless the file is that of a member.
func entrypointName(f *config.File, listen ...string) string {
	if f.Name != "" && f.Postgres.DataDir == "" {
		return "entrypoint@" + f.Name
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	_, port, _ := net.SplitHostPort(cmp.Or(listen...))
	return "entrypoint@" + net.JoinHostPort(host, port)
}

// entrypointJournal opens the journal of an entrypoint: in files where the
// program has a state directory, and in memory only where it has none, or where
// they cannot be used: an entrypoint serves without them.
func entrypointJournal(f *config.File, log *slog.Logger, life *lifecycle) *journal.Journal {
	o := journal.Options{FileBytes: f.Matriarch.Journal.FileSize, Files: f.Matriarch.Journal.FileNum,
		RingSize: f.Matriarch.Journal.Memory, Log: log}
	dir, err := entrypointDir(f, life)
	if err == nil && dir != "" {
		o.Dir = dir
	}
	j, openErr := journal.Open(o)
	if err = errors.Join(err, openErr); err != nil {
		log.Warn("the entrypoint keeps its journal in memory only: its directory cannot be used", "error", err)
	}
	if openErr != nil {
		o.Dir = ""
		j, _ = journal.Open(o) // in memory nothing can fail
	}
	life.background("entrypoint's journal", 2*time.Second, j.Run)
	return j
}

// entrypointDir makes the directory and claims it for this process; it is empty
// where there is none. The default of the state directory lies beside the data,
// which the host of an entrypoint usually does not have.
func entrypointDir(f *config.File, life *lifecycle) (string, error) {
	state := f.Matriarch.StateDir
	if state == "" {
		return "", nil
	}
	if _, err := os.Stat(state); errors.Is(err, fs.ErrNotExist) && f.Postgres.DataDir != "" {
		return "", nil
	}
	dir := filepath.Join(state, "entrypoint-journal")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return "", err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return "", fmt.Errorf("%s: another entrypoint writes there; give this one a file with its own matriarch.state_dir", dir)
		}
		return "", fmt.Errorf("%s: %w", lock.Name(), err)
	}
	life.onStop("entrypoint's journal directory", time.Second, func(context.Context) error { return lock.Close() })
	return dir, nil
}
