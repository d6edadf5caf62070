package config

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"
)

// ParseBool understands PostgreSQL's and the reference's words for yes and no:
// on, true, yes, 1 and off, false, no, 0, in any case.
func ParseBool(s string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "on", "true", "yes", "1":
		return true, nil
	case "off", "false", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither on nor off", clip(s))
}

// unitSize gives a unit in the smallest unit of its family: bytes, or
// microseconds. PostgreSQL's units are case-sensitive, and so are these.
func unitSize(unit string) (size int64, family byte) {
	switch unit {
	case "B":
		return 1, 'b'
	case "kB":
		return 1 << 10, 'b'
	case "8kB":
		return 8 << 10, 'b'
	case "MB":
		return 1 << 20, 'b'
	case "16MB":
		return 16 << 20, 'b'
	case "GB":
		return 1 << 30, 'b'
	case "TB":
		return 1 << 40, 'b'
	case "us":
		return 1, 't'
	case "ms":
		return 1e3, 't'
	case "s":
		return 1e6, 't'
	case "min":
		return 60e6, 't'
	case "h":
		return 3600e6, 't'
	case "d":
		return 86400e6, 't'
	}
	return 0, 0
}

// ParseInt reads an integer setting as PostgreSQL does: decimal, octal with a
// leading 0, hexadecimal with 0x, or a decimal fraction, and then a unit of
// memory (B kB MB GB TB) or time (us ms s min h d). The result is in base, one
// of those units (or 8kB, 16MB), rounded to the nearest, halves to even; with
// an empty base no unit is allowed.
func ParseInt(s, base string) (int64, error) {
	r, err := quantity(s, base)
	if err != nil {
		return 0, err
	}
	n, ok := roundEven(r)
	if !ok {
		return 0, fmt.Errorf("%q is too large", clip(s))
	}
	return n, nil
}

// ParseDuration reads a time as ParseInt does, without rounding it to a unit; a
// number without unit counts in seconds.
func ParseDuration(s string) (time.Duration, error) {
	r, err := quantity(s, "s")
	if err != nil {
		return 0, err
	}
	n, ok := roundEven(r.Mul(r, big.NewRat(int64(time.Second), 1)))
	if !ok {
		return 0, fmt.Errorf("%q is too long", clip(s))
	}
	return time.Duration(n), nil
}

// quantity returns the exact value of s in units of base.
func quantity(s, base string) (*big.Rat, error) {
	trimmed := strings.TrimSpace(s)
	if len(trimmed) > 64 {
		return nil, fmt.Errorf("%q is not a number", clip(s))
	}
	number, unit := splitUnit(trimmed)
	r, ok := parseNumber(number)
	if !ok {
		return nil, fmt.Errorf("%q is not a number", clip(s))
	}
	if unit == "" {
		return r, nil
	}
	have, family := unitSize(unit)
	want, wanted := unitSize(base)
	switch {
	case have == 0 || unit[0] <= '9': // 8kB and 16MB are bases, never written
		return nil, fmt.Errorf("%q has an unknown unit", clip(s))
	case base == "":
		return nil, fmt.Errorf("%q has a unit where a plain number is needed", clip(s))
	case family != wanted:
		return nil, fmt.Errorf("%q has a unit of another kind than %s", clip(s), base)
	}
	return r.Mul(r, big.NewRat(have, want)), nil
}

// splitUnit separates the trailing letters; in a hexadecimal number the digits
// go as far as they can.
func splitUnit(s string) (number, unit string) {
	digits := "0123456789.+-eE"
	i := 0
	if h := strings.TrimLeft(s, "+-"); strings.HasPrefix(h, "0x") || strings.HasPrefix(h, "0X") {
		digits = "0123456789abcdefABCDEF"
		i = len(s) - len(h) + 2
	}
	for i < len(s) && strings.IndexByte(digits, s[i]) >= 0 {
		i++
	}
	return s[:i], strings.TrimSpace(s[i:])
}

func parseNumber(s string) (*big.Rat, bool) {
	body := strings.TrimLeft(s, "+-")
	if len(s)-len(body) > 1 || body == "" {
		return nil, false
	}
	if !strings.ContainsAny(body, ".") && (strings.HasPrefix(body, "0") || !strings.ContainsAny(body, "eE")) {
		i, ok := new(big.Int).SetString(s, intBase(body))
		if !ok {
			return nil, false
		}
		return new(big.Rat).SetInt(i), true
	}
	// The exponent is bounded: 1e999999999 would be a very long number.
	if i := strings.IndexAny(body, "eE"); i >= 0 && len(strings.TrimLeft(body[i+1:], "+-")) > 2 {
		return nil, false
	}
	if strings.Trim(body, "0123456789.eE+-") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

func intBase(body string) int {
	switch {
	case strings.HasPrefix(body, "0x"), strings.HasPrefix(body, "0X"):
		return 0
	case len(body) > 1 && body[0] == '0':
		return 8
	}
	return 10
}

// roundEven rounds to the nearest integer, halves to the even one.
func roundEven(r *big.Rat) (int64, bool) {
	twice := new(big.Int).Lsh(r.Num(), 1)
	q, m := new(big.Int).DivMod(twice.Add(twice, r.Denom()), new(big.Int).Lsh(r.Denom(), 1), new(big.Int))
	if m.Sign() == 0 && q.Bit(0) == 1 {
		q.Sub(q, big.NewInt(1))
	}
	return q.Int64(), q.IsInt64() && q.Int64() != math.MinInt64
}

func clip(s string) string {
	r := []rune(s)
	if len(r) > 40 {
		return string(r[:37]) + "..."
	}
	return s
}
