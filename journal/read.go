package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"
)

// stepsBack is by how much the wall clock may have been set back within a journal
// without records being overlooked that a question by time means: so much earlier
// than that time the reading of files begins.
const stepsBack = time.Hour

// Read returns the records in one journal file's text, skipping lines that are
// no records: the last one after a crash is usually cut.
func Read(r io.Reader) ([]Record, error) {
	var out []Record
	err := scan(r, 0, func(rec Record) bool {
		out = append(out, rec)
		return true
	})
	return out, err
}

// scan passes the records with a number greater than after to visit, until that
// returns false.
func scan(r io.Reader, after uint64, visit func(Record) bool) error {
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		text, err := readLine(br)
		// Most lines of a long file are not meant; their number stands in front.
		if n, ok := number(text); !ok || n > after {
			if rec, ok := parse(text); ok && rec.Seq > after && !visit(rec) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
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

// number reads a record's number without decoding the rest.
func number(text []byte) (uint64, bool) {
	rest, ok := bytes.CutPrefix(text, []byte(`{"seq":`))
	if !ok {
		return 0, false
	}
	digits, _, ok := bytes.Cut(rest, []byte(","))
	n, err := strconv.ParseUint(string(digits), 10, 64)
	return n, ok && err == nil
}

// parse decodes one line; a record without a number is none.
func parse(text []byte) (Record, bool) {
	var r Record
	if len(text) == 0 || json.Unmarshal(text, &r) != nil || r.Seq == 0 {
		return Record{}, false
	}
	return r, true
}

// scanFile is scan for a file; one that was pruned meanwhile has no records.
func scanFile(path string, after uint64, visit func(Record) bool) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return scan(f, after, visit)
}

// readNewest returns the newest n records of all files with a number below seq
// (0: any), oldest first.
func readNewest(dir string, n int, seq uint64) ([]Record, error) {
	all, err := files(dir)
	if err != nil {
		return nil, err
	}
	var out []Record
	for _, path := range slices.Backward(all) {
		var recs []Record
		err := scanFile(path, 0, func(r Record) bool {
			if seq == 0 || r.Seq < seq {
				recs = append(recs, r)
			}
			return true
		})
		if err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		out = append(recs, out...)
		if len(out) >= n {
			return slices.Clone(out[len(out)-n:]), nil
		}
	}
	return out, nil
}

// readFirst returns the first records of the files that match, at most q.Limit,
// with numbers below seq (0: any).
func readFirst(dir string, seq uint64, q Query) ([]Record, error) {
	all, err := files(dir)
	if err != nil {
		return nil, err
	}
	var out []Record
	for _, path := range all[skippable(all, q):] {
		err := scanFile(path, q.After, func(r Record) bool {
			if seq != 0 && r.Seq >= seq {
				return false
			}
			if q.matches(r) {
				out = append(out, r)
			}
			return len(out) < q.Limit
		})
		if err != nil {
			return nil, err
		}
		if len(out) >= q.Limit {
			break
		}
	}
	return out, nil
}

// skippable counts the files, from the oldest on, that hold nothing a question
// means: all that is in them lies before the beginning of the next one.
func skippable(all []string, q Query) int {
	n := 0
	for i := 1; i < len(all); i++ {
		var first Record
		// An error leaves the record empty, and the file is read.
		_ = scanFile(all[i], 0, func(r Record) bool { first = r; return false })
		byNumber := q.After > 0 && first.Seq != 0 && first.Seq <= q.After+1
		byTime := !q.Since.IsZero() && first.Seq != 0 && first.Time.Before(q.Since.Add(-stepsBack))
		if byNumber || byTime {
			n = i
		}
	}
	return n
}
