package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/matriarch-ha/matriarch/postgres/runas"
)

// ledMark is the content of a standby.signal that stands beside a running
// primary. PostgreSQL looks only whether there is such a file, and only when it
// starts, or starts anew after the crash of a backend. So the server that runs
// does not mind, and the next start, whoever makes it, is read-only: after a loss
// of power, too. We read the content, to tell it from a standby's.
const ledMark = "The server that was started here is a primary. Its agent takes this file away when it may write again.\n"

// standbyMarked reports whether standby.signal says that the server which runs
// here, or ran last, was started as a standby.
func (s *Server) standbyMarked() bool {
	text, err := os.ReadFile(s.standbySignal())
	return err == nil && string(text) != ledMark || err != nil && !errors.Is(err, fs.ErrNotExist)
}

// MarkStandby puts standby.signal in place, so that whoever starts the server
// behind our back gets a read-only one. It does nothing without a data
// directory.
func (s *Server) MarkStandby() error {
	if !exists(s.dataPath("PG_VERSION")) || s.standbyMarked() {
		return nil
	}
	return s.user.WriteFile(s.standbySignal(), nil, s.fileMode(s.standbySignal()))
}

// SettleSignal makes standby.signal fit a running server that was seen so. Beside
// a primary it stands as well, so that only its agent can start it for writing
// again: after the crash of a backend, too, where the server would start anew by
// itself. While paused it does not stand: agents start nothing then.
func (s *Server) SettleSignal(ctx context.Context, f Facts, paused bool) error {
	primary := f.Role == RolePrimary
	if f.Dir != DirPresent || f.Process != ProcRunning || f.SQLError != "" || s.signalFits(primary, paused) || !s.task.TryLock() {
		return nil
	}
	defer s.task.Unlock()
	// Under the lock nothing starts or promotes the server; what did since it was
	// seen shows now.
	st, err := s.ask(ctx)
	if err != nil || st.Recovery == primary {
		return err
	}
	if !primary {
		return s.MarkStandby()
	}
	if paused {
		err := errors.Join(removeIfThere(s.standbySignal()), runas.SyncDir(s.opt.DataDir))
		return errors.Join(err, s.settlePrimary(ctx, false))
	}
	if err := s.settlePrimary(ctx, true); err != nil {
		return err
	}
	return s.user.WriteFile(s.standbySignal(), []byte(ledMark), s.fileMode(s.standbySignal()))
}

// signalFits reports whether standby.signal is as SettleSignal wants it.
func (s *Server) signalFits(primary, paused bool) bool {
	switch {
	case !primary:
		return s.standbyMarked()
	case paused:
		return !exists(s.standbySignal())
	}
	return exists(s.standbySignal()) && !s.standbyMarked()
}

// settlePrimary takes the former upstream out of a primary's files: a server that
// somebody else starts must stay as it is, and follow nobody. While standby.signal
// stands beside it, led, the server ends when a backend crashes.
func (s *Server) settlePrimary(ctx context.Context, led bool) error {
	if err := s.setUpstream(nil); err != nil {
		return err
	}
	s.mu.Lock()
	s.led = led
	s.mu.Unlock()
	unread, err := s.writeFiles(ctx, false)
	if err != nil || !unread {
		return err
	}
	return s.reload(ctx)
}
