package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/postgres/postmaster"
	"github.com/matriarch-ha/matriarch/postgres/probe"
)

const (
	heartApp = "Matriarch heartbeat"
	taskApp  = "Matriarch"
	proveApp = "Matriarch commit probe"
	// askTimeout bounds one observation; the server itself gives up after 2 s.
	askTimeout = 2500 * time.Millisecond
)

// localAddr is where our own server listens for us.
func (s *Server) localAddr() string {
	if s.opt.UseUnixSocket {
		if dir := s.socketDir(); dir != "" {
			return dir
		}
	}
	for _, h := range s.opt.ListenHosts {
		switch h {
		case "*", "localhost", "0.0.0.0", "127.0.0.1", "::":
			return "localhost"
		}
	}
	return s.opt.ListenHosts[0]
}

// socketDir is the first absolute socket directory; a running server tells its
// own in postmaster.pid.
func (s *Server) socketDir() string {
	dirs, _ := conf.Lookup(s.config().Parameters, "unix_socket_directories")
	for _, d := range strings.Split(dirs, ",") {
		if d = strings.TrimSpace(d); strings.HasPrefix(d, "/") {
			return d
		}
	}
	if f, err := postmaster.ReadPIDFile(s.opt.DataDir); err == nil && strings.HasPrefix(f.SocketDir, "/") {
		return f.SocketDir
	}
	return ""
}

// port is where the running server listens, which may still be an older
// configuration's.
func (s *Server) port() string {
	if f, err := postmaster.ReadPIDFile(s.opt.DataDir); err == nil && f.Port > 0 {
		return strconv.Itoa(f.Port)
	}
	return strconv.Itoa(s.opt.Port)
}

// localDial connects to our own server as superuser.
func (s *Server) localDial(app string, settings map[string]string) probe.Dial {
	d := probe.Dial{Host: s.localAddr(), Port: s.port(), DBName: s.opt.Database, Credentials: s.roles().Superuser, Application: app,
		Settings: map[string]string{"search_path": "pg_catalog"}}
	if d.Credentials.Username == "" {
		d.Credentials.Username = s.user.Name
	}
	if s.user.Drop {
		d.PeerUID = s.user.UID
	}
	for k, v := range settings {
		d.Settings[k] = v
	}
	return d
}

// session opens a connection to our own server for one action. Its statements
// have no timeout of their own: the context bounds them.
func (s *Server) session(ctx context.Context) (*probe.Conn, error) {
	c, err := probe.Open(ctx, s.localDial(taskApp, map[string]string{"statement_timeout": "0", "synchronous_commit": "local"}))
	if err != nil {
		return nil, fmt.Errorf("connect to the local server: %s", probe.Message(err))
	}
	return c, nil
}

// ask puts the one question of an observation over the kept connection.
func (s *Server) ask(ctx context.Context) (probe.State, error) {
	s.probeMu.Lock()
	defer s.probeMu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if s.heart != nil && s.heart.Broken() {
		s.dropHeart()
	}
	kept := s.heart != nil
	st, err := s.askOnce(ctx)
	if err != nil && kept && s.heart == nil && ctx.Err() == nil {
		// The kept connection belonged to a server that has been restarted.
		st, err = s.askOnce(ctx)
	}
	return st, err
}

func (s *Server) askOnce(ctx context.Context) (probe.State, error) {
	if s.heart == nil {
		c, err := probe.Open(ctx, s.localDial(heartApp, map[string]string{
			"statement_timeout": "2000", "pg_stat_statements.track": "none", "log_statement": "none",
		}))
		if err != nil {
			return probe.State{}, err
		}
		s.heart = c
	}
	st, err := probe.Ask(ctx, s.heart, s.watched())
	if err != nil && (s.heart.Broken() || probe.Code(err) == "") {
		s.dropHeart()
	}
	return st, err
}

// watched are the settings compared with the configuration at every look.
func (s *Server) watched() []string {
	out := []string{"listen_addresses", "port", "cluster_name"}
	for _, p := range s.config().Controlled {
		out = append(out, p.Name)
	}
	return out
}

// dropHeart closes the kept connection. Called with probeMu held.
func (s *Server) dropHeart() {
	if s.heart != nil {
		s.heart.Close()
		s.heart = nil
	}
}

// poll calls f every few milliseconds until it is true, fails, or the context
// ends; the last error then says what it waited for.
func poll(ctx context.Context, every time.Duration, what string, f func() (bool, error)) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		ok, err := f()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		case <-t.C:
		}
	}
}
