package conf

import (
	"strconv"
	"strings"
)

// SameValue compares a configured value with what pg_settings says, for the
// settings under the manager's control: booleans in any spelling, numbers with
// and without the unit, texts without case.
func SameValue(configured, running, unit string) bool {
	a, b := strings.ToLower(strings.TrimSpace(configured)), strings.ToLower(running)
	if a == b || a == b+strings.ToLower(unit) {
		return true
	}
	if x, ok := boolean(a); ok {
		y, ok := boolean(b)
		return ok && x == y
	}
	x, err1 := strconv.ParseInt(a, 0, 64)
	y, err2 := strconv.ParseInt(b, 0, 64)
	if err1 == nil && err2 == nil {
		return x == y
	}
	x, ok1 := bytesOf(a)
	y, ok2 := bytesOf(b + strings.ToLower(unit))
	return ok1 && ok2 && x == y
}

func boolean(s string) (value, ok bool) {
	switch s {
	case "on", "true", "yes", "1", "t", "y":
		return true, true
	case "off", "false", "no", "0", "f", "n":
		return false, true
	}
	return false, false
}

// bytesOf reads a number with a memory unit, also the block units of pg_settings.
func bytesOf(s string) (int64, bool) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	n, err := strconv.ParseInt(s[:i], 10, 64)
	if err != nil {
		return 0, false
	}
	rest := strings.TrimSpace(s[i:])
	mult, ok := map[string]int64{"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}[rest]
	return n * mult, ok
}
