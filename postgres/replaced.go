package postgres

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/matriarch-ha/matriarch/postgres/runas"
)

// fate is what became of the data directory that a copy replaces.
type fate int

const (
	nothingThere fate = iota
	setAsideWhole
	dropped // it was unfinished, and a better copy is kept
)

// setAside makes room for a copy: the old data directory becomes
// <data_dir>.replaced. spare is what is known of it: where it has no system
// identifier, the kept directory stays until a person removes it. It is called with
// keepMu held.
//
// What was counted for the copy kept so far is forgotten before anything moves: who
// finds the state of a crash in between must not take an old count for the new copy's.
func (s *Server) setAside(spare spareCopy) (fate, error) {
	for _, dir := range s.condemned() {
		if err := condemnOutside(dir); err != nil {
			return nothingThere, err
		}
	}
	for _, dir := range append(alsoNamed(s.replacedDir()), alsoNamed(s.dataPath(keptInside))...) {
		if err := stampOutside(dir); err != nil {
			return nothingThere, err
		}
	}
	kept := s.keptDir()
	older, ok := s.readSpare()
	if err := s.forgetSpare(); err != nil {
		return nothingThere, err
	}
	f, err := s.moveAside(kept, ok && older.Path == kept)
	if err != nil {
		return f, err
	}
	if spare.Path = kept; f != setAsideWhole {
		spare = older
	}
	spare.Served = 0
	s.noteSpare(spare)
	return f, nil
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

// moveAside moves the data directory to where it is kept. An older copy there gives
// way only to a complete directory: an unfinished one may not push out what could be
// the only copy of something, and is itself nothing but a part of another server.
func (s *Server) moveAside(kept string, olderSpare bool) (fate, error) {
	state, _ := s.dirState()
	movable := s.movable()
	switch {
	case state == DirMissing || state == DirEmpty && !movable:
		return nothingThere, nil
	case state == DirEmpty:
		return nothingThere, os.RemoveAll(s.opt.DataDir) // dot files and lost+found at most
	case state != DirRewinding && state != DirBootstrapping:
		if err := s.giveWay(kept, olderSpare); err != nil {
			return nothingThere, err
		}
	case exists(kept) && movable:
		return dropped, os.RemoveAll(s.opt.DataDir)
	case exists(kept):
		unused := s.dataPath(unfinishedInside)
		if err := os.RemoveAll(unused); err != nil {
			return nothingThere, err
		}
		if err := s.moveContents(s.opt.DataDir, unused); err != nil {
			return nothingThere, err
		}
		return dropped, os.RemoveAll(unused)
	}
	if !movable {
		return setAsideWhole, s.moveContents(s.opt.DataDir, kept)
	}
	if err := os.Rename(s.opt.DataDir, kept); err != nil {
		return nothingThere, err
	}
	return setAsideWhole, runas.SyncDir(filepath.Dir(kept))
}

// giveWay frees the name of the copy kept so far. One whose contents are all
// elsewhere is removed, any other gets a name of its own and stays for a person.
func (s *Server) giveWay(kept string, spare bool) error {
	if !exists(kept) {
		return nil
	}
	if spare {
		// Where an earlier removal cannot end, there is no name for another.
		if _, err := removeCondemned(s.condemned()); err == nil {
			err = s.condemn(kept)
			_, _ = removeCondemned(s.condemned()) // TendReplaced goes on, and tells what is in its way
			return err
		}
	}
	to := kept + "." + s.stamp()
	if err := os.Rename(kept, to); err != nil {
		return err
	}
	s.log.Warn("an older replaced data directory may be the only copy of something and stays until a person removes it", "dir", to)
	return errors.Join(runas.SyncDir(filepath.Dir(to)), stampOutside(to))
}

// stamp is the time, as names of what is kept bear it.
func (s *Server) stamp() string { return s.opt.Clock.Wall().UTC().Format("20060102T150405.000Z") }

// alsoNamed lists what bears a name with more after it, as stamp gives it or a person.
func alsoNamed(path string) []string {
	entries, _ := os.ReadDir(filepath.Dir(path))
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(path)+".") {
			out = append(out, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	return out
}

// stampOutside gives what an older copy has outside the name that it has itself.
func stampOutside(dir string) error {
	name := filepath.Base(dir)
	name = keptInside + name[strings.LastIndex(name, "replaced.")+len("replaced"):]
	return renameOutside(dir, named(keptInside), name)
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
		if e.Name() == "lost+found" || strings.HasPrefix(e.Name(), oursInside) {
			continue
		}
		if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(runas.SyncDir(to), runas.SyncDir(from))
}

// ours lists what bears our hidden names in a directory.
func ours(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), oursInside) {
			out = append(out, e.Name())
		}
	}
	return out
}

// mountPoints also lists bind mounts within one file system.
func mountPoints() []string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []string
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if fields := strings.Fields(sc.Text()); len(fields) > 4 {
			out = append(out, unescapeMount(fields[4]))
		}
	}
	return out
}

func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
