package journal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// begin opens a new file for the record seq and removes the oldest ones beyond
// the limit. Every start of the agent begins a new file, so a line truncated by
// a crash never has another appended to it.
func (w *writer) begin(seq uint64) error {
	f, err := os.OpenFile(filepath.Join(w.opts.Dir, fileName(seq)), os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	w.f, w.size = f, 0
	if st, err := f.Stat(); err == nil && st.Size() > 0 {
		// The file exists already: its first record never got whole to the disk.
		n, err := f.Write([]byte("\n"))
		if err != nil {
			return err
		}
		w.size = st.Size() + int64(n)
	}
	return w.prune()
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

func (w *writer) close() {
	if w.f != nil {
		w.f.Close() // every line was written without a buffer
		w.f = nil
	}
}

// Read returns the records in one journal file's text, skipping lines that are
// no records: the last one after a crash is usually cut.
func Read(r io.Reader) ([]Record, error) {
	var out []Record
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		text, err := readLine(br)
		if rec, ok := parse(text); ok {
			out = append(out, rec)
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
}

// readLine reads up to the next newline; a line longer than maxLine is returned
// empty.
func readLine(br *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := br.ReadSlice('\n')
		if len(text)+len(part) <= maxLine {
			text = append(text, part...)
		} else {
			text = text[:0:0]
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, err
		}
	}
}

// parse decodes one line; a record without a number is none.
func parse(text []byte) (Record, bool) {
	var r Record
	if len(text) == 0 || json.Unmarshal(text, &r) != nil || r.Seq == 0 {
		return Record{}, false
	}
	return r, true
}

func readFile(path string) ([]Record, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) { // pruned meanwhile
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f)
}

// readNewest returns the newest n records of all files, oldest first.
func readNewest(dir string, n int) ([]Record, error) {
	all, err := files(dir)
	if err != nil {
		return nil, err
	}
	var out []Record
	for _, path := range slices.Backward(all) {
		recs, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		out = append(recs, out...)
		if len(out) >= n {
			return out[len(out)-n:], nil
		}
	}
	return out, nil
}

// readBefore returns the records of the files that precede seq (0: all) and
// match, at most q.Limit: the newest ones, or the first ones.
func readBefore(dir string, seq uint64, q Query, newest bool) ([]Record, error) {
	all, err := files(dir)
	if err != nil {
		return nil, err
	}
	var out []Record
	for _, path := range all {
		recs, err := readFile(path)
		if err != nil {
			return nil, err
		}
		for _, r := range recs {
			if (seq == 0 || r.Seq < seq) && q.matches(r) {
				out = append(out, r)
			}
		}
		if newest && len(out) > q.Limit {
			out = slices.Clone(out[len(out)-q.Limit:])
		}
		if !newest && len(out) >= q.Limit {
			return out[:q.Limit], nil
		}
	}
	return out, nil
}
