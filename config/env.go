package config

import (
	"slices"
	"strings"
)

// prefixes of our environment variables; the later one wins.
func prefixes() []string { return []string{"PATRONI_", "MATRIARCH_"} }

// envField is the setting that a variable stands for.
type envField struct {
	path string
	field
}

// envNames maps the part of a variable's name after the prefix to its setting.
// The names follow from the paths, with the few abbreviations that the
// reference has.
func envNames() map[string]envField {
	out := map[string]envField{}
	var add func(prefix, path string, fields []field)
	add = func(prefix, path string, fields []field) {
		for _, f := range fields {
			name, at := strings.ToUpper(f.name), join(path, f.name)
			switch at {
			case "restapi.authentication", "ctl.authentication", "postgresql.authentication", "matriarch":
				name = "" // their own keys follow directly
			case "postgresql.bin_name":
				name = "BIN"
			}
			switch {
			case at == "bootstrap":
			case f.typ == tSection && at == "postgresql.authentication":
				add("", at, f.fields)
			case f.typ == tSection && name == "":
				add(prefix, at, f.fields)
			case f.typ == tSection:
				add(prefix+name+"_", at, f.fields)
			default:
				out[prefix+name] = envField{at, f}
			}
		}
	}
	add("", "", localFields())
	out["LOGLEVEL"] = out["LOG_LEVEL"]
	out["LOGFORMAT"] = out["LOG_FORMAT"]
	out["LOG_DATEFMT"] = out["LOG_DATEFORMAT"]
	return out
}

// fromEnv makes a tree of the environment's settings.
func fromEnv(env []string, r *report) *node {
	names := envNames()
	known := make([]string, 0, len(names))
	for n := range names {
		known = append(known, n)
	}
	slices.Sort(known) // the nearest name must not depend on the map's order
	root := newMapping()
	root.origin = "environment"
	for _, prefix := range prefixes() {
		for _, kv := range env {
			name, value, _ := strings.Cut(kv, "=")
			rest, ours := strings.CutPrefix(name, prefix)
			if !ours || value == "" || rest == "CONFIGURATION" {
				continue
			}
			f, ok := names[rest]
			if !ok {
				unknownVariable(name, rest, prefix, known, r)
				continue
			}
			if n := envValue(name, value, f, r); n != nil {
				root.setPath(f.path, n)
			}
		}
	}
	return root
}

// unknownVariable warns only when a known name is near: the prefixes are also
// used for things that are none of our business, such as service addresses.
func unknownVariable(name, rest, prefix string, known []string, r *report) {
	near := nearest(rest, known)
	if near == "" || distance(rest, near, 3) > 2 {
		return
	}
	r.warnings = append(r.warnings, Warning{Code: WarnUnknown, Place: "env " + name,
		Text: "unknown variable, it has no effect; did you mean " + prefix + near + "?"})
}

// envValue gives a variable's text the type of its setting.
func envValue(name, value string, f envField, r *report) *node {
	place := "env " + name
	trimmed := strings.TrimSpace(value)
	switch f.typ {
	case tList, tLines, tOptions:
		if !strings.HasPrefix(trimmed, "-") && !strings.Contains(trimmed, "[") {
			trimmed = "[" + trimmed + "]"
		}
	case tMap:
		if !strings.HasPrefix(trimmed, "{") {
			trimmed = "{" + trimmed + "}"
		}
	case tAny, tItems:
	default:
		return newText(value, place)
	}
	n, err := parseYAML(place, []byte(trimmed))
	if err == nil && (f.typ != tMap || n.kind == mapping) {
		setOrigin(n, place)
		return n
	}
	if f.typ == tAny || f.typ == tItems || f.typ == tList { // "[::1]:2379" is a list of one, not YAML
		return newText(value, place)
	}
	r.problem(f.path, newText(value, place), "cannot be read as YAML",
		"write a list as a,b or [a, b], a mapping as {name: value}")
	return nil
}

// setOrigin replaces places within a variable by the variable's name.
func setOrigin(n *node, place string) {
	n.origin = place
	for _, item := range n.items {
		setOrigin(item, place)
	}
	for _, k := range n.keys {
		setOrigin(n.fields[k], place)
	}
}

// whole returns the text of PATRONI_CONFIGURATION or MATRIARCH_CONFIGURATION.
func whole(env []string) (name, text string) {
	for _, prefix := range prefixes() {
		for _, kv := range env {
			if v, ok := strings.CutPrefix(kv, prefix+"CONFIGURATION="); ok && v != "" {
				name, text = prefix+"CONFIGURATION", v
			}
		}
	}
	return name, text
}
