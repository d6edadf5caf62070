package compose

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"
)

// docker-compose 1.29 takes the last of two equal keys without a word; the Compose
// of today refuses the whole file.
func TestComposeFileHasNoKeyTwice(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "compose", "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := noKeyTwice(text); err != nil {
		t.Error(err)
	}
	again := bytes.Replace(text, []byte("    hostname: pg-master\n"), []byte("    hostname: pg-master\n    hostname: pg-master\n"), 1)
	if noKeyTwice(again) == nil {
		t.Error("a key that is there twice was not found")
	}
}

func noKeyTwice(text []byte) error {
	var file map[string]any
	return yaml.Unmarshal(text, &file)
}

// The Compose of today builds all at a time, and two builds of one image disturb
// each other: one service of a profile builds, these only use.
func TestOneServiceBuildsAnImage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "compose", "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Image string
			Build any
		}
	}
	// To this library a key that overrides a merged one is there twice, too.
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.AllowDuplicateMapKey()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pg-slave", "n1", "n2", "n3", "w1", "w2", "t1", "t2", "t3", "witness", "drill"} {
		s, ok := file.Services[name]
		if !ok || s.Image == "" || s.Build != nil {
			t.Errorf("service %s: there %v, image %q, build %v", name, ok, s.Image, s.Build)
		}
	}
}
