package ha_test

import (
	"flag"
	"os"
	"testing"

	"github.com/matriarch-ha/matriarch/ha"
)

var update = flag.Bool("update", false, "write docs/rules.md anew")

const rulesPage = "../docs/rules.md"

// TestRulesPage keeps the page for people equal to the rules that run.
func TestRulesPage(t *testing.T) {
	want := "# The rules\n\n" +
		"Each turn, a member looks at its server, its lease, the store and its peers, and goes through this table from the top: " +
		"the first rule that applies decides, so the order says what matters more. " +
		"Journal, log and metrics name the rule that fired. " +
		"This page is generated from the rules themselves (`go test ./ha -run TestRulesPage -update`).\n\n" +
		"| # | rule | when, and what follows |\n|---|---|---|\n" + ha.Table()
	if *update {
		if err := os.MkdirAll("../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(rulesPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(rulesPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the rules say; run the test with -update", rulesPage)
	}
}
