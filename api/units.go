package api

import (
	"math"
	"strconv"
	"strings"
)

// number splits a number from the unit behind it.
func number(text string) (value float64, unit string, ok bool) {
	text = strings.TrimSpace(text)
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || text[end] == '.') {
		end++
	}
	value, err := strconv.ParseFloat(text[:end], 64)
	return value, strings.TrimSpace(text[end:]), err == nil
}

// parseBytes reads a size in bytes, or with a unit as PostgreSQL writes it: B,
// kB, MB, GB, TB. ok is false for what is none.
func parseBytes(text string) (n uint64, ok bool) {
	value, unit, ok := number(text)
	if !ok {
		return 0, false
	}
	factor, ok := map[string]float64{"": 1, "B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}[unit]
	if !ok || value*factor >= math.MaxUint64 {
		return 0, false
	}
	return uint64(value * factor), true
}
