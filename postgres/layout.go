package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Where things are. What is beside the data directory bears its name, so that
// nobody mistakes whose it is.
func (s *Server) dataPath(elem ...string) string {
	return filepath.Join(append([]string{s.opt.DataDir}, elem...)...)
}
func (s *Server) walDir() string { return s.dataPath("pg_wal") }
func (s *Server) mainConf() string {
	return filepath.Join(s.opt.ConfigDir, s.opt.ConfigBaseName+".conf")
}
func (s *Server) baseConf() string          { return filepath.Join(s.opt.ConfigDir, s.baseName()) }
func (s *Server) baseName() string          { return s.opt.ConfigBaseName + ".base.conf" }
func (s *Server) hbaConf() string           { return filepath.Join(s.opt.ConfigDir, "pg_hba.conf") }
func (s *Server) identConf() string         { return filepath.Join(s.opt.ConfigDir, "pg_ident.conf") }
func (s *Server) newDir() string            { return s.opt.DataDir + ".new" }
func (s *Server) replacedDir() string       { return s.opt.DataDir + ".replaced" }
func (s *Server) failedDir() string         { return s.opt.DataDir + ".failed" }
func (s *Server) lostDir() string           { return s.opt.DataDir + ".lost-wal" }
func (s *Server) rewindMark() string        { return s.opt.DataDir + ".rewinding" }
func (s *Server) bootstrapMark() string     { return filepath.Join(s.opt.StateDir, "bootstrapping") }
func (s *Server) standbySignal() string     { return s.dataPath("standby.signal") }
func (s *Server) recoverySignal() string    { return s.dataPath("recovery.signal") }
func (s *Server) statePath(n string) string { return filepath.Join(s.opt.StateDir, n) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// dirState says what is at the place of the data directory.
func (s *Server) dirState() (DirState, error) {
	entries, err := os.ReadDir(s.opt.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, lerr := os.Lstat(s.opt.DataDir); lerr == nil {
			return DirInaccessible, errors.New(s.opt.DataDir + " is a link to nowhere")
		}
		if _, perr := os.Stat(filepath.Dir(s.opt.DataDir)); perr != nil && !errors.Is(perr, fs.ErrNotExist) {
			return DirInaccessible, perr
		}
		return DirMissing, nil
	case err != nil:
		return DirInaccessible, fmt.Errorf("%w: postgresql.data_dir must be a directory that %s may enter", err, s.user.Name)
	case exists(s.bootstrapMark()):
		return DirBootstrapping, nil
	}
	if m, err := s.readRewindMark(); err != nil || m.Stage == stageCopying {
		return DirRewinding, err
	}
	if isEmptyDir(entries) && !exists(s.dataPath("global", "pg_control")) {
		return DirEmpty, nil
	}
	return DirPresent, nil
}

// isEmptyDir ignores what a mount point or an administrator leaves behind.
func isEmptyDir(entries []fs.DirEntry) bool {
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found" {
			return false
		}
	}
	return true
}

// fileMode is the mode for configuration files: what the group may do in the
// data directory it may do with them.
func (s *Server) fileMode(path string) fs.FileMode {
	if !strings.HasPrefix(path, s.opt.DataDir+"/") {
		return 0o640
	}
	if st, err := os.Stat(s.opt.DataDir); err == nil && st.Mode()&0o050 == 0o050 {
		return 0o640
	}
	return 0o600
}

// readPrivate reads a small file of the server's user as text.
func (s *Server) readPrivate(path string) (string, error) {
	text, err := s.user.ReadFile(path)
	return string(text), err
}
