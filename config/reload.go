package config

import "strings"

// Change is a setting whose value is another than before.
type Change struct {
	Path  string // dotted
	Place string // where the new value stands, "default" when it was removed
}

// Reloaded is what a newly read configuration means for a program that runs
// with an older one.
type Reloaded struct {
	// File is what holds from now on: the new configuration, with the old values
	// of what cannot change while the program runs.
	File *File
	// Changed are the settings that take effect now, Kept those that do only when
	// the program is started again.
	Changed, Kept []Change
}

// Same reports whether nothing was changed at all.
func (r Reloaded) Same() bool { return len(r.Changed) == 0 && len(r.Kept) == 0 }

// Reload compares a newly read configuration with the one in force. The error,
// of type Problems, says that the new one cannot be used together with what must
// stay as it is.
func Reload(old, next *File) (Reloaded, error) {
	c := comparison{old: old.Raw.root, next: next.Raw.root, merged: next.Raw.root}
	c.compare("", localFields())
	out := Reloaded{File: next, Changed: c.changed, Kept: c.kept}
	if len(c.kept) == 0 {
		return out, nil
	}
	f, _, err := build(c.merged, &report{})
	out.File = f
	return out, err
}

// comparison finds what differs between two trees.
type comparison struct {
	old, next, merged *node
	changed, kept     []Change
}

func (c *comparison) compare(path string, fields []field) {
	for _, f := range fields {
		at := join(path, f.name)
		was, is := c.old.get(at), c.next.get(at)
		switch {
		case equal(was, is):
		case f.effect == onRestart:
			c.kept = append(c.kept, differences(at, was, is)...)
			c.keep(at, was)
		case f.typ == tSection && !f.open:
			c.compare(at, f.fields)
		default:
			c.changed = append(c.changed, differences(at, was, is)...)
		}
	}
}

// keep puts the old value into the result.
func (c *comparison) keep(path string, was *node) {
	if was == nil {
		was = &node{kind: null}
	}
	// Whole, not merged: what the old value did not have must not stay.
	for _, v := range []*node{{kind: null}, was} {
		patch := newMapping()
		patch.setPath(path, v)
		c.merged = merge(c.merged, patch)
	}
}

// differences lists the settings below path that differ. A list or one of
// PostgreSQL's parameters counts as one setting.
func differences(path string, was, is *node) []Change {
	if was == nil || is == nil || was.kind != mapping || is.kind != mapping {
		place := "default"
		if is != nil && is.origin != "" {
			place = is.origin
		}
		return []Change{{path, place}}
	}
	var out []Change
	for _, k := range union(was.keys, is.keys) {
		if !equal(was.fields[k], is.fields[k]) {
			out = append(out, differences(join(path, k), was.fields[k], is.fields[k])...)
		}
	}
	return out
}

// union lists the keys of the first, then those that only the second has.
func union(first, second []string) []string {
	out := append([]string(nil), first...)
	seen := map[string]bool{}
	for _, k := range first {
		seen[k] = true
	}
	for _, k := range second {
		if !seen[k] {
			out = append(out, k)
		}
	}
	return out
}

// Paths names the changed settings, for a message.
func Paths(changes []Change) string {
	names := make([]string, len(changes))
	for i, c := range changes {
		names[i] = c.Path
	}
	return strings.Join(names, ", ")
}
