package wal

import (
	"fmt"
	"strconv"
	"strings"
)

// Switch is one line of a timeline history: the ancestor Timeline was left at
// Switch, where its child begins.
type Switch struct {
	Timeline Timeline `json:"timeline"`
	LSN      LSN      `json:"lsn"`
	Reason   string   `json:"reason,omitempty"`
}

// History lists the ancestors of one timeline, oldest first, as a .history
// file does. The history of timeline 1 is empty.
type History []Switch

// ParseHistory reads the text of a .history file. Blank lines and comments are
// skipped as PostgreSQL skips them; timelines must grow.
func ParseHistory(text string) (History, error) {
	var h History
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			return nil, fmt.Errorf("timeline history line %d: %q has no switch point", n+1, line)
		}
		tl, err := strconv.ParseUint(fields[0], 10, 32)
		if err != nil || tl == 0 {
			return nil, fmt.Errorf("timeline history line %d: bad timeline %q", n+1, fields[0])
		}
		lsn, err := ParseLSN(fields[1])
		if err != nil {
			return nil, fmt.Errorf("timeline history line %d: %w", n+1, err)
		}
		if len(h) > 0 && Timeline(tl) <= h[len(h)-1].Timeline {
			return nil, fmt.Errorf("timeline history line %d: timeline %d does not follow %d", n+1, tl, h[len(h)-1].Timeline)
		}
		h = append(h, Switch{Timeline: Timeline(tl), LSN: lsn, Reason: strings.Join(fields[2:], " ")})
	}
	return h, nil
}

// SwitchOf returns where the ancestor timeline t was left, and whether t is an
// ancestor at all.
func (h History) SwitchOf(t Timeline) (LSN, bool) {
	for _, s := range h {
		if s.Timeline == t {
			return s.LSN, true
		}
	}
	return 0, false
}

// Place says how a position relates to a line of descent.
type Place int

// The places a position can have relative to a timeline and its history.
const (
	// Unknown: the position or the timeline is not known.
	Unknown Place = iota
	// Same: the position is on the timeline itself.
	Same
	// Ancestor: the position is on an ancestor, at or before the switch point,
	// so a server there can stream on into the timeline.
	Ancestor
	// Diverged: the position lies past the switch point of an ancestor, or on a
	// timeline that is no ancestor. Such a server holds records the timeline
	// never had.
	Diverged
)

// String names the place for logs and tests.
func (p Place) String() string {
	return [...]string{"unknown", "same", "ancestor", "diverged"}[p]
}

// Place relates p to timeline t with history h (the ancestors of t). Equal
// timeline numbers are reported as Same; whether they are the same branch is a
// question of identity that numbers cannot answer, see cluster.TimelineClaim.
func (h History) Place(p Position, t Timeline) Place {
	if !p.Known() || t == 0 {
		return Unknown
	}
	if p.Timeline == t {
		return Same
	}
	if at, ok := h.SwitchOf(p.Timeline); ok && p.LSN <= at {
		return Ancestor
	}
	return Diverged
}
