package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// toYAML writes a document as block YAML with sorted keys, in the way people
// know it from the reference: it is what they edit and compare.
func toYAML(v any) string {
	var b strings.Builder
	writeYAML(&b, v, 0, false)
	return b.String()
}

// writeYAML writes v at a depth; inline says that the cursor stands after "- ".
func writeYAML(b *strings.Builder, v any, depth int, inline bool) {
	pad := strings.Repeat("  ", depth)
	switch v := normal(v).(type) {
	case pyjson.Object:
		if len(v) == 0 {
			b.WriteString("{}\n")
			return
		}
		for i, f := range sorted(v) {
			if i > 0 || !inline {
				b.WriteString(pad)
			}
			b.WriteString(yamlString(f.Key) + ":")
			writeChild(b, f.Value, depth)
		}
	case []any:
		if len(v) == 0 {
			b.WriteString("[]\n")
			return
		}
		for i, e := range v {
			if i > 0 || !inline {
				b.WriteString(pad)
			}
			b.WriteString("- ")
			writeYAML(b, e, depth+1, true)
		}
	default:
		b.WriteString(yamlScalar(v) + "\n")
	}
}

// writeChild writes the value of a key: what has lines of its own begins on the
// next line, lists at the depth of their key.
func writeChild(b *strings.Builder, v any, depth int) {
	switch c := normal(v).(type) {
	case pyjson.Object:
		if len(c) > 0 {
			b.WriteByte('\n')
			writeYAML(b, c, depth+1, false)
			return
		}
	case []any:
		if len(c) > 0 {
			b.WriteByte('\n')
			writeYAML(b, c, depth, false)
			return
		}
	}
	b.WriteByte(' ')
	writeYAML(b, v, depth, true)
}

func sorted(o pyjson.Object) pyjson.Object {
	o = slices.Clone(o)
	slices.SortFunc(o, func(a, b pyjson.Field) int { return cmp.Compare(a.Key, b.Key) })
	return o
}

// normal turns Go numbers into what pyjson has.
func normal(v any) any {
	switch n := v.(type) {
	case int, int64, uint64:
		return json.Number(fmt.Sprint(n))
	}
	return v
}

// flowYAML writes a document in one line.
func flowYAML(v any) string {
	switch v := normal(v).(type) {
	case pyjson.Object:
		var parts []string
		for _, f := range sorted(v) {
			parts = append(parts, yamlString(f.Key)+": "+flowYAML(f.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, flowYAML(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	default:
		return yamlScalar(v)
	}
}

func yamlScalar(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return yamlString(v)
	default:
		return fmt.Sprint(v)
	}
}

// yamlString quotes what any YAML reader, the old ones included, would take for
// something else than this text.
func yamlString(s string) string {
	switch {
	case s == "":
		return "''"
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == 0xfeff }):
		text, err := json.Marshal(s)
		if err != nil { // a string always encodes
			panic(err)
		}
		return escaped(string(text))
	case looksOther(s) || !plain(s):
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return s
}

// escaped writes the control characters that JSON leaves as they are.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plain reports whether s can stand without quotes.
func plain(s string) bool {
	if strings.ContainsRune("-?:,[]{}#&*!|>'\"%@` ", rune(s[0])) && !(len(s) > 1 && s[0] == '-' && s[1] != ' ') {
		return false
	}
	return !strings.HasSuffix(s, " ") && !strings.HasSuffix(s, ":") &&
		!strings.Contains(s, ": ") && !strings.Contains(s, " #") && !strings.ContainsAny(s, ",[]{}")
}

// looksOther reports whether s unquoted would be a number, a time, a switch or
// nothing.
func looksOther(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", ".inf", "-.inf", ".nan", "=", "<<":
		return true
	}
	ok, err := regexp.MatchString(`^[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|\.[0-9][0-9_]*)$`+
		`|^\d{4}-\d\d?-\d\d?([Tt ].*)?$|^---|^\.\.\.`, s)
	return ok && err == nil
}

// fromYAML reads a document that a person wrote; where names it in errors, which
// show nothing of its text.
func fromYAML(where string, text []byte) (any, error) {
	var v any
	if err := yaml.UnmarshalWithOptions(text, &v, yaml.UseOrderedMap()); err != nil {
		return nil, fmt.Errorf("not valid YAML: %w", config.SyntaxError(where, err))
	}
	return fromGo(v, 0)
}

// fromGo turns what the YAML reader gives into what JSON knows.
func fromGo(v any, depth int) (any, error) {
	if depth > 100 {
		return nil, fmt.Errorf("nested deeper than %d", 100)
	}
	switch v := v.(type) {
	case yaml.MapSlice:
		o := pyjson.Object{}
		for _, item := range v {
			e, err := fromGo(item.Value, depth+1)
			if err != nil {
				return nil, err
			}
			o = o.Set(fmt.Sprint(item.Key), e)
		}
		return o, nil
	case []any:
		a := []any{}
		for _, item := range v {
			e, err := fromGo(item, depth+1)
			if err != nil {
				return nil, err
			}
			a = append(a, e)
		}
		return a, nil
	case nil, bool, string:
		return v, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("value %v: %w", v, err)
	}
	return pyjson.Parse(text)
}
