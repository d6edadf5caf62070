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
// <data_dir>.replaced. spare is what is known of it: where it has no system
// identifier, the kept directory stays until a person removes it.
//
// What was counted for the copy kept so far is forgotten before anything moves: who
// finds the state of a crash in between must not take an old count for the new copy's.
func (s *Server) setAside(spare spareCopy) error {
	for _, dir := range s.condemned() {
		if err := condemnOutside(dir); err != nil {
			return err
		}
	}
	kept := s.keptDir()
	older, _ := s.readSpare()
	if err := s.forgetSpare(); err != nil {
		return err
	}
	moved, err := s.moveAside(kept)
	if err != nil {
		return err
	}
	if spare.Path = kept; !moved {
		spare = older
	}
	spare.Served = 0
	s.noteSpare(spare)
	return nil
}

// noteSpare notes that a kept copy may go by itself one day. Without the note it
// stays, which is no reason to break off.
func (s *Server) noteSpare(c spareCopy) {
	if c.SystemID == "" || !exists(c.Path) {
		return
	}
	if err := s.writeSpare(c); err != nil {
		s.log.Warn("a replaced data directory will stay until a person removes it", "dir", c.Path, "error", err)
	}
}

// moveAside moves the data directory to where it is kept, and reports whether it is
// there now. One such is kept. An older one gives way only to a complete directory: an
// unfinished one may not push out what could be the only copy of something, and is
// itself nothing but a part of another server.
func (s *Server) moveAside(kept string) (moved bool, err error) {
	state, _ := s.dirState()
	if state == DirMissing {
		return false, nil
	}
	unfinished := state == DirRewinding || state == DirBootstrapping || state == DirEmpty
	if exists(kept) && !unfinished {
		if err := os.RemoveAll(kept); err != nil {
			return false, err
		}
	}
	switch {
	case state == DirEmpty && s.movable():
		return false, os.RemoveAll(s.opt.DataDir) // dot files and lost+found at most
	case !s.movable() && exists(kept):
		unused := s.dataPath(".matriarch-unfinished")
		if err := os.RemoveAll(unused); err != nil {
			return false, err
		}
		if err := s.moveContents(s.opt.DataDir, unused); err != nil {
			return false, err
		}
		return false, os.RemoveAll(unused)
	case !s.movable():
		return true, s.moveContents(s.opt.DataDir, kept)
	case exists(kept):
		return false, os.RemoveAll(s.opt.DataDir) // unfinished, and a better copy is kept
	}
	if err := os.Rename(s.opt.DataDir, kept); err != nil {
		return false, err
	}
	return true, runas.SyncDir(filepath.Dir(kept))
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
