package compose

import (
	"os"
	"testing"

	"github.com/goccy/go-yaml"
)

// The old docker-compose takes the last of two equal keys; docker compose (v2)
// refuses the whole file. Only the old one may be at hand where tests run.
func TestNoKeyTwice(t *testing.T) {
	text, err := os.ReadFile("../../deploy/compose/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Error(err)
	}
}
