package config

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Key describes one setting that is known, for people.
type Key struct {
	Path    string // dotted
	Type    string
	Default string
	Range   string // of numbers, or the words that are possible
	Effect  string // when a change takes effect
	State   string // works, or why not
}

// Keys lists the settings of files and environment.
func Keys() []Key {
	defaults := literalDefaults()
	for path, d := range derivedDefaults() {
		defaults[path] = d.from
	}
	return describe("", localFields(), defaults, onReload, "")
}

// DynamicKeys lists the settings that all members share; their changes take
// effect at once, or wait for a restart of PostgreSQL where that needs one.
func DynamicKeys() []Key {
	out := describe("", dynamicFields(), dynamicDefaults(), onReload, "")
	for i, k := range out {
		if k.Effect != "" {
			out[i].Effect = "at once"
		}
		if strings.HasPrefix(k.Path, "postgresql.parameters") {
			out[i].Effect = "at once, or restart of PostgreSQL"
		}
		if k.Path == "ttl" {
			// The keys of a session cannot move to another: see lease.Options.TTL.
			out[i].Effect = "the next leader's lease; a lease that is held keeps its length"
		}
		if refusedKeys()[k.Path] {
			out[i].State = "refused when it asks for something: not supported yet"
		}
	}
	return out
}

// refusedKeys are promises that we cannot keep yet; see refuse.
func refusedKeys() map[string]bool {
	return map[string]bool{"synchronous_mode_strict": true, "standby_cluster": true}
}

func describe(path string, fields []field, defaults map[string]string, parent effect, note string) []Key {
	var out []Key
	for _, f := range fields {
		at := join(path, f.name)
		when, why := max(parent, f.effect), f.note
		if note != "" {
			why = note
		}
		switch {
		case at == "bootstrap.dcs":
			out = append(out, Key{Path: at, Type: "mapping", Effect: effectText(when), State: "works", Range: "see the dynamic configuration"})
		case f.typ == tSection && len(f.fields) > 0 && !slices.Contains(foreignStores(), f.name):
			out = append(out, describe(at, f.fields, defaults, when, why)...)
		case f.typ == tItems:
			out = append(out, describe(at+"[]", f.fields, defaults, when, why)...)
		default:
			k := Key{Path: at, Type: typeText(f), Default: defaults[at], Range: rangeText(f), Effect: effectText(when), State: "works"}
			switch {
			case slices.Contains(foreignStores(), at):
				k.Effect, k.State = "", "refused: this store is not supported yet"
			case why != "":
				k.Effect, k.State = "", "accepted with a warning: "+why
			}
			out = append(out, k)
		}
	}
	return out
}

func effectText(e effect) string {
	switch e {
	case onRestart:
		return "restart of the agent"
	case onFounding:
		return "founding of the cluster"
	}
	return "reload"
}

func typeText(f field) string {
	switch f.typ {
	case tBool:
		return "on or off"
	case tInt:
		switch _, family := unitSize(f.base); family {
		case 'b':
			return "size"
		case 't':
			return "time"
		}
		return "number"
	case tTime:
		return "time"
	case tList:
		return "list"
	case tLines:
		return "lines"
	case tMap:
		return "mapping"
	case tOptions:
		return "options"
	case tHost:
		return "host:port"
	case tSection:
		return "section"
	case tAny:
		return "any"
	}
	return "text"
}

func rangeText(f field) string {
	switch {
	case len(f.enum) > 0:
		return strings.Join(f.enum, ", ")
	case f.typ == tInt && f.max < math.MaxInt64:
		return strconv.FormatInt(f.min, 10) + " to " + strconv.FormatInt(f.max, 10)
	case f.typ == tInt && f.min > math.MinInt32:
		return "from " + strconv.FormatInt(f.min, 10)
	case f.optional:
		return "or false"
	}
	return ""
}
