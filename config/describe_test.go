package config

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A default that is told is the one that holds: writing it changes nothing.
func TestDefaultsHold(t *testing.T) {
	sections := func(path string) string {
		store := "embedded: {}\n"
		if top, _, _ := strings.Cut(path, "."); top == "etcd" || top == "etcd3" || top == "zookeeper" {
			store = top + ": {hosts: 'a:1'}\n"
		}
		return "name: n\nscope: s\nproxy: {}\nbootstrap: {}\n" + store
	}
	known := map[string]bool{}
	for _, k := range Keys() {
		known[k.Path] = true
	}
	for path, value := range literalDefaults() {
		if !known[path] {
			t.Errorf("%s is no key", path)
		}
		base := read(t, sections(path))
		with := merge(base.Raw.root, patchOf(path, value))
		f, _, err := build(with, &report{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if d := cmp.Diff(*base, *f, cmpopts.IgnoreFields(File{}, "Raw"), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: %s is not the default:\n%s", path, value, d)
		}
	}
	for path, value := range dynamicDefaults() {
		d, _, err := ParseDynamic(patchOf(path, value).json())
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if diff := cmp.Diff(DefaultDynamic().Settings, d.Settings); diff != "" {
			t.Errorf("%s: %s is not the default:\n%s", path, value, diff)
		}
	}
	for path := range derivedDefaults() {
		if !known[path] {
			t.Errorf("%s is no key", path)
		}
	}
}

func patchOf(path, value string) *node {
	n := newMapping()
	n.setPath(path, newText(value, ""))
	return n
}

// docs/configuration.md has every key; run with -update after a change.
func TestDocumentedKeys(t *testing.T) {
	const path = "../docs/configuration.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	rest := string(text)
	for name, keys := range [][]Key{Keys(), DynamicKeys()} {
		marker := fmt.Sprintf("<!-- keys %d -->\n", name+1)
		before, after, ok := strings.Cut(rest, marker)
		_, after, ok2 := strings.Cut(after, "<!-- end -->\n")
		if !ok || !ok2 {
			t.Fatalf("%s has no place %q", path, marker)
		}
		b.WriteString(before + marker + keyTable(keys) + "<!-- end -->\n")
		rest = after
	}
	golden(t, path, b.String()+rest)
}

// keyTable writes a table of Markdown.
func keyTable(keys []Key) string {
	var b strings.Builder
	b.WriteString("| key | type | default | range | takes effect at | state |\n|---|---|---|---|---|---|\n")
	for _, k := range keys {
		def := k.Default
		if def != "" {
			def = "`" + def + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", k.Path, k.Type, def, k.Range, k.Effect, k.State)
	}
	return b.String()
}

func TestExplain(t *testing.T) {
	f := read(t, `name: n1
scope: s
embedded: {}
restapi: {authentication: {username: u, password: geheim}}
postgresql:
  data_dir: /d
  listen: 10.0.0.1:6000
  use_pg_rewind: true
  parameters: {work_mem: 8MB, max_connections: 7}
  parameters_primary: {work_mem: 16MB}
`)
	d, _, err := ParseDynamic(`{"ttl": 40, "postgresql": {"use_pg_rewind": false, "data_dir": "/no", "parameters": {"max_connections": 200, "work_mem": "1MB", "Jit": "off"}}}`)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	last := ""
	for _, s := range Explain(f, d, true, "primary") {
		if s.Path <= last {
			t.Errorf("%s after %s", s.Path, last)
		}
		last = s.Path
		at := s.Origin
		if i := strings.Index(at, "member.yml:"); i >= 0 {
			at = at[i:]
		}
		got[s.Path] = s.Value + " < " + at
		if strings.Contains(s.Value, "geheim") {
			t.Error("a secret shows")
		}
	}
	for path, want := range map[string]string{
		"ttl": "40 < dynamic", "loop_wait": "10s < default", "name": "n1 < member.yml:1:7",
		"restapi.authentication.password":       "*** < member.yml:4:51",
		"ctl.authentication.password":           "*** < default",
		"postgresql.use_pg_rewind":              "true < member.yml:8:18",
		"postgresql.data_dir":                   "/d < member.yml:6:13",
		"postgresql.parameters.work_mem":        "16MB < member.yml:10:34",
		"postgresql.parameters.max_connections": "200 < dynamic",
		"postgresql.parameters.jit":             "off < dynamic",
		"postgresql.parameters.port":            "6000 < member.yml:7:11",
		"postgresql.parameters.max_wal_senders": "10 < default",
		"postgresql.connect_address":            "10.0.0.1:6000 < default",
		"matriarch.state_dir":                   "/d.matriarch < default",
	} {
		if got[path] != want {
			t.Errorf("%s = %q, want %q", path, got[path], want)
		}
	}
	if _, there := got["etcd3.protocol"]; there {
		t.Error("a store that is not used is explained")
	}
	for _, s := range Explain(f, DefaultDynamic(), false, "replica") {
		if s.Path == "ttl" || s.Path == "postgresql.parameters.jit" || s.Path == "postgresql.parameters.max_connections" {
			t.Errorf("%s is told although nobody told it", s.Path)
		}
	}
}
