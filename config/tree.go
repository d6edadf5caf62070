package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kind is what a node of a tree is.
type kind int

const (
	null kind = iota
	boolean
	integer
	real
	text
	list
	mapping
)

// node is one value of a configuration, from YAML, JSON or the environment.
// Mappings keep their order, so that a document comes out as it went in. Nodes
// are not changed once they are part of a result; patching copies.
type node struct {
	kind   kind
	scalar string // booleans "true"/"false"; numbers in decimal; texts
	// written is what stands in the file where that is another text than scalar:
	// a password 0123 is not the number 83, and a name off is not false.
	written string
	items   []*node
	keys    []string // of a mapping, in order
	fields  map[string]*node
	origin  string // "file:line:col", "env NAME", ""
}

func newMapping() *node { return &node{kind: mapping, fields: map[string]*node{}} }

func newText(s, origin string) *node { return &node{kind: text, scalar: s, origin: origin} }

// get returns the node at a dotted path below n, or nil.
func (n *node) get(path string) *node {
	for path != "" && n != nil {
		var key string
		key, path, _ = strings.Cut(path, ".")
		n = n.fields[key]
	}
	return n
}

// locate is get for paths that people give: a key may contain dots itself, as
// names of PostgreSQL parameters do.
func (n *node) locate(path string) *node {
	if n == nil || path == "" {
		return n
	}
	if v, ok := n.fields[path]; ok {
		return v
	}
	key, rest, more := strings.Cut(path, ".")
	if !more {
		return nil
	}
	return n.fields[key].locate(rest)
}

// set puts a field, at the end if it is new.
func (n *node) set(key string, v *node) {
	if _, ok := n.fields[key]; !ok {
		n.keys = append(n.keys, key)
	}
	n.fields[key] = v
}

func (n *node) remove(key string) {
	if _, ok := n.fields[key]; ok {
		delete(n.fields, key)
		n.keys = slices.DeleteFunc(n.keys, func(k string) bool { return k == key })
	}
}

// setPath puts a value at a dotted path, making the mappings on the way.
func (n *node) setPath(path string, v *node) {
	for {
		key, rest, more := strings.Cut(path, ".")
		if !more {
			n.set(key, v)
			return
		}
		next := n.fields[key]
		if next == nil || next.kind != mapping {
			next = newMapping()
			next.origin = v.origin
			n.set(key, next)
		}
		n, path = next, rest
	}
}

// copyOf returns n with its own mapping, sharing the values.
func (n *node) copyOf() *node {
	c := *n
	c.keys = slices.Clone(n.keys)
	c.fields = make(map[string]*node, len(n.fields))
	for k, v := range n.fields {
		c.fields[k] = v
	}
	return &c
}

// scalarText returns a scalar as the text PostgreSQL or a program expects:
// booleans become on and off.
func (n *node) scalarText() string {
	if n.kind == boolean {
		if n.scalar == "true" {
			return "on"
		}
		return "off"
	}
	return n.scalar
}

// asWritten returns a scalar as it stands in the file.
func (n *node) asWritten() string {
	if n.written != "" {
		return n.written
	}
	return n.scalar
}

func (n *node) isScalar() bool { return n.kind > null && n.kind < list }

// userInfo is the part of an address that may hold a password, hbaSecret what a
// line of pg_hba.conf or a connection string holds of one.
var (
	userInfo  = regexp.MustCompile(`//[^/@\s]*@`)
	hbaSecret = regexp.MustCompile(`(?i)\b(ldapbindpasswd|radiussecrets|password|sslpassword)\s*=\s*("[^"]*"|'[^']*'|[^\s"']+)`)
)

// veiled hides what a value that is no secret as a whole may hold of one.
func veiled(text string) string {
	return hbaSecret.ReplaceAllString(userInfo.ReplaceAllString(text, "//"+masked+"@"), "$1="+masked)
}

// brief shows a value in a message.
func (n *node) brief() string {
	switch n.kind {
	case null:
		return "null"
	case list:
		return "a list of " + strconv.Itoa(len(n.items))
	case mapping:
		return "a mapping"
	}
	s := []rune(veiled(n.asWritten()))
	if len(s) > 80 {
		return string(s[:77]) + "..."
	}
	return string(s)
}

// merge applies the patch rule: a null deletes, mappings merge recursively, and
// everything else replaces. Neither argument is changed.
func merge(old, patch *node) *node {
	return mergeUnless(old, patch, func(_, _ *node) bool { return false })
}

// mergeUnless merges, but leaves what same says is the same.
func mergeUnless(old, patch *node, same func(a, b *node) bool) *node {
	if patch.kind != mapping {
		if old != nil && same(old, patch) {
			return old
		}
		return patch
	}
	out := newMapping()
	out.origin = patch.origin
	if old != nil && old.kind == mapping {
		out = old.copyOf()
	}
	for _, k := range patch.keys {
		v := patch.fields[k]
		if v.kind == null {
			out.remove(k)
			continue
		}
		out.set(k, mergeUnless(out.fields[k], v, same))
	}
	return out
}

// equal compares values; the order of a mapping's keys does not matter, and
// numbers are equal when they are written alike.
func equal(a, b *node) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.kind != b.kind || a.scalar != b.scalar || len(a.items) != len(b.items) || len(a.keys) != len(b.keys) {
		return false
	}
	for i := range a.items {
		if !equal(a.items[i], b.items[i]) {
			return false
		}
	}
	for k, v := range a.fields {
		w, ok := b.fields[k]
		if !ok || !equal(v, w) {
			return false
		}
	}
	return true
}

// walk calls f for every leaf: scalars, lists and empty mappings.
func (n *node) walk(path string, f func(path string, n *node)) {
	if n.kind != mapping || len(n.keys) == 0 {
		f(path, n)
		return
	}
	for _, k := range n.keys {
		n.fields[k].walk(join(path, k), f)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
