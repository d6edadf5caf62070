package postgres

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/postgres/walfile"
	"github.com/matriarch-ha/matriarch/wal"
)

// control reads the control file through pg_controldata; the answer is kept
// until the file changes.
func (s *Server) control(ctx context.Context) (control.Data, error) {
	key, err := s.controlKey()
	if err != nil {
		return control.Data{}, err
	}
	s.mu.Lock()
	if s.cache.controlKey == key {
		defer s.mu.Unlock()
		return s.cache.control, nil
	}
	s.mu.Unlock()
	out, err := s.run(ctx, nil, "pg_controldata", "-D", s.opt.DataDir)
	if err != nil {
		if owner := s.wrongOwner(); owner != nil {
			err = owner // the cause
		}
		return control.Data{}, err
	}
	d, err := control.Parse(out)
	if err != nil {
		return d, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache.controlKey, s.cache.control = key, d
	return d, nil
}

// wrongOwner says that the data directory belongs to somebody other than the
// user that the server runs as, if so.
func (s *Server) wrongOwner() error {
	var st syscall.Stat_t
	if err := syscall.Stat(s.opt.DataDir, &st); err != nil || int(st.Uid) == s.user.UID {
		return nil
	}
	return fmt.Errorf("%s is owned by user %d and PostgreSQL runs as %s: chown -R %s %s", s.opt.DataDir, st.Uid, s.user.Name, s.user.Name, s.opt.DataDir)
}

// clockTick is longer than what the kernel's stamps of files are apart at least.
const clockTick = 20 * time.Millisecond

// controlKey changes whenever the control file was written. One that was written
// just now may be written again within the same stamp, so it has a key of its own
// each time: what is read from it is not kept.
func (s *Server) controlKey() (string, error) {
	st, err := os.Stat(s.dataPath("global", "pg_control"))
	if err != nil {
		return "", err
	}
	key := fmt.Sprintf("%d/%d", st.ModTime().UnixNano(), st.Size())
	if now := time.Now(); now.Sub(st.ModTime()).Abs() < clockTick {
		key += fmt.Sprintf("/%d", now.UnixNano())
	}
	return key, nil
}

// history reads the ancestors of a timeline; nil when unknown.
func (s *Server) history(tl wal.Timeline) wal.History {
	h, _, err := walfile.ReadHistory(s.walDir(), tl)
	if err != nil {
		return nil
	}
	return h
}

// StoppedPosition returns the end of the last valid log record of a stopped
// server and the ancestors of its timeline.
func (s *Server) StoppedPosition(ctx context.Context) (wal.Position, wal.History, error) {
	ctl, err := s.control(ctx)
	if err != nil {
		return wal.Position{}, nil, err
	}
	return s.stoppedPosition(ctx, ctl)
}

func (s *Server) stoppedPosition(ctx context.Context, ctl control.Data) (wal.Position, wal.History, error) {
	key, err := s.controlKey()
	if err != nil {
		return wal.Position{}, nil, err
	}
	if st, err := os.Stat(s.walDir()); err == nil {
		key += fmt.Sprintf("/%d", st.ModTime().UnixNano())
	}
	s.mu.Lock()
	if s.cache.stoppedKey == key {
		defer s.mu.Unlock()
		return s.cache.stopped, s.cache.stoppedHist, nil
	}
	job := s.search
	if job == nil || job.key != key {
		job = s.beginSearch(key, ctl)
	}
	s.mu.Unlock()
	select {
	case <-job.done:
		return job.pos, job.hist, job.err
	case <-ctx.Done():
		return wal.Position{}, nil, fmt.Errorf("the end of the log is still being looked for: %w", ctx.Err())
	}
}

// search looks for the end of a stopped server's log. It goes on when the one
// who asked has to go on: many segments take longer than one observation may.
type search struct {
	key  string
	done chan struct{}
	pos  wal.Position
	hist wal.History
	err  error
}

// beginSearch starts a search, under the lock.
func (s *Server) beginSearch(key string, ctl control.Data) *search {
	job := &search{key: key, done: make(chan struct{})}
	s.search = job
	ctx, cancel := context.WithCancel(context.Background())
	s.wg.Go(func() {
		defer cancel()
		go func() {
			select {
			case <-s.done:
				cancel()
			case <-ctx.Done():
			}
		}()
		job.pos, job.hist, job.err = s.findEnd(ctx, ctl)
		s.mu.Lock()
		if job.err == nil {
			s.cache.stoppedKey, s.cache.stopped, s.cache.stoppedHist = key, job.pos, job.hist
		}
		if s.search == job {
			s.search = nil // a failed one is tried again
		}
		s.mu.Unlock()
		close(job.done)
	})
	return job
}

// findEnd looks for the end of the log on every line of descent that the
// directory may be on, the newest first. A history file alone proves nothing:
// the line counts only when a record of it is there.
func (s *Server) findEnd(ctx context.Context, ctl control.Data) (wal.Position, wal.History, error) {
	if ctl.State == control.ShutDown {
		return s.shutdownEnd(ctx, ctl)
	}
	start := startOfScan(ctl)
	for _, tl := range s.linesFrom(start, ctl) {
		h := s.history(tl)
		end, err := s.scan(ctx, ctl, tl, h, start.LSN)
		if err != nil {
			return wal.Position{}, nil, err
		}
		if tl == start.Timeline {
			pos, hist := descend(tl, h, max(end.LSN, start.LSN))
			return pos, hist, nil
		}
		if end.Timeline == tl {
			return end, h, nil
		}
	}
	return wal.Position{}, nil, fmt.Errorf("no log of timeline %d is in %s", start.Timeline, s.walDir())
}

// startOfScan is a place that the server certainly reached: the redo point of
// its checkpoint, or, of a standby, how far it had replayed.
func startOfScan(ctl control.Data) wal.Position {
	p := wal.Position{Timeline: ctl.Timeline, LSN: ctl.Redo}
	if ctl.MinRecovery > p.LSN && ctl.MinRecoveryTL >= p.Timeline {
		return wal.Position{Timeline: ctl.MinRecoveryTL, LSN: ctl.MinRecovery}
	}
	return p
}

// linesFrom lists the timelines that descend from start, newest first, start's
// own last.
func (s *Server) linesFrom(start wal.Position, ctl control.Data) []wal.Timeline {
	out := []wal.Timeline{start.Timeline}
	all, _ := walfile.Timelines(s.walDir())
	for _, tl := range all {
		h := s.history(tl)
		if tl > start.Timeline && h.Place(start, tl) == wal.Ancestor {
			out = append([]wal.Timeline{tl}, out...)
		}
	}
	return out
}

func (s *Server) scan(ctx context.Context, ctl control.Data, tl wal.Timeline, h wal.History, from wal.LSN) (wal.Position, error) {
	r, err := walfile.NewReader(s.walDir(), ctl.SegmentSize, tl, h, from)
	if err != nil {
		return wal.Position{}, err
	}
	defer r.Close()
	return walfile.End(ctx, r)
}

// shutdownEnd is the end of the shutdown checkpoint record, the last one of a
// server that was stopped in order.
func (s *Server) shutdownEnd(ctx context.Context, ctl control.Data) (wal.Position, wal.History, error) {
	h := s.history(ctl.Timeline)
	r, err := walfile.NewReader(s.walDir(), ctl.SegmentSize, ctl.Timeline, h, ctl.Checkpoint)
	if err != nil {
		return wal.Position{}, nil, err
	}
	defer r.Close()
	rec, err := r.Next()
	if err != nil {
		return wal.Position{}, nil, fmt.Errorf("the shutdown checkpoint at %s: %w", ctl.Checkpoint, err)
	}
	return wal.Position{Timeline: ctl.Timeline, LSN: rec.End}, h, nil
}
