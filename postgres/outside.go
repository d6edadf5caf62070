package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// outsideDir is a directory that a data directory only links to: a tablespace,
// or the log's own place. It keeps its path when the data directory is
// exchanged, and may be a mount point, so its contents are moved.
type outsideDir struct {
	path string
	wal  bool
}

// fresh is where the copy's contents are made, kept where the old ones go; both
// are on the directory's own file system.
func (o outsideDir) fresh() string { return filepath.Join(o.path, newInside) }
func (o outsideDir) kept() string  { return filepath.Join(o.path, keptInside) }

type outside []outsideDir

// outsideDirs lists the places that the present data directory, or the
// configured options of the base backup, use.
func (s *Server) outsideDirs() outside {
	var out outside
	links, _ := filepath.Glob(s.dataPath("pg_tblspc", "*"))
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && filepath.IsAbs(to) && exists(to) {
			out = append(out, outsideDir{path: to})
		}
	}
	for _, o := range s.config().BaseBackup {
		if o.Name == "waldir" && exists(o.Value) {
			out = append(out, outsideDir{path: o.Value, wal: true})
		}
	}
	return out
}

// clear removes what an earlier, unfinished copy left there.
func (out outside) clear() error {
	var errs []error
	for _, o := range out {
		errs = append(errs, os.RemoveAll(o.fresh()))
	}
	return errors.Join(errs...)
}

// mappings are the arguments that make pg_basebackup put tablespaces into the
// fresh places: their own are still in use by what is to be replaced.
func (out outside) mappings() []string {
	var args []string
	esc := strings.NewReplacer("=", `\=`)
	for _, o := range out {
		if !o.wal {
			args = append(args, "--tablespace-mapping="+esc.Replace(o.path)+"="+esc.Replace(o.fresh()))
		}
	}
	return args
}

// options replaces the places in the configured options by the fresh ones: that
// of the log, and the new side of a tablespace mapping.
func (out outside) options(opts []Option) []Option {
	res := append([]Option(nil), opts...)
	for _, o := range out {
		for i := range res {
			switch {
			case o.wal && res[i].Name == "waldir":
				res[i].Value = o.fresh()
			case res[i].Name == "tablespace-mapping":
				if old, ok := strings.CutSuffix(res[i].Value, "="+o.path); ok {
					res[i].Value = old + "=" + o.fresh()
				}
			}
		}
	}
	return res
}

// settleOutside moves the fresh contents to their proper place and the old ones
// aside, and corrects the links of both data directories. The copy works before
// and after each step but the last two renames of one directory, which belong
// together; a crash between them is repaired by cloning again. The old ones
// share the fate of the data directory; what is there already under the name they are
// kept under is another directory's, or nobody's, and stays.
func (s *Server) settleOutside(out outside, f fate) error {
	for _, o := range out {
		if !exists(o.fresh()) {
			continue // the source has no such tablespace any more
		}
		aside := o.kept()
		if f == dropped {
			aside = filepath.Join(o.path, unfinishedInside)
			if err := os.RemoveAll(aside); err != nil {
				return err
			}
		} else if exists(aside) {
			aside += "." + s.stamp()
		}
		if err := s.moveContents(o.path, aside); err != nil {
			return err
		}
		if err := s.moveContents(o.fresh(), o.path); err != nil {
			return err
		}
		if err := os.Remove(o.fresh()); err != nil {
			return err
		}
		if err := errors.Join(relink(s.opt.DataDir, o.fresh(), o.path), settleAside(s.keptDir(), o.path, aside, f)); err != nil {
			return err
		}
	}
	return nil
}

// settleAside corrects the links of the directory that what is aside belongs to, or
// removes it where there is none.
func settleAside(keptDir, from, aside string, f fate) error {
	switch f {
	case setAsideWhole:
		return relink(keptDir, from, aside)
	case dropped:
		return os.RemoveAll(aside)
	}
	_ = os.Remove(aside) // unless something is in it, which its data directory lost
	return nil
}

// relink makes the links of a data directory that lead to one place lead to
// another.
func relink(dataDir, from, to string) error {
	links, _ := filepath.Glob(filepath.Join(dataDir, "pg_tblspc", "*"))
	for _, link := range append(links, filepath.Join(dataDir, "pg_wal")) {
		if at, err := os.Readlink(link); err != nil || at != from {
			continue
		}
		if err := errors.Join(os.Remove(link), os.Symlink(to, link)); err != nil {
			return err
		}
	}
	return nil
}
