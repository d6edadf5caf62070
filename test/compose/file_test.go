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
