package postgres

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/wal"
)

// archived asks the archive, by restore_command as the server will, whether it
// holds the history file of a timeline. An archive that does not answer in time
// counts as empty: the number is checked again after the promotion.
func (s *Server) archived(ctx context.Context, tl wal.Timeline) bool {
	cfg := s.config()
	command, ok := conf.Lookup(append(append([]Param(nil), cfg.Parameters...), cfg.Recovery...), "restore_command")
	if !ok || command == "" {
		return false
	}
	dir, err := os.MkdirTemp(s.opt.StateDir, "archive-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	if s.user.Chown(dir) != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	command = strings.NewReplacer("%%", "%", "%f", tl.FileName(), "%p", dir+"/history", "%r", "000000000000000000000000").Replace(command)
	cmd := s.user.Command(ctx, nil, "/bin/sh", "-c", command)
	cmd.Dir = s.opt.DataDir
	return cmd.Run() == nil && exists(dir+"/history")
}
