package config

import (
	"strconv"
	"strings"
)

// Tree is a configuration as it was written, after merging.
type Tree struct{ root *node }

// Leaf is one setting of a Tree.
type Leaf struct {
	Path   string // dotted
	Value  string // compact JSON; "***" for secrets
	Origin string // "file:line:col" or "env NAME"
}

// Leaves lists the settings in their order, with secrets hidden.
func (t Tree) Leaves() []Leaf {
	var out []Leaf
	if t.root == nil {
		return nil
	}
	t.root.walk("", func(path string, n *node) {
		l := Leaf{Path: path, Value: hide(path, n).json(), Origin: n.origin}
		if secretPath(path) {
			l.Value = masked
		}
		out = append(out, l)
	})
	return out
}

// JSON returns the tree as compact JSON. With reveal it contains the secrets.
func (t Tree) JSON(reveal bool) string {
	if t.root == nil {
		return "{}"
	}
	n := t.root
	if !reveal {
		n = hide("", n)
	}
	return n.json()
}

// String is JSON with the secrets hidden.
func (t Tree) String() string { return t.JSON(false) }

// GoString keeps the %#v verb from printing the tree's inside.
func (t Tree) GoString() string { return t.JSON(false) }

// MarshalJSON hides the secrets.
func (t Tree) MarshalJSON() ([]byte, error) { return []byte(t.JSON(false)), nil }

// hide replaces what must not be shown.
func hide(path string, n *node) *node {
	switch {
	case n.kind == mapping:
		out := newMapping()
		for _, k := range n.keys {
			out.set(k, hide(join(path, k), n.fields[k]))
		}
		return out
	case secretPath(path):
		return newText(masked, n.origin)
	case n.kind == text && veiled(n.scalar) != n.scalar:
		return newText(veiled(n.scalar), n.origin)
	case n.kind == list:
		out := &node{kind: list}
		for _, item := range n.items {
			out.items = append(out.items, hide(path, item))
		}
		return out
	}
	return n
}

// Origin says where the setting at a dotted path came from: "file:line:col",
// "env NAME", or "default" when nothing was written. A part of a written list
// or mapping has the origin of the nearest written thing around it.
func (f *File) Origin(path string) string {
	return origin(f.Raw.root, path)
}

func origin(n *node, path string) string {
	if n = n.locate(path); n == nil || n.origin == "" {
		return "default"
	}
	return n.origin
}

// YAML returns the tree as block YAML. With reveal it contains the secrets.
func (t Tree) YAML(reveal bool) string {
	if t.root == nil {
		return ""
	}
	n := t.root
	if !reveal {
		n = hide("", n)
	}
	var b strings.Builder
	writeYAML(&b, n, 0)
	return b.String()
}

// writeYAML writes mappings and lists as blocks; texts are quoted unless they
// are plain words.
func writeYAML(b *strings.Builder, n *node, indent int) {
	pad := strings.Repeat("  ", indent)
	if n.kind == mapping {
		for _, k := range n.keys {
			b.WriteString(pad + yamlWord(k) + ":")
			yamlChild(b, n.fields[k], indent+1)
		}
		return
	}
	for _, item := range n.items {
		b.WriteString(pad + "-")
		yamlChild(b, item, indent+1)
	}
}

func yamlChild(b *strings.Builder, n *node, indent int) {
	if (n.kind == mapping && len(n.keys) > 0) || (n.kind == list && len(n.items) > 0) {
		b.WriteByte('\n')
		writeYAML(b, n, indent)
		return
	}
	b.WriteByte(' ')
	if n.kind == text {
		b.WriteString(yamlWord(n.scalar))
	} else {
		b.WriteString(n.json())
	}
	b.WriteByte('\n')
}

// yamlWord leaves a text bare only when no reader can take it for anything else.
func yamlWord(s string) string {
	bare := s != "" && (s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z' || s[0] == '/')
	for i := 0; bare && i < len(s); i++ {
		c := s[i]
		bare = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-./", c) >= 0
	}
	if _, word := yaml11(s); word || strings.EqualFold(s, "null") || strings.EqualFold(s, "y") || strings.EqualFold(s, "n") {
		bare = false
	}
	if bare {
		return s
	}
	return strconv.Quote(s)
}
