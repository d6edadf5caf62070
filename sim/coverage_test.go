package sim

import (
	"fmt"
	"strings"
	"testing"
)

// coverageTable is how often each rule fired, and each kind of action was begun and
// interrupted, for docs/simulation.md.
func coverageTable(s Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "In the %d worlds of `TestTenThousandSeeds` (`-update` writes these tables):\n\n| rule | fired |\n|---|---|\n", s.Worlds)
	for i, id := range ruleIDs {
		fmt.Fprintf(&b, "| `%s` | %d |\n", id, s.Total.Rules[i])
	}
	b.WriteString("\n| action | begun | interrupted |\n|---|---|---|\n")
	for _, k := range ActionKinds() {
		fmt.Fprintf(&b, "| `%s` | %d | %d |\n", k, s.Total.Acted.Of(k), s.Total.Interrupted.Of(k))
	}
	return b.String()
}

// writeCoverage renews the tables of an ordinary run that went well.
func writeCoverage(t *testing.T, s Summary) {
	if *update && !t.Failed() && s.Worlds >= 10_000 {
		rewrite(t, "coverage", coverageTable(s))
	}
}
