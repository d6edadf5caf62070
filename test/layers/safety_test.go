package layers

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSafetyPage: every test and file that docs/safety.md names is there, so that
// the page cannot go on promising what nobody proves any more.
func TestSafetyPage(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "safety.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := testsOf(t, root)
	mutants, err := os.ReadFile(filepath.Join(root, "sim", "mutant.go"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for i, line := range strings.Split(string(page), "\n") {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
			switch word := m[1]; {
			case strings.HasPrefix(word, "Test"):
				named++
				if !tests[word] {
					t.Errorf("docs/safety.md:%d: there is no test %s", i+1, word)
				}
			case regexp.MustCompile(`^[a-z]+(/[\w.]+)+\.(go|txt)$`).MatchString(word):
				named++
				if _, err := os.Stat(filepath.Join(root, word)); err != nil {
					t.Errorf("docs/safety.md:%d: %v", i+1, err)
				}
			}
		}
		_, names, _ := strings.Cut(line, "mutant")
		cell, _, _ := strings.Cut(names, "|")
		for _, m := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(cell, -1) {
			if !strings.Contains(string(mutants), `"`+m[1]+`"`) {
				t.Errorf("docs/safety.md:%d: there is no mutant %s", i+1, m[1])
			}
		}
	}
	if named < 50 {
		t.Errorf("only %d tests and files were recognised", named)
	}
	for letter, last := range map[string]int{"L": 7, "G": 8, "V": 6, "D": 6, "I": 3} {
		for n := 1; n <= last; n++ {
			if rule := fmt.Sprintf("| %s%d: ", letter, n); strings.Count(string(page), rule) != 1 {
				t.Errorf("docs/safety.md has not one line that begins %q", rule)
			}
		}
	}
}

// testsOf lists the test functions of the tree.
func testsOf(t *testing.T, root string) map[string]bool {
	out := map[string]bool{}
	test := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range test.FindAllStringSubmatch(string(text), -1) {
			out[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
