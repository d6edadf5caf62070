package conf

import (
	"sort"
	"strings"
)

// Param is one PostgreSQL setting; Value is the plain text, unquoted.
type Param struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Secret is a text that never shows itself in logs, errors or JSON.
type Secret string

// String hides the secret from every formatting verb that asks for a string.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the text itself, for the few places that must send it.
func (s Secret) Reveal() string { return string(s) }

// Quote writes a value the way postgresql.conf wants it: in single quotes,
// with quotes and backslashes doubled. A line break cannot be represented
// portably and becomes a space.
func Quote(v string) string {
	v = strings.NewReplacer("'", "''", `\`, `\\`, "\r\n", " ", "\n", " ", "\r", " ", "\x00", "").Replace(v)
	return "'" + v + "'"
}

// Lookup finds a setting by name; names compare without case.
func Lookup(ps []Param, name string) (string, bool) {
	for i := len(ps) - 1; i >= 0; i-- {
		if strings.EqualFold(ps[i].Name, name) {
			return ps[i].Value, true
		}
	}
	return "", false
}

// Without returns ps without the named settings, in a new slice.
func Without(ps []Param, names ...string) []Param {
	out := make([]Param, 0, len(ps))
	for _, p := range ps {
		if !contains(names, p.Name) {
			out = append(out, p)
		}
	}
	return out
}

// Sort orders settings by name, as the generated file has them.
func Sort(ps []Param) []Param {
	out := append([]Param(nil), ps...)
	sort.SliceStable(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}
