package postgres

import (
	"context"

	"github.com/matriarch-ha/matriarch/postgres/control"
)

// keepAllWAL is wal_keep_size while all log is kept: a value that nobody else
// sets, so that an agent that is started again knows it for ours. A standby's
// restartpoints heed it as a primary's checkpoints do.
const keepAllWAL = "1048575MB"

// holdForkWAL keeps the log of what was a primary and is about to run as a
// standby. It may turn out to have diverged, and pg_rewind then reads it back to
// the last checkpoint before the fork, which a restartpoint could remove: one
// happens when the server was killed between the record of a checkpoint and its
// note in the control file.
func (s *Server) holdForkWAL(ctx context.Context) {
	ctl, err := s.control(ctx)
	if err != nil {
		return // the start will say why
	}
	switch ctl.State {
	case control.InProduction, control.ShuttingDown, control.InCrashRecovery: // killed; a clean stop has no such record
		s.setForkWAL(true)
	}
}

// LetWALGo ends the keeping of all log: the caller has seen the server stream, so
// that its line is the upstream's, or be a primary. A task under way comes first.
// What failed halfway is not done: WALHeld is told on, and it is tried again.
func (s *Server) LetWALGo(ctx context.Context) error {
	if !s.task.TryLock() {
		return nil
	}
	defer s.task.Unlock()
	s.setForkWAL(false)
	unread, err := s.writeFiles(ctx, exists(s.standbySignal()))
	if err == nil && unread {
		err = s.reload(ctx)
	}
	if err != nil {
		s.setForkWAL(true)
	}
	return err
}

func (s *Server) setForkWAL(keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forkWAL = keep
}
