package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/postgres/postmaster"
	"github.com/matriarch-ha/matriarch/postgres/runas"
	"github.com/matriarch-ha/matriarch/postgres/walfile"
)

// ErrStillStarting means that the server lives but does not accept sessions
// yet; it goes on starting.
var ErrStillStarting = errors.New("the server is still starting")

// readyPoll is how often a starting server's own status line is read.
const readyPoll = 20 * time.Millisecond

// StartStandby starts the server in recovery, or brings a running standby's
// upstream up to date. A nil upstream means read-only without one. With wait it
// returns when sessions are accepted, or with ErrStillStarting after the start
// timeout; without, when the postmaster lives.
func (s *Server) StartStandby(ctx context.Context, up *Upstream, wait bool) error {
	s.task.Lock()
	defer s.task.Unlock()
	if p := s.process(); p != nil {
		if err := s.follow(ctx, up); err != nil || !wait {
			return err
		}
		return s.waitReady(ctx, p, s.startTimeout())
	}
	return s.startStandby(ctx, up, wait)
}

func (s *Server) startStandby(ctx context.Context, up *Upstream, wait bool) error {
	if err := s.mayStart(false); err != nil {
		return err
	}
	if err := s.setUpstream(up); err != nil {
		return err
	}
	s.holdForkWAL(ctx)
	if err := s.MarkStandby(); err != nil {
		return err
	}
	if err := removeIfThere(s.recoverySignal()); err != nil {
		return err
	}
	s.clearPlaceholders()
	p, err := s.launch(ctx, true)
	if err != nil || !wait {
		return err
	}
	return s.waitReady(ctx, p, s.startTimeout())
}

// StartPrimary starts the server for writing on the timeline it is on, with
// crash recovery where needed. Only a directory that was a primary's may be
// started so; a standby becomes one by Promote. timeout 0 means the start
// timeout of the configuration.
func (s *Server) StartPrimary(ctx context.Context, timeout time.Duration) error {
	s.task.Lock()
	defer s.task.Unlock()
	if timeout == 0 {
		timeout = s.startTimeout()
	}
	p := s.process()
	if p == nil {
		var err error
		if p, err = s.startPrimary(ctx); err != nil {
			return err
		}
	} else if exists(s.standbySignal()) {
		return errors.New("start as primary: a standby is running; promote it instead")
	}
	return s.waitReady(ctx, p, timeout)
}

func (s *Server) startPrimary(ctx context.Context) (*postmaster.Process, error) {
	if err := s.mayStart(true); err != nil {
		return nil, err
	}
	ctl, err := s.control(ctx)
	if err != nil {
		return nil, err
	}
	switch ctl.State {
	case control.InProduction, control.ShutDown, control.ShuttingDown, control.InCrashRecovery:
	default:
		// Without its signal file a standby would end recovery on the timeline of
		// its primary: two branches of one number.
		return nil, fmt.Errorf("start as primary: the data directory is a standby's (%q); start it as one and promote it", ctl.State)
	}
	if _, err := s.writeFiles(ctx, false); err != nil {
		return nil, err
	}
	if err := errors.Join(removeIfThere(s.standbySignal()), removeIfThere(s.recoverySignal()), runas.SyncDir(s.opt.DataDir)); err != nil {
		return nil, err
	}
	p, err := s.launch(ctx, false)
	if err == nil {
		return p, nil
	}
	if s.process() != nil {
		// It goes on starting, as a primary: the signal file would only make it
		// look like a standby.
		return nil, err
	}
	return nil, errors.Join(err, s.MarkStandby())
}

// mayStart refuses what must never be started.
func (s *Server) mayStart(asPrimary bool) error {
	switch state, err := s.dirState(); state {
	case DirPresent:
	case DirRewinding:
		return fmt.Errorf("%s exists: a rewind of this directory was interrupted and it must not be started; rewind again or clone", s.rewindMark())
	case DirBootstrapping:
		return fmt.Errorf("%s exists: the bootstrap of this directory did not finish", s.bootstrapMark())
	default:
		return fmt.Errorf("the data directory %s is %s: %v", s.opt.DataDir, state, err)
	}
	if m, _ := s.readRewindMark(); asPrimary && m.Present() {
		return errors.New("the directory was rewound and has not reached consistency; it may only be started as a standby")
	}
	return nil
}

func (s *Server) startTimeout() time.Duration {
	if t := s.config().StartTimeout; t > 0 {
		return t
	}
	return time.Minute
}

// launch writes the files and starts the program. It returns when the
// postmaster has taken the data directory, or has failed.
func (s *Server) launch(ctx context.Context, standby bool, extra ...string) (*postmaster.Process, error) {
	if _, err := s.writeFiles(ctx, standby); err != nil {
		return nil, s.startFailed(err.Error())
	}
	s.wereRead()
	path, err := s.binary("postgres")
	if err != nil {
		return nil, err
	}
	if err := s.awaitFormer(ctx); err != nil {
		return nil, err
	}
	if err := s.portFree(); err != nil {
		return nil, s.startFailed(err.Error())
	}
	s.clearSocketLocks()
	logFile, offset, err := s.openLog()
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	args := append([]string{"-D", s.opt.DataDir, "--config-file=" + s.mainConf()}, append(s.controlledArgs(ctx, standby), extra...)...)
	cmd := s.user.Detached(s.grandparent(), path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.opt.DataDir, logFile, logFile
	if ctx.Err() != nil { // writing the files may have taken long
		return nil, context.Cause(ctx)
	}
	s.procMu.Lock()
	p, err := postmaster.Launch(cmd)
	if err == nil {
		s.setProcess(p)
	}
	s.procMu.Unlock()
	if err != nil {
		return nil, s.startFailed(err.Error())
	}
	s.mu.Lock()
	s.startErr = ""
	s.cache.controlKey = ""
	s.logStart = offset
	s.mu.Unlock()
	s.log.Info("postmaster started", "pid", p.PID, "standby", standby)
	err = poll(ctx, readyPoll, "the postmaster to take the data directory", func() (bool, error) {
		if !p.Alive() {
			return false, s.startFailed(s.whyFailed(p))
		}
		f, err := postmaster.ReadPIDFile(s.opt.DataDir)
		return err == nil && f.PID == p.PID, nil
	})
	return p, err
}

// formerWait is how long a start waits for the processes of a server that was killed.
// They end within milliseconds, unless one computes or is frozen.
const formerWait = time.Second

// awaitFormer waits until no process is left of a server whose postmaster was killed:
// none can start beside one. What has not ended by itself in time is killed: it can
// serve its client no more, and would not hear of the end of its postmaster before it
// waits for something. Where that does not help the attempt is made all the same,
// since the server's own words say best what is in the way.
func (s *Server) awaitFormer(ctx context.Context) error {
	former, err := postmaster.ReadPIDFile(s.opt.DataDir)
	if err != nil || former.Memory.Attached() == 0 {
		return nil
	}
	s.log.Info("waiting for the processes of the former server to end", "postmaster", former.PID, "left", former.Memory.Attached())
	if s.gone(ctx, former) || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// A number that lives may be a server's that is not known as ours.
	if _, _, foreign, err := postmaster.Find(s.opt.DataDir, s.serverName()); s.opt.Kill != nil && foreign == 0 && err == nil {
		s.log.Info("killing the processes of the former server: they do not end by themselves", "postmaster", former.PID, "left", former.Memory.Attached())
		limit, cancel := context.WithTimeout(ctx, s.formerWait)
		defer cancel()
		if err := s.opt.Kill(limit, s.opt.DataDir); err != nil {
			s.log.Warn("the processes of the former server could not be killed", "error", err)
		}
		s.gone(ctx, former)
	}
	return context.Cause(ctx)
}

// gone waits a while for the last process of a former server to end.
func (s *Server) gone(ctx context.Context, former postmaster.PIDFile) bool {
	limit, cancel := context.WithTimeout(ctx, s.formerWait)
	defer cancel()
	return poll(limit, readyPoll, "the processes of the former server to end", func() (bool, error) {
		return former.Memory.Attached() == 0, nil
	}) == nil
}

// clearSocketLocks removes the lock files of Unix sockets that lie in the data
// directory (unix_socket_directories: '.'): nobody else's server has its socket
// there, and ours does not run. One that came along with a copy or a rewind, or
// was left by a lost host, names a process of another time or host; if a
// process of that number lives here, the server would refuse to start.
func (s *Server) clearSocketLocks() {
	locks, _ := filepath.Glob(filepath.Join(globQuote(s.opt.DataDir), ".s.PGSQL.*.lock"))
	for _, l := range locks {
		if err := os.Remove(l); err != nil {
			s.log.Warn("stale lock file of a socket not removed", "error", err)
		}
	}
}

// globQuote makes a path stand for itself in a pattern.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// grandparent makes a server ignore a stale postmaster.pid whose number now
// belongs to somebody else; the file itself is never removed.
func (s *Server) grandparent() []string {
	_, _, foreign, _ := postmaster.Find(s.opt.DataDir, s.serverName())
	if foreign == 0 {
		return nil
	}
	s.log.Warn("postmaster.pid names a living process that is not this server; ignoring it", "pid", foreign)
	return []string{"PG_GRANDPARENT_PID=" + strconv.Itoa(foreign)}
}

// waitReady waits until sessions are accepted.
func (s *Server) waitReady(ctx context.Context, p *postmaster.Process, timeout time.Duration) error {
	limit, cancel := context.WithTimeoutCause(ctx, timeout,
		fmt.Errorf("%w after %s: it goes on; if its recovery needs longer, raise primary_start_timeout or postgresql.pg_ctl_timeout", ErrStillStarting, timeout))
	defer cancel()
	err := poll(limit, readyPoll, "the server to accept sessions", func() (bool, error) {
		if !p.Alive() {
			return false, s.startFailed(s.whyFailed(p))
		}
		return s.procState(p) == ProcRunning, nil
	})
	if err == nil {
		s.backupConf()
	}
	return err
}

// startFailed remembers why a start failed, for the facts.
func (s *Server) startFailed(why string) error {
	if strings.Contains(why, "could not load ") && strings.Contains(why, "pg_hba.conf") {
		s.startRefusedRules(why)
	}
	why = s.advised(why)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startErr = why
	return errors.New("PostgreSQL did not start: " + why)
}

// whyFailed finds the server's own last words.
func (s *Server) whyFailed(p *postmaster.Process) string {
	s.mu.Lock()
	offset := s.logStart
	s.mu.Unlock()
	text := tail(s.opt.ServerLog, offset)
	if why := fatalLine(text); why != "" {
		return why
	}
	if why := fatalLine(tail(s.collectorLog(), 0)); why != "" {
		return why
	}
	if l := lastLines(text, 3); l != "" {
		return l
	}
	return "the postmaster " + p.Exit().String() + ", without a message in " + s.opt.ServerLog
}

// maxServerLog is when the server's standard error file is put aside at a start.
const maxServerLog = 16 << 20

// openLog opens the file for the server's standard error, appending.
func (s *Server) openLog() (*os.File, int64, error) {
	path := s.opt.ServerLog
	if err := s.user.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, 0, err
	}
	if st, err := os.Stat(path); err == nil && st.Size() > maxServerLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, 0, err
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600) // a link could lead to a file of root's
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err = errors.Join(err, s.user.Chown(path)); err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// clearPlaceholders removes history files that only occupy a number and lie
// above every real timeline: a standby that starts would take the highest
// number for its target and refuse.
func (s *Server) clearPlaceholders() {
	all, _ := walfile.Timelines(s.walDir())
	for i := len(all) - 1; i >= 0; i-- {
		_, placeholder, err := walfile.ReadHistory(s.walDir(), all[i])
		if err != nil || !placeholder {
			return
		}
		if err := os.Remove(filepath.Join(s.walDir(), all[i].FileName())); err != nil {
			s.log.Warn("placeholder history not removed", "timeline", all[i], "error", err)
		}
	}
}

func removeIfThere(path string) error {
	err := os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
