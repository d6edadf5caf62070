package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Files are named after the first record in them, so that no rename is ever
// needed: journal-00000000000000000001.jsonl.
const (
	filePrefix = "journal-"
	fileSuffix = ".jsonl"
	// maxLine bounds one line when reading; longer ones are skipped.
	maxLine = 16 << 20
)

func fileName(seq uint64) string { return fmt.Sprintf("%s%020d%s", filePrefix, seq, fileSuffix) }

// makeDir makes the directory, readable by its owner only.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the journal directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("close the journal directory to others: %w", err)
	}
	return nil
}

// files lists the journal's files, oldest first.
func files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the journal directory: %w", err)
	}
	var out []string
	for _, e := range entries {
		if n := e.Name(); strings.HasPrefix(n, filePrefix) && strings.HasSuffix(n, fileSuffix) {
			out = append(out, filepath.Join(dir, n))
		}
	}
	slices.Sort(out)
	return out, nil
}

// Run writes queued records to the files until ctx ends, then writes what is
// still queued and returns. A file that cannot be written costs records, never
// the agent: it is said once and tried again with the next record.
func (j *Journal) Run(ctx context.Context) error {
	w := writer{opts: j.opts}
	defer w.close()
	for {
		select {
		case l := <-j.lines:
			j.write(&w, l)
		case <-ctx.Done():
			for {
				select {
				case l := <-j.lines:
					j.write(&w, l)
				default:
					w.sync()
					return nil
				}
			}
		}
	}
}

func (j *Journal) write(w *writer, l line) {
	err := w.write(l)
	if err == nil {
		w.failing = false
		return
	}
	j.mu.Lock()
	j.dropped++
	j.mu.Unlock()
	if !w.failing {
		j.opts.Log.Warn("journal cannot be written; records are kept in memory only", "dir", j.opts.Dir, "err", err)
	}
	w.failing = true
	w.close()
}

// writer appends lines to the current file and begins new ones.
type writer struct {
	opts    Options
	f       *os.File
	size    int64
	began   bool // a file was opened already
	failing bool
}

func (w *writer) write(l line) error {
	if w.f != nil && w.size+int64(len(l.text)) > w.opts.FileBytes {
		w.close()
	}
	if w.f == nil {
		if err := w.begin(l.seq); err != nil {
			return err
		}
	}
	n, err := w.f.Write(l.text)
	w.size += int64(n)
	return err
}

// begin opens the file for the record seq: at first the newest one there is, if
// it has room, so that an agent that is started again and again does not push out
// what is old with files of a few records. It removes the oldest beyond the limit.
func (w *writer) begin(seq uint64) error {
	path := filepath.Join(w.opts.Dir, fileName(seq))
	if !w.began {
		if all, err := files(w.opts.Dir); err == nil && len(all) > 0 {
			newest := all[len(all)-1]
			if st, err := os.Stat(newest); err == nil && st.Size() < w.opts.FileBytes*9/10 {
				path = newest
			}
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	w.f, w.size, w.began = f, 0, true
	if st, err := f.Stat(); err == nil {
		w.size = st.Size()
	}
	if err := w.endLine(); err != nil {
		return err
	}
	return w.prune()
}

// endLine ends a line that a crash has cut, so that no other is appended to it.
func (w *writer) endLine() error {
	var last [1]byte
	if w.size == 0 {
		return nil
	}
	if _, err := w.f.ReadAt(last[:], w.size-1); err != nil || last[0] == '\n' {
		return err
	}
	n, err := w.f.Write([]byte("\n"))
	w.size += int64(n)
	return err
}

func (w *writer) prune() error {
	all, err := files(w.opts.Dir)
	if err != nil {
		return err
	}
	for len(all) > w.opts.Files {
		if err := os.Remove(all[0]); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove an old journal file: %w", err)
		}
		all = all[1:]
	}
	return nil
}

// sync brings what was written to the disk: a host that is switched off after its
// agent ended has the agent's last words.
func (w *writer) sync() {
	if w.f != nil {
		_ = w.f.Sync() // nobody is left to be told
	}
}

func (w *writer) close() {
	if w.f != nil {
		w.f.Close() // every line was written without a buffer
		w.f = nil
	}
}
