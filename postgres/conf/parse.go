package conf

import "strings"

// Parse reads the settings of a postgresql.conf text, later ones winning by
// their place in the list (Lookup takes the last). Includes are not followed;
// what cannot be understood is skipped, as the file may be anybody's.
func Parse(text string) []Param {
	var out []Param
	for _, line := range strings.Split(text, "\n") {
		name, value, ok := parseLine(line)
		if ok && !contains([]string{"include", "include_dir", "include_if_exists"}, name) {
			out = append(out, Param{Name: name, Value: value})
		}
	}
	return out
}

// parseLine reads "name = value # comment"; the equals sign is optional.
func parseLine(line string) (name, value string, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", false
	}
	i := 0
	for i < len(line) && isNameByte(line[i]) {
		i++
	}
	if i == 0 {
		return "", "", false
	}
	name, rest := line[:i], strings.TrimLeft(line[i:], " \t")
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), " \t")
	if strings.HasPrefix(rest, "'") {
		value, ok = unquote(rest[1:])
		return name, value, ok
	}
	if j := strings.IndexAny(rest, "# \t\r"); j >= 0 {
		rest = rest[:j]
	}
	return name, rest, rest != ""
}

// unquote reads up to the closing quote. Doubled quotes and backslash escapes
// are resolved the way PostgreSQL's scanner does.
func unquote(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\'' && i+1 < len(s) && s[i+1] == '\'':
			b.WriteByte('\'')
			i++
		case s[i] == '\'':
			return b.String(), true
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(unescape(s[i]))
		default:
			b.WriteByte(s[i])
		}
	}
	return "", false
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	}
	return c
}

func isNameByte(c byte) bool {
	return c == '_' || c == '.' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
