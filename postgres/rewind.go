package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/postgres/control"
	"github.com/matriarch-ha/matriarch/postgres/probe"
	"github.com/matriarch-ha/matriarch/postgres/replica"
	"github.com/matriarch-ha/matriarch/wal"
)

// Rewind brings a diverged, stopped data directory back onto its source's line.
// The log from the fork on is saved first with the list of what is lost. While
// files are copied a marker forbids any start; it is removed by RewindDone once
// the restarted standby is consistent. After a failure: rewind again, or clone.
func (s *Server) Rewind(ctx context.Context, src Source, progress Progress) error {
	s.task.Lock()
	defer s.task.Unlock()
	if s.process() != nil {
		return errors.New("rewind: the server is running; stop it first")
	}
	state, err := s.dirState()
	if state != DirPresent && state != DirRewinding {
		return fmt.Errorf("rewind: the data directory is %s: %v", state, err)
	}
	s.say(progress, "waiting for a checkpoint on "+src.Name)
	if err := s.awaitSourceCheckpoint(ctx, src); err != nil {
		return fmt.Errorf("rewind: %w", err)
	}
	if err := s.prepareRewind(ctx, src, state, progress); err != nil {
		return fmt.Errorf("rewind: %w", err)
	}
	kept, places := s.keepConf(), s.rewound()
	s.say(progress, "pg_rewind from "+src.Name)
	if err := s.pgRewind(ctx, src, progress); err != nil {
		return err
	}
	for _, dir := range places {
		if err := dropForeign(dir); err != nil {
			return err
		}
	}
	return s.finishRewind(kept)
}

// prepareRewind saves what will be lost, writes the marker, and shuts a crashed
// directory down in order.
func (s *Server) prepareRewind(ctx context.Context, src Source, state DirState, progress Progress) error {
	if state == DirRewinding {
		// The first attempt saved the log; the directory is no server's any more.
		if m, _ := s.readRewindMark(); !m.NothingKept {
			if err := s.nothingKeptInside(); err != nil {
				return err
			}
		}
		_, err := s.writeFiles(ctx, true)
		return err
	}
	if err := s.nothingKeptInside(); err != nil {
		return err
	}
	s.forgetLoss()
	ctl, err := s.control(ctx)
	if err != nil {
		return err
	}
	mine, hist, err := s.stoppedPosition(ctx, ctl)
	if err != nil {
		return err
	}
	at, theirs, err := s.lineage(ctx, src)
	if err != nil {
		return err
	}
	tl := at.Timeline
	fork, ok := replica.Fork(mine.Timeline, hist, tl, theirs)
	if !ok || fork.LSN == 0 {
		return fmt.Errorf("nothing to rewind: we are at %s, %s is on timeline %d, which does not part from ours", mine, src.Name, tl)
	}
	s.say(progress, fmt.Sprintf("saving the log from %s to %s", fork, mine))
	if _, err := s.saveLost(ctx, ctl, fork, mine, hist); err != nil {
		return err
	}
	if _, err := s.writeFiles(ctx, true); err != nil {
		return err
	}
	if err := s.writeRewindMark(RewindMarker{Stage: stageCopying, Source: src.Name, Timeline: tl, Fork: fork, NothingKept: true}); err != nil {
		return err
	}
	if !ctl.Clean() {
		s.say(progress, "crash recovery before the rewind")
		return s.singleUser(ctx, ctl)
	}
	return nil
}

// rewound are the directories that pg_rewind goes through. It removes from them
// whatever the source does not have, and brings whatever the source has.
func (s *Server) rewound() []string {
	links, _ := filepath.Glob(s.dataPath("pg_tblspc", "*"))
	var out []string
	for _, dir := range append([]string{s.opt.DataDir, s.walDir()}, links...) {
		if to, err := filepath.EvalSymlinks(dir); err == nil {
			out = append(out, to)
		}
	}
	return out
}

// nothingKeptInside refuses a rewind that would destroy what is kept inside a data
// directory that cannot be renamed, or in a tablespace. What is no copy, or is about
// to be removed, is removed now.
func (s *Server) nothingKeptInside() error {
	s.keepMu.Lock()
	defer s.keepMu.Unlock()
	var kept []string
	for _, dir := range s.rewound() {
		for _, name := range ours(dir) {
			path := filepath.Join(dir, name)
			switch name {
			case newInside, unfinishedInside, removingInside:
				if err := removePart(path); err != nil {
					return err
				}
			default:
				kept = append(kept, path)
			}
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return fmt.Errorf("pg_rewind would destroy what is kept in %s: move it elsewhere, or remove it if you do not need it any more", strings.Join(kept, " and "))
}

// singleUser lets a crashed server finish its recovery and shut down, keeping
// all its log, which pg_rewind must read. The signal file is put away for the
// time: a single-user server refuses to be a standby. A crashed standby leaves
// recovery here; what it had past the fork is being given up anyway.
func (s *Server) singleUser(ctx context.Context, ctl control.Data) (err error) {
	if ctl.BackupEndRequired {
		return errors.New("the directory is a base backup that was never replayed to its end; clone it again")
	}
	if err := errors.Join(removeIfThere(s.standbySignal()), removeIfThere(s.recoverySignal())); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.MarkStandby()) }()
	_, err = s.run(ctx, nil, "postgres", "--single", "-D", s.opt.DataDir, "-c", "config_file="+s.mainConf(),
		"-c", "archive_mode=on", "-c", "archive_command=false", "-c", "wal_keep_size=1TB", "-c", "synchronous_standby_names=", "template1")
	return err
}

// pgRewind runs the program.
func (s *Server) pgRewind(ctx context.Context, src Source, progress Progress) error {
	cfg := s.config()
	args, err := conf.Args("pg_rewind", cfg.PgRewind, conf.ForbiddenRewind)
	if err != nil {
		return err
	}
	t, err := s.rewindTarget(src)
	if err != nil {
		return err
	}
	args = append([]string{"--target-pgdata=" + s.opt.DataDir, "--source-server=" + conf.Conninfo(t), "--progress", "--no-ensure-shutdown"}, args...)
	if _, ok := conf.Lookup(append(cfg.Parameters, cfg.Recovery...), "restore_command"); ok {
		args = append(args, "--restore-target-wal")
		if s.opt.ConfigDir != s.opt.DataDir && t.Major >= 15 {
			args = append(args, "--config-file="+s.mainConf())
		}
	}
	return s.runWithProgress(ctx, progress, nil, "pg_rewind", args...)
}

// rewindTarget describes the connection with the rewind role.
func (s *Server) rewindTarget(src Source) (conf.Target, error) {
	t := s.replicationTarget(src)
	t.Credentials = s.rewindRole()
	t.SessionAttr = "read-write"
	var err error
	t.Passfile, err = s.passfile(t)
	return t, err
}

func (s *Server) rewindRole() Credentials {
	r := s.roles()
	if r.Rewind.Username != "" {
		return r.Rewind
	}
	return r.Superuser
}

// awaitSourceCheckpoint waits until the source's control file names its current
// timeline: before that pg_rewind would not see that anything parted. A
// superuser may have the checkpoint made at once.
func (s *Server) awaitSourceCheckpoint(ctx context.Context, src Source) error {
	t := s.replicationTarget(src)
	open := func(cred Credentials) (*probe.Conn, error) {
		return probe.Open(ctx, probe.Dial{Host: t.Host, Port: t.Port, DBName: t.DBName, Credentials: cred, Application: taskApp,
			Settings: map[string]string{"search_path": "pg_catalog"}})
	}
	c, err := open(s.rewindRole())
	if err != nil {
		return classify(err, src, conf.Target{Host: t.Host, Port: t.Port, Credentials: s.rewindRole()})
	}
	defer c.Close()
	asked := false
	return poll(ctx, 100*time.Millisecond, "a checkpoint on "+src.Name, func() (bool, error) {
		ready, err := checkpointed(ctx, c)
		if ready || err != nil || asked {
			return ready, err
		}
		asked = true
		su, err := open(s.roles().Superuser)
		if err != nil {
			s.log.Info("cannot ask the source for a checkpoint; waiting for its own", "source", src.Name, "error", probe.Message(err))
			return false, nil
		}
		defer su.Close()
		if err := su.Exec(ctx, "CHECKPOINT"); err != nil {
			s.log.Info("the source refuses a checkpoint; waiting for its own", "source", src.Name, "error", probe.Message(err))
		}
		return false, nil
	})
}

func checkpointed(ctx context.Context, c *probe.Conn) (bool, error) {
	rows, err := c.Query(ctx, `SELECT pg_catalog.pg_is_in_recovery(), (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
 CASE WHEN pg_catalog.pg_is_in_recovery() THEN '' ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END`)
	if err != nil {
		return false, errors.New(probe.Message(err))
	}
	if rows[0][0] == "t" {
		return false, errors.New("the source is in recovery; only a primary can be rewound to")
	}
	tl, err := strconv.ParseUint(rows[0][2], 16, 32)
	return err == nil && rows[0][1] == strconv.FormatUint(tl, 10), err
}

// keepConf notes the configuration files in the data directory, which
// pg_rewind replaces with the source's.
func (s *Server) keepConf() map[string]string {
	kept := map[string]string{}
	for _, name := range []string{"postgresql.auto.conf", s.opt.ConfigBaseName + ".conf", s.baseName(), "pg_hba.conf", "pg_ident.conf"} {
		saved := s.statePath("before-rewind." + name)
		text, err := s.readPrivate(s.dataPath(name))
		if exists(saved) {
			// An interrupted rewind may have replaced the file already.
			text, err = s.readPrivate(saved)
		}
		if err != nil {
			continue
		}
		kept[name] = text
		if err := s.user.WriteFile(saved, []byte(text), 0o600); err != nil {
			s.log.Warn("configuration file not saved before the rewind", "file", name, "error", err)
		}
	}
	return kept
}

// finishRewind makes the rewound directory a standby with its own
// configuration, and moves the marker on.
func (s *Server) finishRewind(kept map[string]string) error {
	for name, text := range kept {
		path := s.dataPath(name)
		if err := s.user.WriteFile(path, []byte(text), s.fileMode(path)); err != nil {
			return err
		}
	}
	if err := errors.Join(removeIfThere(s.recoverySignal()), s.MarkStandby()); err != nil {
		return err
	}
	s.forgetIdentities()
	s.lossFinal() // before the mark: an attempt that is repeated notes it again
	m, _ := s.readRewindMark()
	m.Stage = stageReplaying
	if err := s.writeRewindMark(m); err != nil {
		return err
	}
	for name := range kept {
		_ = os.Remove(s.statePath("before-rewind." + name))
	}
	return nil
}

// ours lists the parts of our own line from the fork to the end: timeline,
// from, to.
type span struct {
	tl       wal.Timeline
	from, to wal.LSN
}

func spans(fork, end wal.Position, h wal.History) []span {
	var out []span
	line := append(append(wal.History(nil), h...), wal.Switch{Timeline: end.Timeline, LSN: end.LSN})
	from := fork.LSN
	for _, l := range line {
		if l.Timeline < fork.Timeline {
			continue
		}
		if l.LSN > from {
			out = append(out, span{l.Timeline, from, l.LSN})
			from = l.LSN
		}
	}
	return out
}

// lostPath is one saved copy.
func (s *Server) lostPath() string {
	return filepath.Join(s.lostDir(), s.stamp())
}
