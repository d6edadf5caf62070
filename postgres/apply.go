package postgres

import (
	"context"
	"strings"

	"github.com/matriarch-ha/matriarch/cluster"
	"github.com/matriarch-ha/matriarch/postgres/conf"
)

// ApplyConfig writes the files that changed, makes a running server read them,
// and returns the settings that wait for a restart. An error of type
// *RefusedRules says that all was applied but the rules that the server refuses.
func (s *Server) ApplyConfig(ctx context.Context) ([]cluster.SettingChange, error) {
	s.task.Lock()
	defer s.task.Unlock()
	if !exists(s.dataPath("PG_VERSION")) {
		return nil, nil
	}
	if err := s.renewConninfo(); err != nil {
		return nil, err
	}
	unread, err := s.writeFiles(ctx, s.standbyMarked())
	if err != nil || s.process() == nil {
		return nil, err
	}
	if unread {
		if err := s.reload(ctx); err != nil {
			return nil, err
		}
		s.backupConf()
	}
	f := s.Observe(ctx)
	s.askAtStart(ctx, f.Pending)
	return s.Observe(ctx).Pending, s.refusedRules()
}

// renewConninfo puts changed credentials into the connection string of the
// upstream, whatever that is.
func (s *Server) renewConninfo() error {
	s.mu.Lock()
	renew, have := s.renew, s.recovery.conninfo
	s.mu.Unlock()
	if !renew {
		return nil
	}
	if have != "" {
		old, err := conf.ParseConninfo(have)
		if err != nil {
			return err
		}
		get := func(name string) string { v, _ := conf.Lookup(old, name); return v }
		t := s.replicationTarget(Source{Host: get("host"), Port: get("port"), DBName: get("dbname")})
		t.SessionAttr = get("target_session_attrs")
		if t.Passfile, err = s.passfile(t); err != nil {
			return err
		}
		have = conf.Conninfo(t)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renew, s.unread, s.recovery.conninfo = false, true, have
	return nil
}

// askAtStart finds out what settings will be after a restart that the
// configuration does not name (any more).
func (s *Server) askAtStart(ctx context.Context, pending []cluster.SettingChange) {
	found := map[string]string{}
	for _, p := range pending {
		if p.New != unknownValue {
			continue
		}
		out, err := s.run(ctx, nil, "postgres", "-D", s.opt.DataDir, "--config-file="+s.mainConf(), "-C", p.Name)
		if err == nil {
			found[p.Name] = strings.TrimSpace(string(out))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.atStart = found
}
