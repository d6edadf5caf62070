package config

import (
	"github.com/matriarch-ha/matriarch/cluster"
)

// Dynamic is the configuration that all members share, read from the store.
type Dynamic struct {
	// Settings are what decisions depend on, with defaults filled in, minimums
	// applied and the timing rule enforced. They lack what a local file may
	// override; see SettingsWith.
	Settings cluster.Settings
	// Raw is the document as it was written, unknown keys included.
	Raw Tree
}

// DefaultDynamic is what holds while no configuration is known: built-in
// defaults only.
func DefaultDynamic() Dynamic {
	return Dynamic{Settings: cluster.DefaultSettings(), Raw: Tree{newMapping()}}
}

// ParseDynamic reads the dynamic configuration's JSON. A document in which any
// known setting has an unusable value is rejected as a whole, with an error of
// type Problems: the caller keeps the configuration it has. Numbers that are
// merely too small are raised, with a warning.
func ParseDynamic(jsonText string) (Dynamic, []Warning, error) {
	n, err := parseJSON(jsonText)
	if err != nil {
		return Dynamic{}, nil, Problems{{Reason: "the dynamic configuration is not JSON: " + err.Error()}}
	}
	r := &report{}
	d := readDynamic(n, r)
	if err := r.err(); err != nil {
		return Dynamic{}, r.warnings, err
	}
	return d, r.warnings, nil
}

func readDynamic(n *node, r *report) Dynamic {
	if n.kind != mapping {
		r.problem("", n, "the dynamic configuration must be a mapping", "")
		return Dynamic{}
	}
	r.check("", n, dynamicFields(), false)
	r.refuse("", n)
	return Dynamic{Settings: r.settings("", n), Raw: Tree{n}}
}

// alike reports whether two scalars are the same in writing: 30 does not
// replace "30", as in the reference, so that nothing is written for nothing.
func alike(a, b *node) bool {
	isBool := a.kind == boolean || b.kind == boolean
	return a.isScalar() && b.isScalar() && !isBool && a.scalar == b.scalar
}

// Patch applies patch to old, both JSON: null deletes, objects merge
// recursively, everything else replaces. It returns the new document as compact
// JSON with all unknown keys kept, and whether it differs from the old one.
func Patch(old, patch string) (result string, changed bool, err error) {
	o, err := parseJSON(old)
	if err != nil {
		return "", false, Problems{{Reason: "the stored configuration is not JSON: " + err.Error(),
			Remedy: "replace it as a whole"}}
	}
	p, err := parseJSON(patch)
	if err != nil {
		return "", false, Problems{{Reason: "the change is not JSON: " + err.Error()}}
	}
	if p.kind != mapping {
		return "", false, Problems{{Reason: "the change must be a JSON object"}}
	}
	n := mergeUnless(o, p, alike)
	return n.json(), !equal(o, n), nil
}
