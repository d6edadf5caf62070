package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/probe"
	"github.com/matriarch-ha/matriarch/postgres/walfile"
	"github.com/matriarch-ha/matriarch/wal"
)

// ErrTimelineTaken means that PostgreSQL would take, or took, another timeline
// than the claimed one.
var ErrTimelineTaken = errors.New("the server takes another timeline than the claimed one")

// Promote makes a running standby primary on exactly the timeline want, which
// the caller has claimed. PostgreSQL takes the first number after its own for
// which there is no history file; placeholders are put where numbers are
// claimed by others. It returns when the server accepts writes. A server that
// already is primary on want is left as it is.
func (s *Server) Promote(ctx context.Context, want wal.Timeline) (Promotion, error) {
	s.task.Lock()
	defer s.task.Unlock()
	c, err := s.session(ctx)
	if err != nil {
		return Promotion{}, err
	}
	defer func() { c.Close() }()
	standby, err := inRecovery(ctx, c)
	if err != nil {
		return Promotion{}, err
	}
	if !standby {
		return s.promoted(ctx, c, want)
	}
	placed, err := s.reserve(ctx, want)
	if err != nil {
		return Promotion{}, err
	}
	if err := ctx.Err(); err != nil {
		s.remove(placed)
		return Promotion{}, err
	}
	if err := c.Exec(ctx, "SELECT pg_catalog.pg_promote(false)"); err != nil {
		if code := probe.Code(err); code != "" && !strings.HasPrefix(code, "57") { // a refusal, no interruption
			s.remove(placed)
			return Promotion{}, errors.New("promote: " + probe.Message(err))
		}
		return Promotion{}, s.notPromoted(ctx, errors.New("promote: "+probe.Message(err)))
	}
	limit, cancel := context.WithTimeout(ctx, s.startTimeout())
	defer cancel()
	err = poll(limit, 5*time.Millisecond, "the promotion", func() (bool, error) {
		standby, err := inRecovery(limit, c)
		if err == nil || s.process() == nil {
			return !standby, err
		}
		if again, err := s.session(limit); err == nil { // the connection may be what failed
			c.Close()
			c = again
		}
		return false, nil
	})
	if err != nil {
		return Promotion{}, s.notPromoted(ctx, err)
	}
	return s.promoted(ctx, c, want)
}

// notPromoted ends a server that was told to promote itself and whose answer
// cannot be waited for: the order cannot be taken back, and a standby that turns
// writable after its lease was given up must not exist.
func (s *Server) notPromoted(ctx context.Context, why error) error {
	ctx, cancel := context.WithTimeout(bounded(ctx), 5*time.Second)
	defer cancel()
	_, err := s.Stop(ctx, StopImmediate, StopOptions{})
	return errors.Join(why, err)
}

func inRecovery(ctx context.Context, c *probe.Conn) (bool, error) {
	v, err := c.Value(ctx, "SELECT pg_catalog.pg_is_in_recovery()")
	if err != nil {
		return false, errors.New("promote: " + probe.Message(err))
	}
	return v == "t", nil
}

// promoted reports the timeline that the server is on.
func (s *Server) promoted(ctx context.Context, c *probe.Conn, want wal.Timeline) (Promotion, error) {
	name, err := c.Value(ctx, "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn())")
	if err != nil {
		return Promotion{}, errors.New("promote: " + probe.Message(err))
	}
	seg, ok := walfile.ParseSegment(name, s.segmentSize())
	if !ok {
		return Promotion{}, fmt.Errorf("promote: the server writes a log file called %q", name)
	}
	out := Promotion{Timeline: seg.Timeline, History: s.history(seg.Timeline), Identity: s.Identity(seg.Timeline)}
	if seg.Timeline != want {
		return out, fmt.Errorf("%w: %d instead of %d", ErrTimelineTaken, seg.Timeline, want)
	}
	return out, nil
}

// reserve puts placeholders so that the next timeline is want, and returns
// their paths.
func (s *Server) reserve(ctx context.Context, want wal.Timeline) ([]string, error) {
	f := s.Observe(ctx)
	if f.Role != RoleStandby || !f.Position.Known() {
		return nil, errors.New("promote: the standby's timeline is unknown: " + f.SQLError)
	}
	s.mu.Lock()
	from := max(f.Position.Timeline, s.cache.bestTL)
	s.mu.Unlock()
	if want <= from {
		return nil, fmt.Errorf("%w: it is on %d already, %d is claimed", ErrTimelineTaken, from, want)
	}
	if exists(filepath.Join(s.walDir(), want.FileName())) {
		return nil, fmt.Errorf("%w: a history file of %d exists, so it would take a later one", ErrTimelineTaken, want)
	}
	if s.archived(ctx, want) {
		return nil, fmt.Errorf("%w: the archive has a history file of %d, so it would take a later one", ErrTimelineTaken, want)
	}
	var placed []string
	for tl := from + 1; tl < want; tl++ {
		path := filepath.Join(s.walDir(), tl.FileName())
		if exists(path) {
			continue
		}
		if err := s.user.WriteFile(path, []byte(walfile.Placeholder), s.fileMode(path)); err != nil {
			s.remove(placed)
			return nil, fmt.Errorf("promote: reserve timeline %d: %w", tl, err)
		}
		placed = append(placed, path)
	}
	return placed, nil
}

func (s *Server) remove(paths []string) {
	for _, p := range paths {
		if err := os.Remove(p); err != nil {
			s.log.Warn("placeholder history not removed", "file", p, "error", err)
		}
	}
}
