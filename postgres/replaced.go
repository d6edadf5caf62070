package postgres

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/matriarch-ha/matriarch/postgres/runas"
)

// setAside makes room for a copy: the old data directory becomes
// <data_dir>.replaced. One such is kept. An older one gives way only to a
// complete directory: an unfinished one may not push out what could be the only
// copy of something, and is itself nothing but a part of another server.
func (s *Server) setAside() error {
	state, _ := s.dirState()
	if state == DirMissing {
		return nil
	}
	kept := s.replacedDir()
	if !s.movable() {
		kept = s.dataPath(".matriarch-replaced")
	}
	unfinished := state == DirRewinding || state == DirBootstrapping || state == DirEmpty
	if exists(kept) && !unfinished {
		if err := os.RemoveAll(kept); err != nil {
			return err
		}
	}
	switch {
	case state == DirEmpty && s.movable():
		return os.RemoveAll(s.opt.DataDir) // dot files and lost+found at most
	case !s.movable() && exists(kept):
		kept = s.dataPath(".matriarch-unfinished")
		if err := os.RemoveAll(kept); err != nil {
			return err
		}
		if err := s.moveContents(s.opt.DataDir, kept); err != nil {
			return err
		}
		return os.RemoveAll(kept)
	case !s.movable():
		return s.moveContents(s.opt.DataDir, kept)
	case exists(kept):
		return os.RemoveAll(s.opt.DataDir) // unfinished, and a better copy is kept
	}
	if err := os.Rename(s.opt.DataDir, kept); err != nil {
		return err
	}
	return runas.SyncDir(filepath.Dir(kept))
}

// DropReplaced removes <data_dir>.replaced and the saved log; the caller knows
// that the replacement has proved itself.
func (s *Server) DropReplaced() error {
	for _, dir := range []string{s.replacedDir(), s.dataPath(".matriarch-replaced"), s.lostDir()} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// moveContents renames every entry of one directory into another on the same
// file system, leaving our own hidden directories and the mount's where they are.
func (s *Server) moveContents(from, to string) error {
	if err := s.user.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "lost+found" || strings.HasPrefix(e.Name(), ".matriarch-") {
			continue
		}
		if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(runas.SyncDir(to), runas.SyncDir(from))
}

// isMountPoint also finds bind mounts within one file system.
func isMountPoint(path string) bool {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		fields := strings.Fields(sc.Text())
		if len(fields) > 4 && unescapeMount(fields[4]) == path {
			return true
		}
	}
	return false
}

func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
