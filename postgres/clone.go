package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/matriarch-ha/matriarch/postgres/conf"
	"github.com/matriarch-ha/matriarch/postgres/replica"
	"github.com/matriarch-ha/matriarch/postgres/runas"
)

// Clone makes the data directory a fresh copy of a source, which must be
// running. The copy is made beside and takes the directory's place only when it
// is complete; what it replaces is kept as <data_dir>.replaced. The server must
// be stopped; the copy is left stopped, marked as a standby.
func (s *Server) Clone(ctx context.Context, src Source, progress Progress) error {
	s.task.Lock()
	defer s.task.Unlock()
	if s.process() != nil {
		return errors.New("clone: the server is running; stop it first")
	}
	if state, err := s.dirState(); state == DirInaccessible {
		return fmt.Errorf("clone: %s: %w", s.opt.DataDir, err)
	}
	spare := s.noteLost(ctx, src)
	to, out := s.cloneDir(), s.outsideDirs()
	if err := errors.Join(out.clear(), os.RemoveAll(to)); err != nil {
		return err
	}
	if !s.movable() {
		if err := s.takeDir(); err != nil {
			return err
		}
	}
	if err := s.user.MkdirAll(to, 0o700); err != nil {
		return err
	}
	err := s.baseBackup(ctx, src, to, out, progress)
	if err == nil {
		s.say(progress, "verifying the copy")
		err = s.verifyCopy(ctx, to)
	}
	if err == nil {
		err = dropForeign(to)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("clone from %s: %w", src.Name, err), os.RemoveAll(to), out.clear())
	}
	s.say(progress, "putting the copy in place")
	s.keepMu.Lock()
	defer s.keepMu.Unlock()
	f, err := s.install(to, spare)
	if err != nil {
		return err
	}
	return s.settleOutside(out, f)
}

// cloneDir is where the copy is made: beside the data directory, or inside it
// when it is a mount point or a link, which cannot be renamed.
func (s *Server) cloneDir() string {
	if s.movable() {
		return s.newDir()
	}
	return s.dataPath(newInside)
}

// movable reports whether the data directory can be renamed.
func (s *Server) movable() bool {
	var own, parent syscall.Stat_t
	if err := syscall.Lstat(s.opt.DataDir, &own); err != nil {
		return true
	}
	if unix.Access(filepath.Dir(s.opt.DataDir), unix.W_OK) != nil {
		return false // somebody else's directory: nothing can be renamed in it
	}
	if own.Mode&syscall.S_IFMT == syscall.S_IFLNK || syscall.Stat(filepath.Dir(s.opt.DataDir), &parent) != nil {
		return false
	}
	return own.Dev == parent.Dev && !slices.Contains(mountPoints(), s.opt.DataDir)
}

// baseBackup runs pg_basebackup into a directory.
func (s *Server) baseBackup(ctx context.Context, src Source, to string, out outside, progress Progress) error {
	opts := s.config().BaseBackup
	args, err := conf.Args("pg_basebackup", out.options(opts), conf.ForbiddenBaseBackup)
	if err != nil {
		return err
	}
	if !hasOption(opts, "checkpoint") {
		args = append(args, "--checkpoint=fast")
	}
	t := s.replicationTarget(src)
	if t.Major, err = s.BinaryMajor(ctx); err != nil {
		return err
	}
	if t.Passfile, err = s.passfile(t); err != nil {
		return err
	}
	args = append(args, out.mappings()...)
	args = append([]string{"--pgdata=" + to, "--wal-method=stream", "--progress", "--no-password", "--dbname=" + conf.Conninfo(t)}, args...)
	s.say(progress, "base backup from "+src.Name)
	var check func(replica.Progress) error
	if r, ok := s.roomAt(to); ok {
		check = r.check
	}
	return s.runWithProgress(ctx, progress, check, "pg_basebackup", args...)
}

func hasOption(opts []Option, name string) bool {
	for _, o := range opts {
		if o.Name == name {
			return true
		}
	}
	return false
}

// runWithProgress runs a copying program and passes its progress on. The first
// error of check, which may be nil, ends the program and is returned.
func (s *Server) runWithProgress(ctx context.Context, progress Progress, check func(replica.Progress) error, name string, args ...string) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	cmd, err := s.command(ctx, []string{"PGOPTIONS=-c statement_timeout=0"}, name, args...)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd.Stderr, cmd.Stdout = w, io.Discard
	if name == "pg_rewind" {
		cmd.Stdout = w
	}
	if err := cmd.Start(); err != nil {
		w.Close()
		return fmt.Errorf("%s: %w", name, err)
	}
	w.Close()
	var refused error
	last := ""
	said := replica.Follow(r, func(p replica.Progress) {
		if check != nil && refused == nil {
			if refused = check(p); refused != nil {
				end()
			}
		}
		if text := p.String(); text != last {
			last = text
			s.say(progress, text)
		}
	})
	err = cmd.Wait()
	if refused != nil {
		return refused
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return &programError{Program: name, Err: err, Stderr: said, Advised: s.advised}
	}
	return nil
}

// verifyCopy checks that every file of the backup's manifest is there with its
// size; reading all data again would double the time of a large clone.
func (s *Server) verifyCopy(ctx context.Context, dir string) error {
	if !exists(filepath.Join(dir, "global", "pg_control")) || !exists(filepath.Join(dir, "PG_VERSION")) {
		return errors.New("the copy is not complete: it has no control file")
	}
	if _, err := s.binary("pg_verifybackup"); err != nil || !exists(filepath.Join(dir, "backup_manifest")) {
		return nil
	}
	_, err := s.run(ctx, nil, "pg_verifybackup", "--skip-checksums", "--no-parse-wal", "--quiet", dir)
	return err
}

// dropForeign removes from a copy what the source keeps inside its data directory
// under our names: it is the source's own, it would pass for what is kept here, and
// nothing of that name is moved. Of tablespaces and the log's own place a base backup
// copies no such thing, but a rewind does.
func dropForeign(dir string) error {
	var errs []error
	for _, name := range ours(dir) {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}

// install puts a complete copy in the data directory's place; spare is what is known
// of what it replaces.
func (s *Server) install(from string, spare spareCopy) (fate, error) {
	if err := s.markCopy(from); err != nil {
		return nothingThere, err
	}
	f, err := s.setAside(spare)
	if err != nil {
		return f, fmt.Errorf("put the old data directory aside: %w", err)
	}
	if from == s.newDir() {
		err = os.Rename(from, s.opt.DataDir)
	} else {
		err = s.moveContents(from, s.opt.DataDir)
		err = errors.Join(err, removeIfThere(from))
	}
	if err != nil {
		return f, fmt.Errorf("put the copy in place: %w", err)
	}
	s.forgetIdentities()
	s.lossFinal()
	return f, errors.Join(removeIfThere(s.rewindMark()), removeIfThere(s.bootstrapMark()), runas.SyncDir(filepath.Dir(s.opt.DataDir)))
}

// markCopy makes the copy a standby before anybody could start it.
func (s *Server) markCopy(dir string) error {
	if err := removeIfThere(filepath.Join(dir, "recovery.signal")); err != nil {
		return err
	}
	return s.user.WriteFile(filepath.Join(dir, "standby.signal"), nil, 0o600)
}
