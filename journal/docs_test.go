package journal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestTheTableOfEventsIsTrue: docs/journal.md lists the events that are declared,
// and no other, with fields that an event has.
func TestTheTableOfEventsIsTrue(t *testing.T) {
	src, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	ast.Inspect(src, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			for _, v := range spec.Values {
				name, err := strconv.Unquote(v.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				declared = append(declared, name)
			}
		}
		return true
	})
	doc, err := os.ReadFile("../docs/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]bool{}
	for f := range reflect.TypeFor[Event]().Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields[key] = true
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| [a-z]+ \\|[^|]*\\|([^|]*)\\|$").FindAllStringSubmatch(string(doc), -1) {
		documented = append(documented, row[1])
		for _, f := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[2], -1) {
			if !fields[f[1]] {
				t.Errorf("%s: an event has no field %s", row[1], f[1])
			}
		}
	}
	slices.Sort(declared)
	slices.Sort(documented)
	if !slices.Equal(declared, documented) {
		t.Errorf("declared   %v\ndocumented %v", declared, documented)
	}
}
