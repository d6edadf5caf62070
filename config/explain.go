package config

import (
	"slices"
	"strings"
)

// Setting is one effective value and where it comes from.
type Setting struct {
	Path   string
	Value  string // "***" for secrets
	Origin string // "file:line:col", "env NAME", "dynamic", "default"
}

// newestMajor decides between names of one parameter where no server is asked.
const newestMajor = 18

// fromDynamic is the origin of what all members share.
const fromDynamic = "dynamic"

// Explain lists what holds for a member in a role, sorted by path. Without a
// dynamic configuration (known false) its settings are left out.
func Explain(f *File, d Dynamic, known bool, role string) []Setting {
	all := map[string]Setting{}
	put := func(path, value, origin string) {
		if secretPath(path) && value != "" {
			value = masked
		}
		value = veiled(value)
		all[path] = Setting{path, value, origin}
	}
	for path, value := range literalDefaults() {
		if used(f, path) {
			put(path, value, "default")
		}
	}
	for path, d := range derivedDefaults() {
		if v := d.value(f); v != "" && used(f, path) {
			put(path, v, "default")
		}
	}
	if known {
		for path, value := range dynamicDefaults() {
			put(path, value, "default")
		}
		d.Raw.root.walk("", func(path string, n *node) {
			if !sharedParameter(path) {
				put(path, plainValue(n), fromDynamic)
			}
		})
	}
	f.Raw.root.walk("", func(path string, n *node) {
		if !sharedParameter(path) && path != "postgresql.use_slots" {
			put(path, plainValue(n), n.origin)
		}
	})
	parameters(f, d, known, role, put)
	out := make([]Setting, 0, len(all))
	for _, s := range all {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// used reports whether the section of a default is in use: of the stores only
// the configured one, and an entrypoint only where there is one.
func used(f *File, path string) bool {
	top, _, _ := strings.Cut(path, ".")
	if slices.Contains(storeNames(), top) || top == "proxy" || top == "bootstrap" {
		return f.Raw.root.fields[top] != nil
	}
	return true
}

// sharedParameter: PostgreSQL's own parameters are explained one by one.
func sharedParameter(path string) bool { return strings.HasPrefix(path, "postgresql.parameters") }

// plainValue writes a value as one line.
func plainValue(n *node) string {
	if n.isScalar() {
		return n.asWritten()
	}
	if n.kind == list {
		items := make([]string, len(n.items))
		for i, item := range n.items {
			items[i] = plainValue(item)
		}
		return strings.Join(items, ", ")
	}
	return hide("", n).json()
}

// parameters explains what the server is given.
func parameters(f *File, d Dynamic, known bool, role string, put func(path, value, origin string)) {
	root := f.Raw.root
	local, shared := root.get("postgresql"), d.Raw.root.get("postgresql")
	for _, p := range MakeEffective(f, d, role, newestMajor).Parameters {
		at := ""
		switch p.Name {
		case "listen_addresses", "port":
			at = origin(root, "postgresql.listen")
		case "cluster_name":
			at = origin(root, "scope")
		default:
			if !known && isControlled(p.Name) {
				continue
			}
			at = parameterOrigin(local, shared, p.Name, overlayOf(role))
		}
		put("postgresql.parameters."+p.Name, p.Value, at)
	}
}

// parameterOrigin follows the order in which parameters are merged, from the
// end.
func parameterOrigin(local, shared *node, name, overlay string) string {
	if !isControlled(name) {
		for _, section := range []*node{local.get("parameters_" + overlay), local.get("parameters")} {
			if n := fold(section, name); n != nil {
				return n.origin
			}
		}
		if fold(shared.get("parameters_"+overlay), name) != nil {
			return fromDynamic
		}
	}
	if fold(shared.get("parameters"), name) != nil {
		return fromDynamic
	}
	return "default"
}

// fold finds a key whatever its case.
func fold(n *node, name string) *node {
	if n == nil {
		return nil
	}
	for _, k := range n.keys {
		if strings.EqualFold(k, name) {
			return n.fields[k]
		}
	}
	return nil
}
