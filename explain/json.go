package explain

import (
	"encoding/json"
	"io"
	"time"
)

// JSON writes the story for programs.
func (s Story) JSON(w io.Writer) error { return writeJSON(w, s) }

// JSON writes the answer for programs.
func (a Answer) JSON(w io.Writer) error { return writeJSON(w, a) }

// noChange is the form of NoChange for programs.
type noChange struct {
	Format   string       `json:"format"`
	Told     bool         `json:"told"`
	Why      string       `json:"why"`
	Others   []Change     `json:"others,omitempty"`
	Restarts []Restart    `json:"restarts,omitempty"`
	Sources  []SourceNote `json:"sources"`
}

// JSON writes for programs that there is no such change.
func (n *NoChange) JSON(w io.Writer) error {
	return writeJSON(w, noChange{Format: StoryFormat, Why: n.Why, Others: n.Others, Restarts: n.Restarts, Sources: n.Sources})
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// HTMLOptions say how a story is written as a page.
type HTMLOptions struct {
	Zone    *time.Location // of the times; nil: UTC
	Version string         // of the program
}
