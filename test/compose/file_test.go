package compose

import (
	"os"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// TestComposeFileIsStrict: the older docker-compose takes the last of two equal
// keys without a word, the newer one refuses the file.
func TestComposeFileIsStrict(t *testing.T) {
	text, err := os.ReadFile("../../deploy/compose/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Image string
			Build any
		}
	}
	if _, err := parser.ParseBytes(text, 0); err != nil {
		t.Fatal(err)
	}
	// To this library a key that overrides a merged one is there twice, too.
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.AllowDuplicateMapKey()); err != nil {
		t.Fatal(err)
	}
	// The newer one builds all at a time, and two builds of one image disturb each
	// other: one service of a profile builds, these only use.
	for _, name := range []string{"pg-slave", "n1", "n2", "n3", "w1", "w2", "t1", "t2", "t3", "witness"} {
		s, ok := file.Services[name]
		if !ok || s.Image == "" || s.Build != nil {
			t.Errorf("service %s: there %v, image %q, build %v", name, ok, s.Image, s.Build)
		}
	}
}
