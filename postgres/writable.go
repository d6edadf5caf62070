package postgres

import (
	"context"
	"errors"
	"syscall"

	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/postgres/probe"
)

// Writable asks another server whether it accepts writes. One that is in recovery,
// starts, stops, or is not there does not; an error means that it did not say.
func (s *Server) Writable(ctx context.Context, src Source) (bool, error) {
	t := s.replicationTarget(src)
	role := s.rewindRole()
	c, err := probe.Open(ctx, probe.Dial{Host: t.Host, Port: t.Port, DBName: t.DBName, Credentials: role, Application: taskApp,
		Settings: map[string]string{"search_path": "pg_catalog"}})
	if errors.Is(err, syscall.ECONNREFUSED) || probe.Code(err) == "57P03" {
		return false, nil
	}
	if err != nil {
		return false, classify(err, src, conf.Target{Host: t.Host, Port: t.Port, Credentials: role})
	}
	defer c.Close()
	v, err := c.Value(ctx, "SELECT NOT pg_catalog.pg_is_in_recovery()")
	if err != nil {
		return false, errors.New(probe.Message(err))
	}
	return v == "t", nil
}
