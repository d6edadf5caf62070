package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matriarch-ha/matriarch/internal/messages"
)

// TestMessages: a file with a mistake is refused, or warned of, with the place,
// the cause and the remedy.
func TestMessages(t *testing.T) {
	const good = "scope: s\nname: n\nembedded: {}\npostgresql: {data_dir: /d}\n"
	for _, k := range []struct{ id, text string }{
		{"yaml-syntax", "scope: s\nname: [n\npostgresql: {}\n"},
		{"yaml-no-mapping", "- scope\n- name\n"},
		{"unknown-key", good + "logs: {level: info}\n"},
		{"wrong-value", good + "bootstrap: {dcs: {ttl: soon}}\n"},
		{"out-of-range", good + "proxy: {hold_limit: -1}\n"},
		{"tls-to-servers", good + "proxy: {tls: {mode: end, certfile: /c, server: require}}\n"},
		{"two-stores", good + "zookeeper: {hosts: ['z:2181']}\n"},
		{"no-store", "scope: s\nname: n\npostgresql: {data_dir: /d}\n"},
		{"missing-key", "scope: s\nembedded: {}\npostgresql: {data_dir: /d}\n"},
		{"strict-mode", good + "bootstrap: {dcs: {synchronous_mode_strict: true}}\n"},
		{"quorum-mode", good + "bootstrap: {dcs: {synchronous_mode: quorum}}\n"},
		{"standby-cluster", good + "bootstrap: {dcs: {standby_cluster: {host: 10.0.0.1}}}\n"},
		{"listen-port", "scope: s\nname: n\nembedded: {}\npostgresql: {data_dir: /d, listen: '127.0.0.1:postgres'}\n"},
	} {
		path := filepath.Join(t.TempDir(), "n.yml")
		if err := os.WriteFile(path, []byte(k.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, warnings, err := Load(path, nil)
		if err == nil {
			err = f.Check(ForAgent)
		}
		var said []string
		for _, w := range warnings {
			said = append(said, w.String())
		}
		if err != nil {
			said = append(said, err.Error())
		}
		messages.Check(t, k.id, strings.Join(said, "\n"))
	}

	_, _, err := Load("/nonexistent/n.yml", nil)
	messages.Check(t, "no-file", err.Error())
	_, _, err = ParseDynamic(`{"ttl": "abc"}`)
	messages.Check(t, "dynamic-value", err.Error())
}
