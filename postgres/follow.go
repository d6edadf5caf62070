package postgres

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/postgres/postmaster"
	"github.com/matriarch-ha/matriarch/postgres/probe"
	"github.com/matriarch-ha/matriarch/wal"
)

// Follow changes the upstream: a running standby reads the new one at once,
// without a restart; a stopped server will at its next start as standby.
func (s *Server) Follow(ctx context.Context, up *Upstream) error {
	s.task.Lock()
	defer s.task.Unlock()
	return s.follow(ctx, up)
}

func (s *Server) follow(ctx context.Context, up *Upstream) error {
	if !exists(s.dataPath("PG_VERSION")) {
		return errors.New("follow: there is no data directory at " + s.opt.DataDir)
	}
	if err := s.setUpstream(up); err != nil {
		return err
	}
	running := s.process() != nil
	if running && !s.standbyMarked() {
		return errors.New("follow: the running server is a primary; stop it first")
	}
	unread, err := s.writeFiles(ctx, true)
	if err != nil || !running || !unread {
		return err
	}
	return s.reload(ctx)
}

// setUpstream makes connection string and password file of the new upstream.
func (s *Server) setUpstream(up *Upstream) error {
	r := recoveryState{}
	if up != nil {
		t := s.replicationTarget(Source{Host: up.Host, Port: up.Port, DBName: up.DBName})
		pass, err := s.passfile(t)
		if err != nil {
			return err
		}
		t.Passfile = pass
		r.conninfo = conf.Conninfo(t)
		switch {
		case up.Slot == "-":
		case up.Slot != "":
			r.slot = cluster.SlotName(up.Slot)
		case s.config().UseSlots:
			r.slot = cluster.SlotName(s.opt.Name)
		}
		if strings.Contains(up.Host, ",") && r.slot != "" {
			t.SessionAttr = "read-write"
			r.conninfo = conf.Conninfo(t)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recovery = r
	return nil
}

// replicationTarget describes a connection with the replication role.
func (s *Server) replicationTarget(src Source) conf.Target {
	db := src.DBName
	if db == "" {
		db = s.opt.Database
	}
	port := src.Port
	if port == "" {
		port = "5432"
	}
	return conf.Target{Host: src.Host, Port: port, DBName: db, Application: s.opt.Name, KrbSrvName: s.opt.KrbSrvName,
		Credentials: s.roles().Replication, Major: s.dataMajor()}
}

// passfile writes the password file of one target and returns its path, ""
// when there is no password. Each target has its own file, so that a session
// that connects anew while another target is being prepared finds its own.
func (s *Server) passfile(t conf.Target) (string, error) {
	c := t.Credentials
	if c.Password == "" {
		return "", nil
	}
	clean := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}
	path := fmt.Sprintf("%s-%s-%s-%s", s.opt.PgPass, strings.Map(clean, c.Username), strings.Map(clean, t.Host), strings.Map(clean, t.Port))
	if err := s.user.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	text := conf.PgPass(t.Host, t.Port, c.Username, c.Password)
	if old, err := s.readPrivate(path); err == nil && old == text {
		return path, nil
	}
	return path, s.user.WriteFile(path, []byte(text), 0o600)
}

// StopReceiver ends the WAL receiver and keeps it from coming back: from its
// return on this server confirms no commit of its upstream. It returns the end
// of what was received. Doing it again is harmless.
func (s *Server) StopReceiver(ctx context.Context) (wal.Position, error) {
	s.task.Lock()
	defer s.task.Unlock()
	p := s.process()
	if p == nil || !s.standbyMarked() {
		pos, _, err := s.StoppedPosition(ctx)
		if p != nil {
			err = errors.New("stop receiving: the server is a primary")
		}
		return pos, err
	}
	if err := s.follow(ctx, nil); err != nil {
		return wal.Position{}, err
	}
	if err := s.awaitNoReceiver(ctx, p); err != nil {
		return wal.Position{}, err
	}
	f := s.Observe(ctx)
	if !f.Position.Known() {
		return f.Position, errors.New("stop receiving: stopped, but the position is unknown: " + f.SQLError)
	}
	return f.Position, nil
}

// awaitNoReceiver looks at the processes: the statistics view hides a receiver
// that is only connecting. A replay that is paused does not pass the order on,
// so after a moment the receiver is ended directly; with its connection string
// gone it is not started again.
func (s *Server) awaitNoReceiver(ctx context.Context, p *postmaster.Process) error {
	gone, began := 0, time.Now()
	return poll(ctx, 10*time.Millisecond, "the WAL receiver to end", func() (bool, error) {
		pid := receiverPID(p.PID)
		if pid == 0 {
			// One that was just asked for may not have been forked yet.
			gone++
			return gone >= 3, nil
		}
		gone = 0
		if time.Since(began) > 300*time.Millisecond {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
		return false, nil
	})
}

func receiverPID(postmasterPID int) int {
	for _, c := range postmaster.Children(postmasterPID) {
		if strings.Contains(c.Title, "walreceiver") {
			return c.PID
		}
	}
	return 0
}

// Reload makes the server read its configuration files again and waits until
// it has.
func (s *Server) Reload(ctx context.Context) error { return s.reload(ctx) }

// reload makes a running server read its files, and returns when it has.
func (s *Server) reload(ctx context.Context) error {
	err := s.hangUp(ctx)
	if err == nil {
		s.wereRead()
	}
	return err
}

func (s *Server) hangUp(ctx context.Context) error {
	p := s.process()
	if p == nil {
		return nil
	}
	c, err := s.session(ctx)
	if err != nil {
		// Not accepting sessions: it reads the files anyway when it gets to it.
		return p.Signal(syscall.SIGHUP)
	}
	defer c.Close()
	const sql = "SELECT pg_catalog.pg_conf_load_time()"
	before, err := c.Value(ctx, sql)
	if err != nil {
		return errors.New("reload: " + probe.Message(err))
	}
	if err := p.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return poll(limit, 5*time.Millisecond, "the server to reload", func() (bool, error) {
		now, err := c.Value(limit, sql)
		return err == nil && now != before, err
	})
}
