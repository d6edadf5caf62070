package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/postgres/probe"
)

// SetSyncNames makes commits wait for all the named standbys (none: for
// nobody) and returns when the setting is in force. From then on it is managed
// and the user's value is ignored, until ReleaseSyncNames.
func (s *Server) SetSyncNames(ctx context.Context, names []string) error {
	return s.SetSyncText(ctx, conf.SyncNames(names))
}

// SetSyncText is SetSyncNames with the text of synchronous_standby_names.
func (s *Server) SetSyncText(ctx context.Context, text string) error {
	s.task.Lock()
	defer s.task.Unlock()
	s.mu.Lock()
	s.syncMine, s.syncText = true, text
	s.mu.Unlock()
	return s.applySync(ctx, text)
}

// ReleaseSyncNames gives the setting back to the user's configuration.
func (s *Server) ReleaseSyncNames(ctx context.Context) error {
	s.task.Lock()
	defer s.task.Unlock()
	s.mu.Lock()
	s.syncMine, s.syncText = false, ""
	text, _ := conf.Lookup(s.cfg.Parameters, "synchronous_standby_names")
	s.mu.Unlock()
	return s.applySync(ctx, text)
}

func (s *Server) applySync(ctx context.Context, text string) error {
	if !exists(s.dataPath("PG_VERSION")) {
		return nil
	}
	unread, err := s.writeFiles(ctx, s.standbyMarked())
	if err != nil {
		return err
	}
	p := s.process()
	if p == nil || s.procState(p) != ProcRunning {
		return nil
	}
	if unread {
		if err := s.reload(ctx); err != nil {
			return err
		}
	}
	return s.awaitSetting(ctx, "synchronous_standby_names", text)
}

// awaitSetting polls until the server shows the value. A postgresql.auto.conf
// or command line that overrides it is an error that names the setting.
func (s *Server) awaitSetting(ctx context.Context, name, want string) error {
	c, err := s.session(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	limit, cancel := context.WithTimeoutCause(ctx, 5*time.Second,
		errors.New(name+" does not take effect; ALTER SYSTEM, the base file or a role may override it"))
	defer cancel()
	return poll(limit, 10*time.Millisecond, name, func() (bool, error) {
		v, err := c.Value(limit, "SELECT pg_catalog.current_setting("+probe.Literal(name)+")")
		return err == nil && v == want, err
	})
}

// Checkpoint writes a checkpoint (a restart point on a standby) and waits for it.
func (s *Server) Checkpoint(ctx context.Context) error { return s.exec(ctx, "CHECKPOINT") }

// ResumeReplay lets a paused replay go on; it does nothing on a primary.
func (s *Server) ResumeReplay(ctx context.Context) error {
	return s.exec(ctx, "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_wal_replay_resume() END")
}

func (s *Server) exec(ctx context.Context, sql string) error {
	c, err := s.session(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Exec(ctx, sql); err != nil {
		return errors.New(probe.Message(err))
	}
	return nil
}
