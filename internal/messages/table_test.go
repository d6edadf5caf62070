package messages

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/errors.md anew")

const page = "../../docs/errors.md"

const intro = `# What is told when something is wrong

One message for each trouble, with the place, the cause and what to do. Words in
<angle brackets> differ from case to case. The agent logs a trouble that lasts
once, again when its cause changes, and every ten minutes; the journal has every
attempt. What PostgreSQL's own programs say is passed on in their words, without
time and process, and with what to do about it.

This page is written from the table that the tests compare with what was really
said (` + "`internal/messages`" + `). The last column names the test that makes it happen.
`

// render writes the page.
func render() string {
	var b strings.Builder
	b.WriteString(intro)
	section := ""
	for _, r := range Table {
		if r.Section != section {
			section = r.Section
			b.WriteString("\n## " + section + "\n\n| situation | message | what to do | test |\n|---|---|---|---|\n")
		}
		b.WriteString("| " + r.Situation + " | `" + strings.ReplaceAll(r.Message, "|", `\|`) + "` | " + r.Do + " | " + r.Test + " |\n")
	}
	return b.String()
}

func TestThePageIsTheTable(t *testing.T) {
	if *update {
		if err := os.WriteFile(page, []byte(render()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != render() {
		t.Error("docs/errors.md is not what the table says: go test ./internal/messages -update")
	}
}

// Every row is compared with what was said by the test that it names.
func TestEveryRowIsTested(t *testing.T) {
	tests, seen := sources(t), map[string]bool{}
	for _, r := range Table {
		if seen[r.ID] {
			t.Errorf("two rows %s", r.ID)
		}
		seen[r.ID] = true
		pkg, name, _ := strings.Cut(r.Test, ".")
		found := false
		for path, text := range tests {
			found = found || filepath.Base(filepath.Dir(path)) == pkg &&
				strings.Contains(text, "func "+name+"(") && strings.Contains(text, `"`+r.ID+`"`)
		}
		if !found {
			t.Errorf("%s: %s does not check it", r.ID, r.Test)
		}
		if r.Situation == "" || r.Do == "" {
			t.Errorf("%s: it does not say when, or what to do", r.ID)
		}
	}
	if len(Table) < 40 {
		t.Errorf("%d rows", len(Table))
	}
}

// sources reads the tests of the project that use the table.
func sources(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), "internal/messages") {
			out[path] = string(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPatterns(t *testing.T) {
	r := Row{Message: `open <file>: no (such) thing`}
	p := r.pattern()
	if !p.MatchString("Error: open /a b: no (such) thing!") || p.MatchString("open: no (such) thing") || p.MatchString("open x: no such thing") {
		t.Error(p)
	}
}
