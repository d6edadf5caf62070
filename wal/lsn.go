package wal

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a byte position in the write-ahead log. Zero means "none" or
// "unknown": PostgreSQL never writes a record at 0/0.
type LSN uint64

// String prints the LSN the way PostgreSQL does, for example 0/5000148.
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint64(l)>>32, uint32(l))
}

// ParseLSN reads PostgreSQL's text form, two hexadecimal halves of at most 32
// bits each with a slash between them.
func ParseLSN(s string) (LSN, error) {
	hi, lo, ok := strings.Cut(s, "/")
	if !ok {
		return 0, fmt.Errorf("LSN %q: want two hexadecimal numbers separated by a slash, such as 0/5000148", s)
	}
	h, err := strconv.ParseUint(hi, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("LSN %q: bad first half: %w", s, err)
	}
	l, err := strconv.ParseUint(lo, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("LSN %q: bad second half: %w", s, err)
	}
	return LSN(h<<32 | l), nil
}

// Sub returns how many bytes l is ahead of o, and zero when it is not ahead.
func (l LSN) Sub(o LSN) uint64 {
	if l <= o {
		return 0
	}
	return uint64(l - o)
}

// Timeline numbers a branch of the log. Zero means unknown; the first timeline
// of a cluster is 1.
type Timeline uint32

// FileName returns the name of the timeline's history file, such as
// 00000002.history.
func (t Timeline) FileName() string { return fmt.Sprintf("%08X.history", uint32(t)) }

// Position is a place in the log of one timeline: the end of what a server
// has. The zero Position means unknown.
type Position struct {
	Timeline Timeline `json:"timeline"`
	LSN      LSN      `json:"lsn"`
}

// Known reports whether both parts of the position are known.
func (p Position) Known() bool { return p.Timeline != 0 && p.LSN != 0 }

// String prints the position as LSN@timeline.
func (p Position) String() string { return fmt.Sprintf("%s@%d", p.LSN, p.Timeline) }
