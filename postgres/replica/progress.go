package replica

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

// Progress is one line of pg_basebackup --progress or pg_rewind --progress.
type Progress struct {
	DoneKB, TotalKB int64
	Tablespaces     int // of the source, the default one too; 0: not told
}

// String prints the progress for people.
func (p Progress) String() string {
	if p.TotalKB == 0 {
		return fmt.Sprintf("%d MB copied", p.DoneKB/1024)
	}
	return fmt.Sprintf("%d of %d MB copied (%d%%)", p.DoneKB/1024, p.TotalKB/1024, min(100, p.DoneKB*100/p.TotalKB))
}

var progressLine = regexp.MustCompile(`^\s*(\d{1,15})/(\d{1,15}) kB \(\d+%\)(?:, \d+/(\d{1,9}) tablespace)?`)

// ParseProgress reads one line; ok is false for any other line.
func ParseProgress(line string) (Progress, bool) {
	m := progressLine.FindStringSubmatch(line)
	if m == nil {
		return Progress{}, false
	}
	done, _ := strconv.ParseInt(m[1], 10, 64)
	total, _ := strconv.ParseInt(m[2], 10, 64)
	spaces, _ := strconv.Atoi(m[3]) // "" is 0
	return Progress{DoneKB: done, TotalKB: total, Tablespaces: spaces}, true
}

// ScanLines splits at line feeds and carriage returns alike: progress lines
// overwrite each other on a terminal.
func ScanLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexAny(data, "\r\n"); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// Follow reads a program's output line by line: progress goes to progress, the
// last other lines are returned as text, for an error message.
func Follow(r io.Reader, progress func(Progress)) string {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), 1<<20)
	sc.Split(ScanLines)
	var kept []string
	for sc.Scan() {
		line := sc.Text()
		if p, ok := ParseProgress(line); ok {
			progress(p)
		} else if line != "" {
			kept = append(kept, line)
			kept = kept[max(0, len(kept)-20):]
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line that is too long must not block the program
	var b bytes.Buffer
	for _, l := range kept {
		b.WriteString(l + "\n")
	}
	return b.String()
}
