package ha

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWithRuleMoved: the rule stands where it was moved to, and the table that
// everybody uses is as before.
func TestWithRuleMoved(t *testing.T) {
	before := Table()
	o := Observation{Stopping: true}
	if d := Decide(o, Memory{}); d.Rule != ReleaseOnStop {
		t.Fatalf("an agent that stops decides by %s", d.Rule)
	}
	if d := WithRuleMoved(StoreUnknown, ReleaseOnStop)(o, Memory{}); d.Rule != StoreUnknown {
		t.Errorf("moved up, store-unknown does not answer but %s", d.Rule)
	}
	if d := WithRuleMoved(ReleaseOnStop, StoreUnknown)(o, Memory{}); d.Rule != StoreUnknown {
		t.Errorf("moved down, release-on-stop lets %s answer", d.Rule)
	}
	if Table() != before {
		t.Error("the table was changed")
	}
}

// TestOnlyTheSimulatorMovesRules: what runs a cluster has one table.
func TestOnlyTheSimulatorMovesRules(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		dir := filepath.Base(filepath.Dir(path))
		text, err := os.ReadFile(path)
		if dir != "sim" && filepath.Base(path) != "moved.go" && filepath.Base(path) != "moved_test.go" && strings.Contains(string(text), "WithRuleMoved") {
			t.Errorf("%s calls WithRuleMoved", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
