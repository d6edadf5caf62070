package conf

import "strings"

// Setting is what "postgres --describe-config" says about one parameter.
type Setting struct {
	Context string // internal, postmaster, sighup, backend, superuser, user
	Type    string // BOOLEAN, ENUM, INTEGER, REAL, STRING
}

// ParseDescribe reads the tab separated output of "postgres --describe-config"
// into a map by lower-case name.
func ParseDescribe(text string) map[string]Setting {
	out := map[string]Setting{}
	for _, line := range strings.Split(text, "\n") {
		f := strings.Split(line, "\t")
		if len(f) < 4 || f[0] == "" {
			continue
		}
		out[strings.ToLower(f[0])] = Setting{Context: strings.ToLower(f[1]), Type: f[3]}
	}
	return out
}
