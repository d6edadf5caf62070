// Package layers holds the test that keeps the architecture: imports among our
// packages go down the list below, never up.
package layers

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/matriarch-ha/matriarch/"

// order lists the packages from the top down. A package may import only what
// stands below its own line; a prefix covers its sub-packages, which may import
// each other freely unless they have a line of their own.
var order = []string{
	"cmd/matriarch",
	"app",
	"up",
	"cli",
	"drill",
	"explain",
	"client",
	"api",
	"proxy",
	"agent",
	"lease",
	"guard",
	"watchdog",
	"sim",
	"journal",
	"logging",
	"postgres",
	"dcs/open",
	"dcs/dcstest",
	"dcs/etcdembed",
	"dcs/etcd",
	"dcs/zookeeper",
	"dcs/memory",
	"dcs/layout",
	"dcs",
	"config",
	// Pure from here down.
	"route",
	"ha",
	"ha/election",
	"ha/syncrep",
	"ha/fence",
	"cluster",
	"wal",
	"boot",
}

// forbidden are edges that point down and are wrong all the same.
var forbidden = []struct{ from, to, why string }{
	{"proxy", "dcs", "the entrypoint is given views; it must work when no store answers"},
	{"agent", "config", "the agent is given what it needs; files are the composition root's business"},
	{"guard", "dcs", "the guard must depend on nothing but the clock and its deadline"},
	{"guard", "postgres", "the guard must not need a server that answers"},
	{"ha", "route", "routing is the entrypoint's policy, not the cluster's"},
	{"postgres", "dcs", "the local server knows of no store"},
	{"lease", "postgres", "the lease is kept apart from the server it allows to write"},
}

// pure packages do no I/O, read no clock, and start no goroutine: these imports
// would let them.
var impure = []string{"os", "net", "net/http", "io/ioutil", "log", "log/slog", "sync", "os/exec", "context", "math/rand", "math/rand/v2", "syscall"}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImportsGoDown(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		at := rank(from)
		if at < 0 {
			if !strings.HasPrefix(from, "internal/") && !strings.HasPrefix(from, "test/") && !strings.HasPrefix(from, "docs") {
				t.Errorf("package %s has no line in the list of layers", from)
			}
			continue
		}
		seen[order[at]] = true
		for _, imp := range p.Imports {
			checkImport(t, from, at, imp)
		}
	}
	for _, name := range order {
		if !seen[name] {
			t.Errorf("the list of layers names %s, which does not exist", name)
		}
	}
}

func checkImport(t *testing.T, from string, at int, imp string) {
	t.Helper()
	if at >= rank("route") && slices.Contains(impure, imp) {
		t.Errorf("%s must be pure and imports %s", from, imp)
	}
	to, ours := strings.CutPrefix(imp, module)
	if !ours || strings.HasPrefix(to, "internal/") {
		return
	}
	below := rank(to)
	if below < at || below < 0 {
		t.Errorf("%s imports %s, which is above it", from, to)
	}
	for _, f := range forbidden {
		if under(from, f.from) && under(to, f.to) {
			t.Errorf("%s imports %s: %s", from, to, f.why)
		}
	}
}

// rank is the line of the longest prefix that covers the package, -1 for none.
func rank(name string) int {
	best, at := -1, -1
	for i, prefix := range order {
		if under(name, prefix) && len(prefix) > best {
			best, at = len(prefix), i
		}
	}
	return at
}

func under(name, prefix string) bool { return name == prefix || strings.HasPrefix(name, prefix+"/") }

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}
