package walfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/wal"
)

// Placeholder is the text of a history file that only occupies its number, so
// that PostgreSQL takes the next one. A history without ancestors is valid and
// is never followed, as it descends from nobody.
const Placeholder = "# This number is claimed elsewhere; the file keeps this server from taking it.\n"

// ReadHistory reads the history of a timeline from a pg_wal directory. Timeline
// 1 has none and needs no file. placeholder reports a file that only occupies
// its number.
func ReadHistory(dir string, tl wal.Timeline) (h wal.History, placeholder bool, err error) {
	if tl == 1 {
		return nil, false, nil
	}
	text, err := os.ReadFile(filepath.Join(dir, tl.FileName()))
	if err != nil {
		return nil, false, err
	}
	h, err = wal.ParseHistory(string(text))
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", filepath.Join(dir, tl.FileName()), err)
	}
	return h, len(h) == 0, nil
}

// Timelines lists the numbers of the history files in a pg_wal directory,
// ascending, placeholders included.
func Timelines(dir string) ([]wal.Timeline, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []wal.Timeline
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".history")
		n, err := strconv.ParseUint(name, 16, 32)
		if ok && err == nil && len(name) == 8 && n > 1 {
			out = append(out, wal.Timeline(n))
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out, nil
}

// Segment is a segment file's place.
type Segment struct {
	Name     string
	Timeline wal.Timeline
	Start    wal.LSN
}

// Segments lists the complete segment files of a pg_wal directory by name.
func Segments(dir string, segSize int64) ([]Segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []Segment
	for _, e := range entries {
		if s, ok := ParseSegment(e.Name(), segSize); ok {
			out = append(out, s)
		}
	}
	return out, nil
}

// ParseSegment reads a segment's file name; ok is false for any other file.
func ParseSegment(name string, segSize int64) (Segment, bool) {
	if len(name) != 24 || segSize <= 0 {
		return Segment{}, false
	}
	var n [3]uint64
	for i := range n {
		v, err := strconv.ParseUint(name[i*8:i*8+8], 16, 32)
		if err != nil {
			return Segment{}, false
		}
		n[i] = v
	}
	return Segment{Name: name, Timeline: wal.Timeline(n[0]), Start: wal.LSN(n[1]<<32 + n[2]*uint64(segSize))}, n[0] > 0
}
