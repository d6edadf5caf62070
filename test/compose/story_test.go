package compose

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/matriarch-ha/matriarch/test/e2e/lab"
)

// told is what the lab's tests read of `matriarch explain --format json`.
type told struct {
	Cause  string `json:"cause"`
	Change struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"change"`
}

// explain asks a node for the story of the last change of primary and holds it to
// what was done: who lost the role, who got it, and how. The page is drawn too;
// MATRIARCH_STORIES names a directory for what was told.
func (p *project) explain(on, from, to, cause, name string) {
	p.t.Helper()
	members := map[string]string{"pg-master": "postgresql0", "pg-slave": "postgresql1"}
	var s told
	lab.Until(p.t, time.Minute, "the story of the change from "+from+" to "+to, func() string {
		out, err := p.inside(on, "matriarch", "explain", "--format", "json")
		if err != nil {
			return out
		}
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			return err.Error() + ": " + out
		}
		if s.Change.From != members[from] || s.Change.To != members[to] || s.Cause != cause {
			return "from " + s.Change.From + " to " + s.Change.To + ", cause " + s.Cause + "; want " + members[from] + ", " + members[to] + ", " + cause
		}
		return ""
	})
	text := p.mustInside(on, "matriarch", "explain")
	page := p.mustInside(on, "matriarch", "explain", "--format", "html")
	if !strings.Contains(page, "<svg") {
		p.t.Errorf("the page of the story has no drawing")
	}
	if dir := os.Getenv("MATRIARCH_STORIES"); dir != "" {
		for file, what := range map[string]string{name + ".txt": text, name + ".html": page} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(what), 0o644); err != nil {
				p.t.Error(err)
			}
		}
	}
	head, _, _ := strings.Cut(text, "\n\nHow ")
	p.see("explain says:\n%s", head)
}
