package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/postgres/runas"
)

// KeptCopy is a directory that was kept beside the data.
type KeptCopy struct {
	Path string `json:"path"`
	// Spare: all that is in it is elsewhere too, as far as is known, so that it is
	// removed when what took its place has served for long enough. Any other stays
	// until a person removes it.
	Spare bool `json:"spare,omitempty"`
	// Served is for how long that has served.
	Served time.Duration `json:"served_ns,omitempty"`
}

// Service is for how much longer a postmaster served well.
type Service struct {
	PID int
	For time.Duration
}

// Removed is what TendReplaced removed.
type Removed struct {
	Path  string
	Bytes int64 // what was still there
	// Served is for how long what took its place had served. Rest: the removal had
	// been interrupted before, and why it began was told then.
	Served time.Duration
	Rest   bool
}

// spareCopy is kept in a file as long as a replaced directory may go by itself.
// Without a file that can be read it may not.
type spareCopy struct {
	Path     string        `json:"path"`
	SystemID string        `json:"system_id"`
	Served   time.Duration `json:"served_ns"`
}

const (
	oursInside       = ".matriarch-"         // how all such names begin
	keptInside       = ".matriarch-replaced" // in a directory that cannot be renamed
	removingInside   = ".matriarch-removing"
	newInside        = ".matriarch-new"        // a copy that is being made
	unfinishedInside = ".matriarch-unfinished" // part of a server, about to be removed
)

func (s *Server) sparePath() string { return s.statePath("replaced.json") }

// keptDir is where a replaced directory is kept, as things are now.
func (s *Server) keptDir() string {
	if s.movable() {
		return s.replacedDir()
	}
	return s.dataPath(keptInside)
}

func (s *Server) readSpare() (c spareCopy, ok bool) {
	text, err := os.ReadFile(s.sparePath())
	if err != nil || json.Unmarshal(text, &c) != nil || c.SystemID == "" || c.Served < 0 {
		return spareCopy{}, false
	}
	return c, c.Path == s.replacedDir() || c.Path == s.dataPath(keptInside)
}

func (s *Server) writeSpare(c spareCopy) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.user.WriteFile(s.sparePath(), text, 0o600)
}

func (s *Server) forgetSpare() error {
	return errors.Join(removeIfThere(s.sparePath()), runas.SyncDir(s.opt.StateDir))
}

// keptCopies lists what is kept beside the data.
func (s *Server) keptCopies() []KeptCopy {
	var out []KeptCopy
	var paths []string
	for _, path := range []string{s.replacedDir(), s.dataPath(keptInside), s.lostDir(), s.failedDir(), s.dataPath(failedInside)} {
		paths = append(append(paths, path), alsoNamed(path)...)
	}
	for _, path := range paths {
		if !exists(path) {
			continue
		}
		k := KeptCopy{Path: path}
		if c, ok := s.readSpare(); ok && c.Path == path {
			k.Spare, k.Served = true, c.Served
		}
		out = append(out, k)
	}
	return out
}

// TendReplaced counts that what took the place of the replaced directory has served
// for so much longer, and removes that directory when it has served for enough, if
// all that is in it is elsewhere too. What an interrupted removal left is removed
// first. It may take minutes and be interrupted anywhere; Path of the answer is empty
// when nothing was removed.
func (s *Server) TendReplaced(ctx context.Context, served Service, enough time.Duration) (Removed, error) {
	if left := s.condemned(); len(left) > 0 {
		if err := s.settleCondemned(left); err != nil {
			return Removed{}, err
		}
		bytes, err := removeCondemned(left)
		return Removed{Path: left[0], Bytes: bytes, Rest: true}, err
	}
	c, over, err := s.countServed(ctx, served, enough)
	if err != nil || !over {
		return Removed{}, err
	}
	bytes, err := removeCondemned(s.condemned())
	return Removed{Path: c.Path, Bytes: bytes, Served: c.Served}, err
}

// countServed adds to the count and, when that is enough, gives the copy a name that
// says that it is not whole any more. Nothing is counted where no postmaster runs, or
// another one: what the count is of may have been replaced. While this one runs it
// cannot be, and a clone that begins now waits for keepMu before it exchanges anything.
func (s *Server) countServed(ctx context.Context, served Service, enough time.Duration) (c spareCopy, over bool, err error) {
	s.keepMu.Lock()
	defer s.keepMu.Unlock()
	c, ok := s.readSpare()
	if p := s.process(); !ok || served.For <= 0 || p == nil || p.PID != served.PID {
		return c, false, nil
	}
	if !exists(c.Path) {
		return c, false, s.forgetSpare() // a person was faster
	}
	// Another database may have been made here since.
	ctl, err := s.control(ctx)
	if err != nil || ctl.SystemID != c.SystemID {
		return c, false, err
	}
	if c.Served += served.For; c.Served < enough {
		return c, false, s.writeSpare(c)
	}
	return c, true, s.condemn(c.Path)
}

// condemn renames the copy and what it has outside. Only names change here: the
// removal proper needs no lock, since nothing else uses these names.
func (s *Server) condemn(path string) error {
	to := strings.TrimSuffix(path, "replaced") + "removing"
	if err := os.Rename(path, to); err != nil {
		return err
	}
	return errors.Join(runas.SyncDir(filepath.Dir(to)), condemnOutside(to), s.forgetSpare())
}

// condemnOutside renames what a copy that is being removed has outside, and makes its
// links say so. It must come to its end before another copy is kept in those places,
// or that would be taken for the former: see setAside.
func condemnOutside(dir string) error {
	return renameOutside(dir, func(name string) bool {
		return name == keptInside || strings.HasPrefix(name, keptInside+".")
	}, removingInside)
}

// renameOutside gives the places of such names that links of a directory lead to
// another, and corrects the links. It may be repeated.
func renameOutside(dir string, which func(name string) bool, name string) error {
	for _, at := range outsideLinks(dir, which) {
		to := filepath.Join(filepath.Dir(at), name)
		if err := os.Rename(at, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := relink(dir, at, to); err != nil {
			return err
		}
	}
	return nil
}

// outsideLinks are the places of such names that links of a data directory lead to.
func outsideLinks(dir string, which func(name string) bool) []string {
	var out []string
	links, _ := filepath.Glob(filepath.Join(dir, "pg_tblspc", "*"))
	for _, link := range append(links, filepath.Join(dir, "pg_wal")) {
		if to, err := os.Readlink(link); err == nil && filepath.IsAbs(to) && which(filepath.Base(to)) {
			out = append(out, to)
		}
	}
	return out
}

func named(name string) func(string) bool { return func(n string) bool { return n == name } }

// condemned are the copies whose removal has begun.
func (s *Server) condemned() []string {
	var out []string
	for _, dir := range []string{s.opt.DataDir + ".removing", s.dataPath(removingInside)} {
		if exists(dir) {
			out = append(out, dir)
		}
	}
	return out
}

// settleCondemned ends what a crash left of condemn.
func (s *Server) settleCondemned(dirs []string) (err error) {
	s.keepMu.Lock()
	defer s.keepMu.Unlock()
	for _, dir := range dirs {
		err = errors.Join(err, condemnOutside(dir))
	}
	return err
}

// removeCondemned removes them and says how much they held. The links go last: by
// them the rest is found again.
func removeCondemned(dirs []string) (bytes int64, err error) {
	for _, dir := range dirs {
		for _, part := range append(outsideLinks(dir, named(removingInside)), dir) {
			bytes += sizeOf(part)
			if err := removePart(part); err != nil {
				return bytes, err
			}
		}
	}
	return bytes, nil
}

// removePart removes a directory, but not one with a mount point in it: that came
// along when the directory was renamed, is of the host's making, and cannot go.
func removePart(dir string) error {
	at, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return removeIfThere(dir)
	}
	for _, m := range mountPoints() {
		if strings.HasPrefix(m, at+"/") {
			return fmt.Errorf("%s cannot be removed, since %s is a mount point: unmount it, and it is removed", dir, m)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove a replaced data directory: %w", err)
	}
	return nil
}

// sizeOf is what the files below a directory hold.
func sizeOf(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if st, err := e.Info(); err == nil {
				sum += st.Size()
			}
		}
		return nil // what cannot be looked at is not counted
	})
	return sum
}
